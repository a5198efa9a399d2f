"""What the messages take of memory that come in over one connection and are not whole yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from setpoint.wall.errors import ProtocolError


class Ledger:
    """Adds up, and ends the largest call when all together are too large: an answer is one tenant's, and so is its end."""

    def __init__(self, most: int) -> None:
        """`most`: bytes of memory of all together."""
        self._most = most
        self._parts: list[_Part] = []

    @property
    def size(self) -> int:
        """Bytes of memory of all that is not whole yet."""
        return sum(part.size for part in self._parts)

    @contextmanager
    def part(self, fail: Callable[[ProtocolError], None]) -> Iterator[Callable[[int], None]]:
        """Give what counts bytes of one message within the block, and raises ProtocolError if it is the largest and there is no room.

        `fail` is called if it is while another grows: whoever waits for the rest of it must not wait any more.
        """
        made = _Part(fail)
        self._parts.append(made)
        try:
            yield lambda size: self._add(made, size)
        finally:
            self._parts.remove(made)

    def _add(self, part: _Part, size: int) -> None:
        part.size += size
        while self.size > self._most and not part.over:
            largest = max(self._parts, key=lambda each: each.size)
            largest.size, largest.over = 0, True
            if largest is not part:
                largest.fail(self._error())
        if part.over:
            part.size = 0
            raise self._error()

    def _error(self) -> ProtocolError:
        return ProtocolError(
            f"an answer that is the largest of those that together take more than {self._most} bytes of memory"
        )


class _Part:
    """What one message takes; `over`: it was the largest when there was no room."""

    def __init__(self, fail: Callable[[ProtocolError], None]) -> None:
        self.fail, self.size, self.over = fail, 0, False
