"""Makes frames of messages, and messages of frames (pure).

A message is a first frame with its fields that are short, then, if not all fit into that, further ones: each has some more fields, or more items of
a field that is a list. Each frame is made when it is asked for, and checked as soon as it is there: between two others may have their turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

import orjson
from pydantic_core import from_json

from setpoint.wall.errors import ProtocolError
from setpoint.wall.frames import MAX_BODY, MAX_HEAD, MAX_SINGLE
from setpoint.wall.kinds import NUMBERS, TYPES
from setpoint.wall.limits import MAX_OBJECT, flaw, nesting
from setpoint.wall.messages import Made
from setpoint.wall.receipt import MAX_DEPTH, breach_of_numbers, values_of
from setpoint.wall.shapes import Wrong, made, typed
from setpoint.wall.sizes import DEFAULT, SIZES, Bounds, memory

_AROUND: Final = 32
"""Bytes beside the fields of a frame, and beside the items of a list: braces and commas."""
_LEVELS: Final = 3
"""Levels of a frame around a manifest: the fields, a list, the item."""
_DIGITS: Final = bytes(ord("0") if chr(each).isdecimal() and each < 128 else ord(" ") for each in range(256))
_LONG_NUMBER: Final = b"0" * 19
"""What a number of that many digits is translated to: to look for digits by a pattern takes twenty times as long."""
_LARGE: Final = MAX_OBJECT + 16 * 1024
"""Bytes of a frame that a single object needs, with what is said of it."""


@dataclass(frozen=True, slots=True)
class Piece:
    """The body of a frame of a message; `more`: others follow."""

    body: bytes
    more: bool


def encode(message: Any) -> Iterator[Piece]:
    """Yield the pieces of a message, at least one; ProtocolError, in words that quote nothing of it, if it must not be sent."""
    name = type(message).__name__
    if (what := flaw(message)) is not None:
        raise ProtocolError(f"{name} {what}")
    previous: bytes | None = None
    size, most = 0, SIZES.get(type(message))
    for body in _bodies(name, message):
        size += len(body)
        if most is not None and size > most:
            raise ProtocolError(f"{name} has more than {most} bytes")
        if previous is not None:
            yield Piece(previous, more=True)
        previous = body
    yield Piece(previous or b"{}", more=False)


def _bodies(name: str, message: Any) -> Iterator[bytes]:
    """Yield the first body, with all that fits, then the others."""
    head: dict[str, bytes] = {}
    room = MAX_HEAD - _AROUND
    later: list[Iterator[bytes]] = []
    for field in fields(message):
        value, key = getattr(message, field.name), field.name
        if isinstance(value, tuple):
            whole, rest = _fitting(f"{name}.{key}", value, room - len(key) - _AROUND)
            parts = _lists(key, rest) if rest else None
        else:
            whole = _json(f"{name}.{key}", value)
            parts = iter([_object({key: whole})]) if len(whole) > room - len(key) - _AROUND else None
            if len(whole) > MAX_SINGLE - len(key) - _AROUND:
                raise ProtocolError(f"{name}.{key} is larger than {MAX_SINGLE} bytes")
        if parts is not None:
            later.append(parts)
        else:
            head[key] = whole
            room -= len(key) + len(whole) + 4
    yield _object(head)
    for each in later:
        yield from each


def _fitting(name: str, items: tuple[Any, ...], room: int) -> tuple[bytes, Iterable[bytes] | None]:
    """Return a list as JSON; where it does not fit, its items instead, of which as many are made already as would have."""
    done: list[bytes] = []
    source = (_json(f"{name}[{n}]", item) for n, item in enumerate(items))
    for each in source:
        done.append(each)
        room -= len(each) + 1
        if room < 0:
            return b"", _chained(done, source)
    return b"[" + b",".join(done) + b"]", None


def _chained(done: list[bytes], source: Iterator[bytes]) -> Iterator[bytes]:
    yield from done
    yield from source


def _lists(key: str, items: Iterable[bytes]) -> Iterator[bytes]:
    for batch in _batches(items):
        yield _object({key: b"[" + batch + b"]"})


def _batches(items: Iterable[bytes]) -> Iterator[bytes]:
    batch: list[bytes] = []
    size = _AROUND * 4
    for each in items:
        if batch and size + len(each) + 1 > MAX_BODY:
            yield b",".join(batch)
            batch, size = [], _AROUND * 4
        batch.append(each)
        size += len(each) + 1
    if batch:
        yield b",".join(batch)


def _json(name: str, value: Any) -> bytes:
    """Return a field or an item as JSON, once it was found fit to be sent."""
    if (what := flaw(value) or nesting(value)) is not None:
        raise ProtocolError(f"{name} {what}")
    try:
        body = orjson.dumps(value, default=_plain)
        size = len(orjson.dumps(value.manifest)) if isinstance(value, Made) and len(body) > MAX_OBJECT else 0
    except (TypeError, ValueError):  # the message of the exception may quote the value
        raise ProtocolError(f"{name} cannot be written as JSON") from None
    if size > MAX_OBJECT:
        raise ProtocolError(f"{name} has an object of more than {MAX_OBJECT} bytes")
    if len(body) > MAX_SINGLE - 4 * _AROUND:
        raise ProtocolError(f"{name} is larger than {MAX_SINGLE} bytes")
    return body


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError


def _object(given: Mapping[str, bytes]) -> bytes:
    return b"{" + b",".join(b'"%s":%s' % (key.encode(), value) for key, value in given.items()) + b"}"


class Assembly:
    """A message of which some pieces are there."""

    def __init__(self, kind: int, bounds: Bounds = DEFAULT) -> None:
        """`kind`: the number of the message. `bounds`: how much of it is taken."""
        self._type = TYPES[kind]
        self._most, self._most_values = min(bounds.size, SIZES.get(self._type, bounds.size)), bounds.values
        self._given: dict[str, Any] = {}
        self._lists: dict[str, list[Any]] = {}
        self._size = self._values = 0

    def add(self, body: bytes) -> int:
        """Take one more piece, and return how many bytes of memory it takes at most; ProtocolError if it is none of this message."""
        self._size += len(body)
        try:
            return self._add(body)
        except Wrong as wrong:
            raise ProtocolError(str(wrong.below(self._type.__name__))) from None

    def _add(self, body: bytes) -> int:
        if self._size > self._most:
            raise Wrong(f"has more than {self._most} bytes")
        raw, values = _parsed(body)
        self._values += values
        if self._values > self._most_values:
            raise Wrong(f"has more than {self._most_values} values")
        given = typed(self._type, raw)
        if len(body) > MAX_BODY:
            _single(given, len(body))
        for name, value in given.items():
            if type(value) is tuple:
                self._lists.setdefault(name, []).extend(value)
            elif name in self._given:
                raise Wrong("is there twice", name)
            else:
                self._given[name] = value
        return memory(body, values)

    def message(self) -> Any:
        """Return the message, now that all pieces are there; ProtocolError if a field is missing."""
        try:
            return made(self._type, {**self._given, **{k: tuple(v) for k, v in self._lists.items()}})
        except Wrong as wrong:
            raise ProtocolError(str(wrong.below(self._type.__name__))) from None


def _parsed(body: bytes) -> tuple[Any, int]:
    """Return the JSON of a frame, and how many values it has."""
    try:
        raw = from_json(body, allow_inf_nan=False)
    except ValueError:  # its message may quote the text
        raise Wrong("is no JSON, or nested too deep") from None
    values = values_of(raw, MAX_DEPTH + _LEVELS)
    if values is None:
        raise Wrong(f"has more than {MAX_DEPTH + _LEVELS} levels of nesting")
    # Most numbers are short.
    if _LONG_NUMBER in body.translate(_DIGITS) and (what := breach_of_numbers(raw)) is not None:
        raise Wrong(what)
    return raw, values


def _single(given: Mapping[str, Any], size: int) -> None:
    """Refuse a long frame with more than a single thing."""
    values = list(given.values())
    items = values[0] if len(values) == 1 else ()
    if type(items) is tuple and len(items) != 1:
        raise Wrong(f"has a frame of more than {MAX_BODY} bytes, and not of a single thing")
    if type(items) is tuple and isinstance(items[0], Made) and size > _LARGE:
        raise Wrong(f"has an object of more than {MAX_OBJECT} bytes")


def decode(kind: int, bodies: Iterable[bytes]) -> Any:
    """Return the message of all its pieces."""
    assembly = Assembly(kind)
    for body in bodies:
        assembly.add(body)
    return assembly.message()


def number(message: Any) -> int:
    """Return the number of a message's kind."""
    return NUMBERS[type(message)]
