"""Frames: the unit that crosses between operator and worker (pure: bytes in, frames out, and back).

A frame is the length of its body (4 bytes), its kind (1 byte; the highest bit says that more frames of the same message follow),
the number of its call (4 bytes), and the body. So whoever only passes frames on reads no body: all that it must know is in front of it.

The first frame of a message has the kind of that message; those that follow are of the kind BODY.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from setpoint.wall.errors import ProtocolError

HEADER: Final = struct.Struct(">IBI")
FOLLOWED: Final = 0x80
LAST_CALL: Final = 2**32 - 1

MAX_HEAD: Final = 64 * 1024
"""Bytes of the first frame of a message."""
MAX_BODY: Final = 256 * 1024
"""Bytes of a further frame, unless it holds a single thing."""
MAX_SINGLE: Final = 2 * 1024 * 1024
"""Bytes of a further frame that holds a single thing."""

# Kinds below 16 belong to frames themselves, those from 16 on to messages (`wall.kinds`).
BODY: Final = 1
CREDIT: Final = 2
"""So many bytes of this call's bodies were used: as many more may be sent."""
CANCEL: Final = 3
"""Nobody waits for the answer any more."""
ENDED: Final = 4
"""The call is over, without an answer."""
FAULT: Final = 5
"""The call is over: what was sent broke the protocol. The log of who says so has how; words of its own could be anybody's."""
ALONE: Final = frozenset((CREDIT, CANCEL, ENDED, FAULT))
"""Kinds that are no part of a message."""
LIMITS: Final[Mapping[int, int]] = {BODY: MAX_SINGLE, CREDIT: 16, CANCEL: 0, ENDED: 0, FAULT: 0}


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame; `more`: others of the same message follow."""

    kind: int
    call: int
    body: bytes = b""
    more: bool = False


def pack(frame: Frame) -> bytes:
    """Return the bytes of a frame."""
    kind = frame.kind | (FOLLOWED if frame.more else 0)
    return HEADER.pack(len(frame.body), kind, frame.call) + frame.body


class Parser:
    """Makes frames of bytes as they come in, in any pieces. It holds no more than one frame, and what it was fed last."""

    def __init__(self, limits: Mapping[int, int]) -> None:
        """`limits`: the kinds that may come in, with the most bytes that a body of each may have."""
        self._limits = limits
        self._buffer = bytearray()
        self._error: ProtocolError | None = None

    @property
    def held(self) -> int:
        """How many bytes wait for the rest of their frame."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that are complete with these bytes; to be gone through before more is fed.

        Raises ProtocolError as soon as the front of a frame is there that must not come. After that nothing can be read any more.
        """
        if self._error is not None:
            raise self._error
        self._buffer += data
        at = 0
        try:
            while (front := self._front(at)) is not None and len(self._buffer) - at >= HEADER.size + front[0]:
                length, kind, call = front
                start, at = at + HEADER.size, at + HEADER.size + length
                yield Frame(kind & ~FOLLOWED, call, bytes(self._buffer[start:at]), bool(kind & FOLLOWED))
        except ProtocolError as error:
            self._error = error
            raise
        finally:
            del self._buffer[:at]  # once for each call, and without moving the rest

    def _front(self, at: int) -> tuple[int, int, int] | None:
        if len(self._buffer) - at < HEADER.size:
            return None
        length, kind, call = HEADER.unpack_from(self._buffer, at)
        if kind & FOLLOWED and kind & ~FOLLOWED in ALONE:
            raise ProtocolError(f"a frame of kind {kind & ~FOLLOWED} that others follow")
        limit = self._limits.get(kind & ~FOLLOWED)
        if limit is None:
            raise ProtocolError(f"a frame of kind {kind & ~FOLLOWED}, which this side does not take")
        if length > limit:
            raise ProtocolError(
                f"a frame of kind {kind & ~FOLLOWED} with {length} bytes; the limit is {limit}"
            )
        return length, kind, call
