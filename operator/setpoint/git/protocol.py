"""The protocol between the broker and a process that talks to a Git server: frames of a 4-byte length and JSON.

Requests come from whom a child trusts. Answers do not: a child may have been taken over, so they have few forms, and each
breach of them is a `Breach`.
"""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from setpoint.api.reasons import Problem, Reason

Message = dict[str, Any]
LARGEST: Final = 2**16
"""Bytes of an answer at most: what it holds are a few names, or one message."""
LONGEST: Final = 1024
"""Characters of the name of a ref or of a revision."""
MESSAGE: Final = 2**14
"""Characters of a message."""
REASONS: Final[Mapping[str, Reason]] = {str(each): each for each in Reason}
_SHA: Final = re.compile(r"[0-9a-f]{40}")


class Breach(Exception):
    """An answer that no process of ours gives."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a process says to the request of a number: a result, which `result` judges, or why there is none."""

    number: int
    found: Any = None
    problem: Problem | None = None


def size(head: bytes) -> int:
    """Return the bytes of the answer that follows a head of 4; Breach for too many."""
    length: int = struct.unpack(">I", head)[0]
    if length > LARGEST:
        raise Breach(f"an answer of {length:,} bytes")
    return length


def answer(body: bytes) -> Answer:
    """Return what an answer says; Breach."""
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        raise Breach("an answer that is no JSON") from None
    if not isinstance(message, dict) or type(message.get("id")) is not int:
        raise Breach("an answer to no request")
    match message:
        case {"id": number, "result": found, **rest} if not rest:
            return Answer(number, found)
        case {"id": number, "problem": [str(reason), str(words)], **rest} if not rest:
            return Answer(number, problem=_problem(reason, words))
    raise Breach("an answer of no known form")


def result(operation: str, found: Any) -> Mapping[str, str]:
    """Return the result of an operation, if it is one; Breach."""
    fields = _RESULTS[operation]
    if not isinstance(found, dict) or found.keys() != fields.keys():
        raise Breach("a result with other fields")
    for name, fits in fields.items():
        if not isinstance(found[name], str) or not fits(found[name]):
            raise Breach(f"a result whose {name} is none")
    return found


def read(stream: BinaryIO) -> Message | None:
    """Read one request, or None at the end."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    body = stream.read(struct.unpack(">I", head)[0])
    return json.loads(body)  # type: ignore[no-any-return]


def frame(message: Message) -> bytes:
    """Return the bytes of one message."""
    body = json.dumps(message).encode()
    return struct.pack(">I", len(body)) + body


def write(stream: BinaryIO, message: Message) -> None:
    """Write one answer; a parent that is gone ends us soon."""
    try:
        stream.write(frame(message))
        stream.flush()
    except OSError:
        os._exit(1)


def failure(failed: Problem) -> list[str]:
    """Return a failure as an answer has it; of a message without end its beginning."""
    return [str(failed.reason), failed.message[:MESSAGE]]


def _problem(reason: str, words: str) -> Problem:
    if reason not in REASONS or len(words) > MESSAGE:
        raise Breach("a failure of no known form")
    return Problem(REASONS[reason], words)


def _is_sha(text: str) -> bool:
    return _SHA.fullmatch(text) is not None


def _is_name(text: str) -> bool:
    return len(text) <= LONGEST


_RESULTS: Final[Mapping[str, Mapping[str, Callable[[str], bool]]]] = {
    "list": {"ref": _is_name, "sha": _is_sha, "revision": _is_name},
    "fetch": {"sha": _is_sha},
}
