"""Lets the event loop have a turn between two pieces of work, whoever does them."""

from __future__ import annotations

import asyncio


class Turns:
    """One piece of work in each turn of the event loop: of all who share these turns, in the order in which they ask."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self.count = 0
        """How many were given."""

    async def next(self) -> None:
        """Return in a turn of the event loop in which nobody else does, and in which nothing was done yet."""
        async with self._lock:
            await asyncio.sleep(0)
            self.count += 1
