"""Decides who starts next where namespaces share slots (pure: the clock comes in as an argument).

Of those that wait, the namespace of which the fewest run comes first, and of several such the one that has waited for its
turn longest. So a namespace alone may use all slots, and two get half each. What cannot be ended does not hold up others:

- A namespace of which nothing runs may start one beyond the limit. There are at most as many of these as there are slots.
- What runs for longer than five seconds leaves its slot for the slow lane, which takes half as many as there are slots.
  For its own namespace it still counts, so that the slot is for others.
- What failed the last time comes after all else of its namespace, and holds at most half of the slots.

Where each holds memory (`strict`), nothing runs beyond the limit. There a namespace leaves one slot to others, and begins
nothing more while it has something in the slow lane and that is full.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Generic, NamedTuple, TypeAlias, TypeVar

K = TypeVar("K", bound=Hashable)

SLOW_SECONDS = 5.0
"""Most reconciles and fetches take less than one; a server that takes so long for an answer will take longer."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many may run. `strict`: never more, as each holds memory. `slow`: after how many seconds one is slow."""

    slots: int
    strict: bool = False
    slow: float = SLOW_SECONDS

    @property
    def each(self) -> int:
        """The most that may run of one namespace."""
        return max(1, self.slots - 1) if self.strict else self.slots

    @property
    def half(self) -> int:
        """How many slots those may hold at most that failed; those that are slow, where the limit is strict."""
        return max(1, self.slots // 2)

    @property
    def lane(self) -> int:
        """How many slow ones do not count towards the limit."""
        return 0 if self.strict else self.slots // 2

    def beyond(self, running: int) -> int:
        """Return how often the limit counts for a namespace of which so many run."""
        return 2 if not running and not self.strict else 1


class FairShare(Generic[K]):
    """Who waits and who runs, by namespace. Each call takes the same time, however many keys and namespaces there are.

    Two look at all namespaces that wait: `longest_wait` and `namespaces`.
    """

    def __init__(self) -> None:
        self._namespaces: dict[str, _Namespace[K]] = {}
        self._waiting: dict[K, _Namespace[K]] = {}
        self._running: dict[K, _Run[K]] = {}
        self._quick: OrderedDict[K, float] = OrderedDict()
        self._slow = self._failing = self._turns = 0
        self._lines: list[tuple[_Line[K], _Line[K]]] = []
        """Namespaces that wait, each with its turn: by how many of each run, those with healthy ones and the others."""

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """How many run."""
        return len(self._running)

    def waits(self, key: K) -> bool:
        """Return whether a key waits."""
        return key in self._waiting

    def runs(self, key: K) -> bool:
        """Return whether a key runs."""
        return key in self._running

    def namespaces(self) -> Iterator[str]:
        """Return the namespaces of those that wait."""
        return (known.name for lines in self._lines for line in lines for known in line)

    def held(self, namespace: str) -> int:
        """Return how many of a namespace run."""
        known = self._namespaces.get(namespace)
        return known.running if known else 0

    def longest_wait(self, now: float) -> float:
        """Return how long the one has waited that waits longest."""
        since = (known.since() for known in self._namespaces.values() if known.waits)
        return now - min(since, default=now)

    # --- what happens

    def wait(self, key: K, namespace: str, now: float, *, failing: bool = False) -> None:
        """Let a key wait that neither waits nor runs."""
        known = self._namespaces.get(namespace)
        if known is None:
            known = self._namespaces[namespace] = _Namespace(namespace)
        (known.failing if failing else known.healthy)[key] = now
        self._waiting[key] = known
        self._place(known)

    def leave(self, key: K) -> None:
        """Forget a key that waits."""
        known = self._waiting.pop(key)
        known.healthy.pop(key, None)
        known.failing.pop(key, None)
        self._place(known)

    def next(self, limits: Limits, now: float) -> K | None:
        """Return the key that starts now, which runs from here on; None if there is none, or no slot for any."""
        self._grow_slow(limits, now)
        if not self._waiting:
            return None
        for running, (healthy, failing) in enumerate(self._lines[: limits.each]):
            if healthy or failing:
                if not self._has_slot(limits, running):
                    break
                may_fail = self._failing < limits.half * limits.beyond(running)
                if (chosen := self._chosen(limits, healthy, failing if may_fail else {})) is not None:
                    return self._start(chosen, now)
        return None

    def end(self, key: K) -> None:
        """Record that a key runs no longer."""
        run = self._running.pop(key)
        run.namespace.running -= 1
        self._failing -= run.failed
        if self._quick.pop(key, None) is None:
            self._slow -= 1
            run.namespace.slow -= 1
        self._place(run.namespace)

    def turns_slow(self, limits: Limits) -> float | None:
        """Return when a slot becomes free although nothing ends, as the one that runs longest becomes slow.

        None if nobody waits for it, or if the slow lane is full.
        """
        if not self._waiting or not self._quick or self._slow >= limits.lane:
            return None
        return next(iter(self._quick.values())) + limits.slow

    # --- the decision

    def _grow_slow(self, limits: Limits, now: float) -> None:
        while self._quick and now - next(iter(self._quick.values())) >= limits.slow:
            key, _ = self._quick.popitem(last=False)
            self._slow += 1
            self._running[key].namespace.slow += 1

    def _has_slot(self, limits: Limits, running: int) -> bool:
        """Return whether there is a slot for a namespace of which so many run."""
        return self.running - min(self._slow, limits.lane) < limits.slots * limits.beyond(running)

    def _chosen(
        self, limits: Limits, healthy: Mapping[_Namespace[K], int], failing: Mapping[_Namespace[K], int]
    ) -> _Namespace[K] | None:
        """Return whose turn it is among namespaces of which as many run."""
        turns: Iterable[_Namespace[K]] = healthy or failing
        if healthy and failing:
            merged = heapq.merge(healthy.items(), failing.items(), key=itemgetter(1))
            turns = (known for known, _ in merged)
        if not limits.strict or self._slow < limits.half:
            return next(iter(turns), None)
        # As many are passed over as there are slots, at most: something runs of each.
        return next((known for known in turns if not known.slow), None)

    def _start(self, known: _Namespace[K], now: float) -> K:
        failed = not known.healthy
        key, _ = (known.failing if failed else known.healthy).popitem(last=False)
        del self._waiting[key]
        known.running += 1
        self._running[key] = _Run(known, failed)
        self._quick[key] = now
        self._failing += failed
        self._place(known)
        return key

    def _place(self, known: _Namespace[K]) -> None:
        """Put a namespace at the end of the line that it belongs to, unless it stands there; forget one without keys."""
        line = self._line(known) if known.waits else None
        if line is not known.line:
            if known.line is not None:
                del known.line[known]
            if line is not None:
                self._turns += 1
                line[known] = self._turns
            known.line = line
        if line is None and not known.running:
            del self._namespaces[known.name]

    def _line(self, known: _Namespace[K]) -> _Line[K]:
        while len(self._lines) <= known.running:
            self._lines.append((OrderedDict(), OrderedDict()))
        healthy, failing = self._lines[known.running]
        return healthy if known.healthy else failing


class _Namespace(Generic[K]):
    """The keys of a namespace that wait, each with the time since when, and how many run."""

    __slots__ = ("failing", "healthy", "line", "name", "running", "slow")

    def __init__(self, name: str) -> None:
        self.name = name
        self.healthy: OrderedDict[K, float] = OrderedDict()
        self.failing: OrderedDict[K, float] = OrderedDict()
        self.running = self.slow = 0
        self.line: _Line[K] | None = None

    @property
    def waits(self) -> bool:
        return bool(self.healthy or self.failing)

    def since(self) -> float:
        """Return since when the one waits that waits longest."""
        return min(next(iter(line.values())) for line in (self.healthy, self.failing) if line)


class _Run(NamedTuple, Generic[K]):
    namespace: _Namespace[K]
    failed: bool


_Line: TypeAlias = "OrderedDict[_Namespace[K], int]"
