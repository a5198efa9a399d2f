"""A work queue of keys and its workers: without duplicates, with delays and back-off (shell, no I/O).

The contract is that of controller-runtime: a key stands for an object, never for an event. Adding a key that waits
changes nothing; a key that is added while it is being worked on is worked on again. The queue is separate from its workers: it is
enough to wake, and a `Controller` works on it. Namespaces share the workers (`fairness`). Nothing polls: a worker is a task
that exists only while it works, one timer stands for the earliest delay, and one for the next key that becomes slow.

    queue = WorkQueue(namespace=lambda key: key.namespace)
    controller = Controller(queue, reconcile, workers=16)
    running = asyncio.create_task(controller.run())
    queue.add(key)
    await controller.drain(10)
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import random
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from setpoint.runtime.bell import Bell
from setpoint.runtime.fairness import FairShare, Limits
from setpoint.runtime.logs import where

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 300.0


@dataclass(frozen=True, slots=True)
class Result:
    """What a run of work asks for: nothing, a run `after` so many seconds, a `retry` with back-off, or whichever is first."""

    after: float | None = None
    retry: bool = False


def _alone(_key: object) -> str:
    return ""


class WorkQueue(Generic[K]):
    """Keys that wait for a worker, are being worked on, or are due later.

    Keys whose last run asked for a retry come after all others of their namespace.
    """

    def __init__(
        self,
        *,
        namespace: Callable[[K], str] = _alone,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`namespace`: whom a key belongs to; by default all belong to one."""
        self._namespace, self._clock = namespace, clock
        self._rng = rng or random.Random()  # noqa: S311 - jitter
        self._share = FairShare[K]()
        self._again: set[K] = set()
        self._failures: dict[K, int] = {}
        self._delays = _Delays[K]()
        self._timer: asyncio.TimerHandle | None = None
        self._ready: Callable[[], None] | None = None

    def __len__(self) -> int:
        """The number of keys that wait for a worker, delayed ones not counted."""
        return self._share.waiting + len(self._again)

    def busy(self, key: K) -> bool:
        """Return whether a key is being worked on or waits for a worker; a delayed one does not."""
        return self._share.runs(key) or self._share.waits(key)

    @property
    def working(self) -> int:
        """The number of keys that are being worked on."""
        return self._share.running

    def longest_wait(self) -> float:
        """Return for how many seconds the key has waited for a worker that waits longest."""
        return self._share.longest_wait(self._clock())

    def add(self, key: K) -> None:
        """Queue a key for the next free worker; this cancels its delay."""
        self._delays.cancel(key)
        if self._share.runs(key):
            self._again.add(key)
        elif not self._share.waits(key):
            failing = key in self._failures
            self._share.wait(key, self._namespace(key), self._clock(), failing=failing)
        self._tell()

    def add_after(self, key: K, seconds: float) -> None:
        """Queue a key after a delay; of several delays the earliest counts."""
        if seconds <= 0:
            self.add(key)
        elif not self._share.waits(key) and key not in self._again:
            self._delays.put(key, self._clock() + seconds)
            self._arm()

    # --- for the controller

    def open(self, ready: Callable[[], None]) -> None:
        """Call `ready` whenever there may be a key to `take`; from now on delayed keys come in when they are due."""
        self._ready = ready
        self._tell()
        self._arm()

    def close(self) -> None:
        """Stop calling `ready`, and stop the timer of delayed keys."""
        self._ready = None
        self._arm()

    def take(self, limits: Limits) -> K | None:
        """Return the key to work on next, if there is one that may be worked on now."""
        return self._share.next(limits, self._clock())

    def next_turn(self, limits: Limits) -> float | None:
        """Return after how many seconds there may be a key to `take` although nothing was added or done."""
        at = self._share.turns_slow(limits)
        return None if at is None else at - self._clock()

    def done(self, key: K, result: Result) -> None:
        """Record the result of the work on a key, and when to work on it again."""
        self._share.end(key)
        # What is due and was not done by this run would not be done by one at once either; news wakes it anyway.
        pause = FIRST_PAUSE if result.after is not None and result.after <= 0 else result.after
        if result.retry:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 30))
            backoff = longest * self._rng.uniform(0.5, 1.0)
            pause = backoff if pause is None else min(backoff, pause)
        else:
            self._failures.pop(key, None)
        if key in self._again:
            self._again.remove(key)
            self.add(key)
        elif pause is not None:
            self.add_after(key, pause)
        self._tell()

    def _tell(self) -> None:
        if self._ready is not None:
            self._ready()

    # --- time

    def _arm(self) -> None:
        due = self._delays.first()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._ready is not None and due is not None:
            delay = max(0.0, due - self._clock())
            self._timer = asyncio.get_running_loop().call_later(delay, self._ring)

    def _ring(self) -> None:
        self._timer = None
        for key in self._delays.due(self._clock()):
            self.add(key)
        self._arm()


class Controller(Generic[K]):
    """Works on the keys of a queue, each by at most one worker at a time.

    Who comes next, and whether more may run than there are workers, is decided by `fairness`.
    """

    def __init__(
        self, queue: WorkQueue[K], reconcile: Callable[[K], Awaitable[Result]], *, workers: int
    ) -> None:
        self._queue, self._reconcile, self._limits = queue, reconcile, Limits(workers)
        self._tasks: dict[K, asyncio.Task[None]] = {}
        self._bell = Bell(self._dispatch)
        self._closed = asyncio.Event()

    async def run(self) -> None:
        """Work until `drain`; when cancelled, what is being worked on is cancelled too."""
        self._queue.open(self._dispatch)
        try:
            await self._closed.wait()
        except asyncio.CancelledError:
            await self.drain(0)
            raise

    async def drain(self, timeout: float) -> None:  # noqa: ASYNC109 - the limit is followed by a cancellation
        """Start nothing more, let what runs come to its end for so many seconds, then cancel it."""
        self._queue.close()
        self._bell.stop()
        self._closed.set()
        running = list(self._tasks.values())
        if running and timeout > 0:
            await asyncio.wait(running, timeout=timeout)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _dispatch(self) -> None:
        while (key := self._queue.take(self._limits)) is not None:
            self._tasks[key] = asyncio.create_task(self._work(key))
        self._bell.ring_after(self._queue.next_turn(self._limits))

    async def _work(self, key: K) -> None:
        result = Result(retry=True)
        try:
            result = await self._reconcile(key)
        except Exception as error:  # noqa: BLE001 - whatever it is, other keys must go on and this one be tried again
            # Not the message: it may quote a Secret.
            log.error(  # noqa: TRY400
                "work failed unexpectedly",
                extra={"key": str(key), "error": type(error).__name__, "where": where(error)},
            )
        finally:
            del self._tasks[key]
            self._queue.done(key, result)


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
