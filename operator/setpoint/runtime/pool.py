"""A limited number of processes that serve namespaces, each kept for as long as nobody else needs its place (async shell, no I/O).

Each holds a slot until its process is gone, also while it has nothing to do (`runtime.slots`). Where another is needed, an idle one ends; where
none is idle, one gets no more requests, and ends when it has done what it has, or is ended when that takes too long.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Hashable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Generic, Protocol, TypeVar

from setpoint.runtime.fairness import Limits
from setpoint.runtime.slots import Slots, Ticket

K = TypeVar("K", bound=Hashable)
N = TypeVar("N", bound=Hashable)


class Member(Protocol):
    """A process of the pool: it gets no more requests once it is `retired`, and has been `idle` since when it is not `busy`."""

    retired: bool
    idle: float

    @property
    def busy(self) -> int:
        """How many requests it works on, or whether it does."""

    @property
    def usable(self) -> bool:
        """Whether it takes requests."""

    def kill(self) -> None:
        """End it at once."""


M = TypeVar("M", bound=Member)
Start = Callable[[Callable[[], None]], Awaitable[M]]
"""Starts a process. What it is given is to be called once, when that process is gone."""


class Closed(Exception):
    """The pool starts nothing any more."""


class Pool(Generic[K, M]):
    """Processes by key; at most one takes requests for a key. Use it from one event loop."""

    def __init__(
        self,
        most: int,
        namespace: Callable[[K], str],
        lasting: Callable[[K], bool] = lambda _: True,
        patience: float | None = None,
    ) -> None:
        """`most`: how many may be there at once; `namespace`: for whom the one with a key is.

        `lasting`: whether one would stay if others did not need its place; then it has `patience` seconds to end what it has.
        """
        self._lasting, self._patience = lasting, patience
        self._slots, self._namespace = Slots(Limits(most, strict=True, slow=math.inf)), namespace
        self._asking: dict[Ticket, K] = {}
        self._members: dict[K, M] = {}
        self._all: dict[M, tuple[str, float]] = {}
        """All that are there, also those that get no more requests: whose each is, and since when."""
        self._starting = asyncio.Lock()
        self._coming: set[K] = set()
        """Keys of those that are being started: who else waits for one of these needs nobody's place."""
        self._closed = False

    @property
    def all(self) -> Collection[M]:
        """All whose process is there."""
        return self._all.keys()

    @property
    def longest_wait(self) -> float:
        """For how many seconds the one has waited that waits longest."""
        return self._slots.longest_wait

    def find(self, key: K) -> M | None:
        """Return the one that takes requests for a key, if there is one."""
        member = self._members.get(key)
        return member if member is not None and member.usable else None

    async def get(
        self,
        key: K,
        start: Start[M],
        waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> M:
        """Return the one for a key, started when there may be another one: that is waited for inside `waiting`. Raises Closed."""
        while (member := self.find(key)) is None:
            if self._closed:
                raise Closed
            ticket = self._slots.ask(self._namespace(key))
            self._asking[ticket] = key
            try:
                self._make_room()
                with waiting():
                    await self._slots.called(ticket)
            except BaseException:
                self._slots.give_back(ticket)
                raise
            finally:
                del self._asking[ticket]
            if self._slots.holds(ticket):
                await self._start_once(key, start, ticket)
        return member

    def rest(self, key: K, member: M) -> None:
        """Note that a request of one is over. One that is no good any more is forgotten, and ends."""
        if self._members.get(key) is member and not member.usable:
            del self._members[key]
        if member.busy:
            return
        if member.retired:
            member.kill()
        else:
            member.idle = asyncio.get_running_loop().time()
            self._make_room()

    def retire(self, key: K) -> M | None:
        """Give the one for a key no more requests; it ends when it has none."""
        member = self._members.pop(key, None)
        if member is not None:
            member.retired = True
            if not member.busy:
                member.kill()
        return member

    def close(self) -> None:
        """End all, and start none any more."""
        self._closed = True
        self._members.clear()
        for member in self._all:
            member.kill()

    async def _start_once(self, key: K, start: Start[M], ticket: Ticket) -> None:
        """Start one in the slot of a ticket, unless there is one by now. Who waits to start the same need not wait."""
        member: M | None = None
        self._coming.add(key)
        try:
            async with self._starting:
                if self._closed:  # each that ended gave its slot to one that waited
                    raise Closed
                if self.find(key) is None:
                    member = await start(lambda: self._gone(member, ticket))
                    self._members[key] = member
                    self._all[member] = self._namespace(key), asyncio.get_running_loop().time()
        finally:
            self._coming.discard(key)
            if member is None:
                self._slots.give_back(ticket)
        for other in [each for each, wanted in self._asking.items() if wanted == key]:
            self._slots.withdraw(other)

    def _gone(self, member: M | None, ticket: Ticket) -> None:
        if member is not None:
            self._all.pop(member, None)
            for key in [key for key, each in self._members.items() if each is member]:
                del self._members[key]
        self._slots.give_back(ticket)

    def _make_room(self) -> None:
        """End some where others may be started in their place: idle ones, or else some as soon as they are idle."""
        coming = self._coming | {key for ticket, key in self._asking.items() if ticket.called.done()}
        asking = [key for key in self._asking.values() if key not in coming]
        wanted = len(set(asking)) - sum(each.retired and not each.busy for each in self._all)
        waiting = {self._namespace(key) for key in asking}
        while wanted > 0 and (key := self._surplus(waiting, busy=False)) is not None:
            self.retire(key)
            wanted -= 1
        wanted -= sum(bool(each.retired and each.busy) for each in self._all)
        while wanted > 0 and (key := self._surplus(waiting, busy=True)) is not None:
            member = self.retire(key)
            if self._patience is not None and member is not None:
                asyncio.get_running_loop().call_later(self._patience, member.kill)
            wanted -= 1

    def _surplus(self, waiting: Collection[str], *, busy: bool) -> K | None:
        held = Counter(owner for owner, _ in self._all.values())
        fit = {
            key: each
            for key, each in self._members.items()
            if each.usable and bool(each.busy) is busy and self._lasting(key)
        }
        since = {key: self._all[each][1] if busy else each.idle for key, each in fit.items()}
        owned = {key: (self._namespace(key), at) for key, at in since.items()}
        return surplus(held, owned, waiting, self._slots.limits.each)


def surplus(
    held: Mapping[str, int], idle: Mapping[N, tuple[str, float]], waiting: Collection[str], each: int
) -> N | None:
    """Return the one that must end so that a namespace that waits may have another one (pure).

    It is the one that is idle for longest, of the namespace that has most. Who has as many as one may have (`each`) gains
    from the end of its own alone. `held`: how many each namespace has; `idle`: whose each one is, and since when idle.
    """
    gains = any(held.get(name, 0) < each for name in waiting)
    fit = [name for name, (owner, _) in idle.items() if gains or owner in waiting]
    return max(fit, key=lambda name: (held[idle[name][0]], -idle[name][1]), default=None)
