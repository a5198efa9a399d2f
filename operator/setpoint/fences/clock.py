"""Time limits of what a child is asked, which stand while it waits for its turn (shell, no I/O).

What runs at once shares the child: of each second, every one of n limits is charged a part of 1/n. So many that are quick each do not use
up each other's time while they wait within the child, which nobody sees from here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class _Limit:
    """`left`: seconds of it when the clock last stood or went on; `end`: when it is over even if the clock stands."""

    timeout: asyncio.Timeout
    left: float
    end: float


class Clock:
    """The clock of one child. It stands while something of the child waits for its turn, and nothing of it has one."""

    def __init__(self) -> None:
        self._limits: set[_Limit] = set()
        self._waits = self._turns = 0
        self._since = 0.0

    @property
    def stands(self) -> bool:
        """Whether no time is counted."""
        return self._waits > 0 and self._turns == 0

    @asynccontextmanager
    async def limit(self, seconds: float, most: float) -> AsyncIterator[None]:
        """Raise TimeoutError if the block's share of this clock is more seconds, or if it takes more than `most` of all."""
        async with asyncio.timeout(None) as timeout:
            limit = _Limit(timeout, seconds, self._now() + most)
            self._account()
            self._limits.add(limit)
            try:
                self._set()
                yield
            finally:
                self._account()
                self._limits.discard(limit)
                self._set()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Let something wait for its turn within the block."""
        self._change(waits=1)
        try:
            yield
        finally:
            self._change(waits=-1)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Let something have its turn within the block."""
        self._change(turns=1)
        try:
            yield
        finally:
            self._change(turns=-1)

    def _change(self, *, waits: int = 0, turns: int = 0) -> None:
        stood = self.stands
        self._account()
        self._waits, self._turns = self._waits + waits, self._turns + turns
        if stood != self.stands:
            self._set()

    def _account(self) -> None:
        """Take what was counted since the last change from all limits."""
        now = self._now()
        if not self.stands:
            for limit in self._limits:
                limit.left -= (now - self._since) / len(self._limits)
        self._since = now

    def _set(self) -> None:
        for limit in self._limits:
            if not limit.timeout.expired():  # or it is about to raise
                due = limit.end if self.stands else self._since + limit.left * len(self._limits)
                limit.timeout.reschedule(min(limit.end, due))

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()
