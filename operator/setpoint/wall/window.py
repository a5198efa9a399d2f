"""The window of a call: how much of its bodies may be under way, so that a slow reader costs neither side memory (pure)."""

from __future__ import annotations

from typing import Final

from setpoint.wall.errors import ProtocolError

WINDOW: Final = 512 * 1024
"""Bytes of one call that may be under way in one direction; a single larger frame may be, alone."""
_EACH: Final = 64
"""What a frame costs beside its body: an empty one takes memory too."""


def cost(body: bytes) -> int:
    """Return what a body frame takes of the window."""
    return len(body) + _EACH


class Sending:
    """The sender's side."""

    def __init__(self) -> None:
        self._under_way = 0

    def room(self, size: int) -> bool:
        """Return whether a frame of this cost may be sent now."""
        return self._under_way == 0 or self._under_way + size <= WINDOW

    def sent(self, size: int) -> None:
        """Note a frame that was sent."""
        self._under_way += size

    def credited(self, size: int) -> None:
        """Note that the receiver used so much."""
        if not 0 < size <= self._under_way:
            raise ProtocolError("a credit for more than was sent")
        self._under_way -= size


class Receiving:
    """The receiver's side."""

    def __init__(self) -> None:
        self._under_way = 0
        self._owed = 0

    def received(self, size: int) -> None:
        """Note a frame that came in; ProtocolError if it had to wait."""
        if self._under_way and self._under_way + size > WINDOW:
            raise ProtocolError(f"more than {WINDOW} bytes of one call before any were used")
        self._under_way += size

    def used(self, size: int, waiting: int) -> int:
        """Note a frame that was used, and return for how much a credit is due now, if any; `waiting`: frames yet to be used."""
        self._owed += size
        if waiting and self._owed < WINDOW // 2:
            return 0
        due, self._owed = self._owed, 0
        self._under_way -= due
        return due
