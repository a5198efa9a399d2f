"""A keyed work queue: one key at a time, deduplicated, fair, with delays and back-off (shell, no I/O).

The contract is controller-runtime's: a key stands for an object, never for an event; adding a key that waits
changes nothing, adding one that is being worked on has it worked on again. Nothing polls: a worker is a
task that exists only while it works, and one timer stands for the earliest delay.

    queue = Queue(reconcile, workers=16)
    running = asyncio.create_task(queue.run())
    queue.add(key)
    await queue.drain(10)
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import random
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from setpoint.logs import where

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 300.0


@dataclass(frozen=True, slots=True)
class Result:
    """What a run of work asks for: nothing, a run `after` so many seconds, or a `retry` with back-off."""

    after: float | None = None
    retry: bool = False


class Queue(Generic[K]):
    """Works on keys, each by at most one worker at a time.

    Keys of one `fairness` group take turns with other groups. Keys whose last run asked for a retry come after
    all others and hold at most half of the workers, so that what fails never delays what does not.
    """

    def __init__(
        self,
        work: Callable[[K], Awaitable[Result]],
        *,
        workers: int,
        fairness: Callable[[K], Hashable] | None = None,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._work, self._workers = work, workers
        self._rng = rng or random.Random()  # noqa: S311 - jitter
        self._clock = clock
        self._healthy: _Turns[K] = _Turns(fairness)
        self._failing: _Turns[K] = _Turns(fairness)
        self._tasks: dict[K, asyncio.Task[None]] = {}
        self._busy_failing: set[K] = set()
        self._again: set[K] = set()
        self._failures: dict[K, int] = {}
        self._delays = _Delays[K]()
        self._timer: asyncio.TimerHandle | None = None
        self._open = False
        self._closed = asyncio.Event()

    def __len__(self) -> int:
        """The number of keys that wait for a worker, delayed ones not counted."""
        return len(self._healthy) + len(self._failing) + len(self._again)

    def busy(self, key: K) -> bool:
        """Tell whether a key is being worked on or waits for a worker; a delayed one does not."""
        return key in self._tasks or key in self._healthy or key in self._failing

    @property
    def working(self) -> int:
        """The number of keys that are being worked on."""
        return len(self._tasks)

    def add(self, key: K) -> None:
        """Have a key worked on as soon as a worker is free; this cancels its delay."""
        self._delays.cancel(key)
        if key in self._tasks:
            self._again.add(key)
        elif key not in self._healthy and key not in self._failing:
            (self._failing if key in self._failures else self._healthy).add(key)
        self._dispatch()

    def add_after(self, key: K, seconds: float) -> None:
        """Have a key worked on after a delay; of several delays the earliest counts."""
        if seconds <= 0:
            self.add(key)
        elif key not in self._healthy and key not in self._failing and key not in self._again:
            self._delays.put(key, self._clock() + seconds)
            self._arm()

    def forget(self, key: K) -> None:
        """Forget that a key failed: its next back-off starts anew, and it waits among the healthy."""
        self._failures.pop(key, None)
        if self._failing.remove(key):
            self._healthy.add(key)

    async def run(self) -> None:
        """Work until `drain`; when cancelled, what is being worked on is cancelled too."""
        self._open = True
        self._dispatch()
        self._arm()
        try:
            await self._closed.wait()
        except asyncio.CancelledError:
            await self.drain(0)
            raise

    async def drain(self, timeout: float) -> None:  # noqa: ASYNC109 - the limit is followed by a cancellation
        """Start nothing more, let what runs come to its end for so many seconds, then cancel it."""
        self._open = False
        self._closed.set()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        running = list(self._tasks.values())
        if running and timeout > 0:
            await asyncio.wait(running, timeout=timeout)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    # --- who is next

    def _dispatch(self) -> None:
        while self._open and len(self._tasks) < self._workers:
            if self._healthy:
                key = self._healthy.pop()
            elif self._failing and len(self._busy_failing) < max(1, self._workers // 2):
                key = self._failing.pop()
                self._busy_failing.add(key)
            else:
                return
            self._tasks[key] = asyncio.create_task(self._run_one(key))

    async def _run_one(self, key: K) -> None:
        result = Result(retry=True)
        try:
            result = await self._work(key)
        except Exception as error:  # noqa: BLE001 - whatever it is, other keys must go on and this one be tried again
            # Not the message: it may quote a Secret.
            log.error(  # noqa: TRY400
                "work failed unexpectedly",
                extra={"key": str(key), "error": type(error).__name__, "where": where(error)},
            )
        finally:
            del self._tasks[key]
            self._busy_failing.discard(key)
            self._after(key, result)
            self._dispatch()

    def _after(self, key: K, result: Result) -> None:
        # What is due and was not done by this run would not be done by one at once either; news wakes it anyway.
        pause = FIRST_PAUSE if result.after is not None and result.after <= 0 else result.after
        if result.retry:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 30)) * self._rng.uniform(
                0.5, 1.0
            )
        else:
            self._failures.pop(key, None)
        if key in self._again:
            self._again.remove(key)
            self.add(key)
        elif pause is not None:
            self.add_after(key, pause)

    # --- time

    def _arm(self) -> None:
        due = self._delays.first()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._open and due is not None:
            delay = max(0.0, due - self._clock())
            self._timer = asyncio.get_running_loop().call_later(delay, self._ring)

    def _ring(self) -> None:
        self._timer = None
        for key in self._delays.due(self._clock()):
            self.add(key)
        self._arm()


class _Turns(Generic[K]):
    """Keys in the order of their arrival, but groups take turns."""

    def __init__(self, group: Callable[[K], Hashable] | None) -> None:
        self._group = group or (lambda _key: None)
        self._lines: OrderedDict[Hashable, deque[K]] = OrderedDict()
        self._keys: set[K] = set()

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: K) -> bool:
        return key in self._keys

    def add(self, key: K) -> None:
        self._keys.add(key)
        self._lines.setdefault(self._group(key), deque()).append(key)

    def pop(self) -> K:
        group, line = self._lines.popitem(last=False)
        key = line.popleft()
        if line:
            self._lines[group] = line  # at the end: the other groups come first
        self._keys.remove(key)
        return key

    def remove(self, key: K) -> bool:
        if key not in self._keys:
            return False
        self._keys.remove(key)
        line = self._lines[self._group(key)]
        line.remove(key)
        if not line:
            del self._lines[self._group(key)]
        return True


class _Delays(Generic[K]):
    """When each key is due; entries of the heap that `_due` does not confirm are out of date."""

    def __init__(self) -> None:
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._numbers = itertools.count()

    def put(self, key: K, due: float) -> None:
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._heap, (due, next(self._numbers), key))

    def cancel(self, key: K) -> None:
        self._due.pop(key, None)

    def first(self) -> float | None:
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def due(self, now: float) -> list[K]:
        keys = []
        while (first := self.first()) is not None and first <= now:
            keys.append(heapq.heappop(self._heap)[2])
            del self._due[keys[-1]]
        return keys
