"""The protocol between the operator and a Git worker: frames of a 4-byte length and JSON."""

from __future__ import annotations

import json
import os
import struct
from typing import Any, BinaryIO

Message = dict[str, Any]


def read(stream: BinaryIO) -> Message | None:
    """Read one message, or None at the end."""
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
    """Write one message; a parent that is gone ends us soon."""
    try:
        stream.write(frame(message))
        stream.flush()
    except OSError:
        os._exit(1)
