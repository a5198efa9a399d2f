"""Slots that namespaces share: a semaphore whose order is that of `fairness` (shell, no I/O)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from setpoint.runtime.bell import Bell
from setpoint.runtime.fairness import FairShare, Limits


@dataclass(frozen=True, slots=True, eq=False)
class Ticket:
    """A turn in the line for a slot; `called` is done when the slot is there."""

    namespace: str
    called: asyncio.Future[None]


class Held:
    """A context that holds a slot, once. A class, for a generator takes twice the time, and each request has some."""

    __slots__ = ("_namespace", "_slots", "_ticket")

    def __init__(self, slots: Slots, namespace: str) -> None:
        self._slots, self._namespace = slots, namespace
        self._ticket: Ticket | None = None

    async def __aenter__(self) -> None:
        self._ticket = await self._slots.called(self._slots.ask(self._namespace))

    async def __aexit__(self, *_: object) -> None:
        assert self._ticket is not None  # noqa: S101 - entered
        self._slots.give_back(self._ticket)


class Slots:
    """A number of slots. Use it from one event loop.

    async with slots.held(namespace):
        ...
    """

    def __init__(self, limits: Limits, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.limits, self._clock = limits, clock
        self._share = FairShare[Ticket]()
        self._bell = Bell(self._dispatch)

    def held(self, namespace: str) -> Held:
        """Return a context inside of which a slot is held."""
        return Held(self, namespace)

    def ask(self, namespace: str) -> Ticket:
        """Get in line, without waiting; follow it by `called`."""
        ticket = Ticket(namespace, asyncio.get_running_loop().create_future())
        self._share.wait(ticket, namespace, self._clock())
        self._dispatch()
        return ticket

    async def called(self, ticket: Ticket) -> Ticket:
        """Wait for the turn of a ticket, or until it is withdrawn. Whoever is cancelled gives it back."""
        try:
            await ticket.called
        except asyncio.CancelledError:
            self.give_back(ticket)
            raise
        return ticket

    def withdraw(self, ticket: Ticket) -> None:
        """Tell who waits that there is no need for a slot any more."""
        if self._share.waits(ticket):
            self._share.leave(ticket)
            if not ticket.called.done():
                ticket.called.set_result(None)

    def give_back(self, ticket: Ticket) -> None:
        """Give the slot back, or the turn of one that still waits."""
        if self._share.waits(ticket):
            self._share.leave(ticket)
        elif self._share.runs(ticket):
            self._share.end(ticket)
        self._dispatch()

    def holds(self, ticket: Ticket) -> bool:
        """Return whether there is a slot for a ticket now; one that was withdrawn has none."""
        return self._share.runs(ticket)

    def held_by(self, namespace: str) -> int:
        """Return how many slots a namespace holds."""
        return self._share.held(namespace)

    def waiting(self) -> frozenset[str]:
        """Return the namespaces that wait for a slot."""
        return frozenset(self._share.namespaces())

    @property
    def longest_wait(self) -> float:
        """For how many seconds the one has waited that waits longest."""
        return self._share.longest_wait(self._clock())

    def _dispatch(self) -> None:
        while (ticket := self._share.next(self.limits, self._clock())) is not None:
            if not ticket.called.done():  # else it was cancelled, and gives the slot back in a moment
                ticket.called.set_result(None)
        at = self._share.turns_slow(self.limits)
        self._bell.ring_after(None if at is None else at - self._clock())
