"""Measures for how long the event loop was held, and costs nothing while the loop rests; ends a process whose loop stands still (shell)."""

from __future__ import annotations

import asyncio
import faulthandler
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Self

PERIOD: Final = 0.005
"""Seconds between two looks while work goes on; a hold may be up to so much longer than what is told of it."""
WINDOW: Final = 60.0
LONGEST: Final = 60.0
"""Seconds for which a loop may stand; what holds it for longer does not end by itself."""
_HOOK: Final = "call_soon"


class Longest:
    """The longest of what was told, in all and within the last `WINDOW` seconds."""

    def __init__(self) -> None:
        """Nothing was told yet."""
        self.ever = 0.0
        self._recent: deque[tuple[float, float]] = deque()

    def tell(self, now: float, seconds: float) -> None:
        """Take one in; `now` never falls."""
        # To a millisecond, so that no more than the last of each length is kept.
        seconds = round(seconds, 3)
        if seconds <= 0:
            return
        self.ever = max(self.ever, seconds)
        while self._recent and self._recent[-1][1] <= seconds:
            self._recent.pop()
        self._recent.append((now, seconds))
        self._forget(now)

    def recent(self, now: float) -> float:
        """Return the longest of the last `WINDOW` seconds; 0 if there was none."""
        self._forget(now)
        return self._recent[0][1] if self._recent else 0.0

    def _forget(self, now: float) -> None:
        while self._recent and self._recent[0][0] < now - WINDOW:
            self._recent.popleft()


class HoldMeter:
    """Looks at a loop each `PERIOD` while tasks run in it: who comes late was kept waiting by somebody.

    Between two looks the first step that a task asks for starts the next one, by a `call_soon` that stands in for the loop's
    own that one time. So a loop in which nothing happens is never woken, and the first step after a rest is measured, too.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Use `of`."""
        self._loop, self._longest, self._busiest = loop, Longest(), Longest()
        self._timer: asyncio.TimerHandle | None = None

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> Self:
        """Return one that measures a loop, which must be the running one or run later in this thread."""
        made = cls(loop)
        made._wait_for_work()
        return made

    @property
    def ever(self) -> float:
        """Seconds of the longest hold since the start."""
        return self._longest.ever

    @property
    def ever_busy(self) -> float:
        """Seconds of CPU, of all threads, that the process had in the hold in which it had most: the rest it waited for the machine."""
        return self._busiest.ever

    def recent(self) -> float:
        """Return the seconds of the longest hold of the last minute."""
        return self._longest.recent(self._loop.time())

    def recent_busy(self) -> float:
        """Return the same of the last minute as `ever_busy` of all."""
        return self._busiest.recent(self._loop.time())

    def close(self) -> None:
        """Measure no longer."""
        vars(self._loop).pop(_HOOK, None)
        if self._timer is not None:
            self._timer.cancel()

    def _wait_for_work(self) -> None:
        self._timer = None
        vars(self._loop)[_HOOK] = self._begin

    def _begin(self, *args: Any, **kwargs: Any) -> asyncio.Handle:
        vars(self._loop).pop(_HOOK, None)
        # In uvloop this is when the turn of the loop began, so that it counts what the turn has done until now.
        due = self._loop.time() + PERIOD
        self._timer = self._loop.call_later(PERIOD, self._look, due, time.process_time())
        schedule: Callable[..., asyncio.Handle] = self._loop.call_soon
        return schedule(*args, **kwargs)

    def _look(self, due: float, spent: float) -> None:
        now, busy = self._loop.time(), time.process_time() - spent
        self._longest.tell(now, now - due)
        self._busiest.tell(now, min(now - due, busy))
        self._wait_for_work()


@contextmanager
def watched(longest: float = LONGEST) -> Iterator[None]:
    """End this process with code 1 if its event loop has no turn for so many seconds, within the block.

    It is told by a thread that needs no Python for it, so that one that holds Python's lock is noticed too. Where each thread is, and
    nothing of what it is at work on, goes to stderr.
    """

    async def turns() -> None:
        while True:
            faulthandler.dump_traceback_later(longest, exit=True)
            await asyncio.sleep(longest / 10)

    turning = asyncio.get_running_loop().create_task(turns())
    try:
        yield
    finally:
        turning.cancel()
        faulthandler.cancel_dump_traceback_later()
