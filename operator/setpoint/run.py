"""One run over one Sync: what was gathered, and what came of it (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from setpoint import names, status
from setpoint.api import Sync
from setpoint.conditions import progresses
from setpoint.desired import Stamp
from setpoint.inventory import ungrouped
from setpoint.memory import Applied, Memory, Target
from setpoint.objects import ObjectId, SyncKey
from setpoint.outcome import Correction, ObjectState
from setpoint.reasons import Problem
from setpoint.remotes import Current
from setpoint.store import Body

HOLD_SECONDS = 1.0
"""For how long the progress of a rollout is not told, at first and from then on."""


@dataclass(slots=True)
class Run:
    """One run over one Sync."""

    key: SyncKey
    body: Body
    sync: Sync
    memory: Memory
    stamp: Stamp
    user: str
    answers: str | None = None
    """The request for a check that it answers: the Source was asked before this run took the Source's commit."""
    current: Current | None = None
    target: Target | None = None
    problem: Problem | None = None
    waiting: Problem | None = None
    refused: str = ""
    applied: Applied = field(default_factory=Applied)
    contested: dict[ObjectId, SyncKey] = field(default_factory=dict)
    extra: list[ObjectState] = field(default_factory=list)
    kept: dict[ObjectId, str] = field(default_factory=dict)
    released: dict[ObjectId, str] = field(default_factory=dict)
    """What is gone or another's before everything is written, and in which words."""
    lent: dict[ObjectId, str] = field(default_factory=dict)
    """What of the inventory others may take: it stays there until they have written it."""
    yielded: frozenset[ObjectId] = frozenset()
    """What of its own others want, and so it wants no more, as a commit dropped it."""
    pruned: list[ObjectId] = field(default_factory=list)
    corrections: list[Correction] = field(default_factory=list)
    again: float | None = None
    retry: bool = False
    pending: bool = True
    """Whether the target differs from what was applied last."""
    complete: bool = False
    began: float = 0.0
    _inventory: tuple[Body, dict[ObjectId, str]] | None = None

    @property
    def generation(self) -> int:
        """The generation of the spec that this run works with."""
        return int(self.body["metadata"].get("generation", 0))

    @property
    def settled(self) -> bool:
        """Whether a commit that touches nothing of it is no news: all is done, or it fails for reasons of its own."""
        unclear = self.kept or self.contested or self.lent or self.released
        done = self.complete and self.problem is None and not self.retry
        return (done or self._fails) and not self.waiting and not self.refused and not unclear

    @property
    def _fails(self) -> bool:
        """Whether it cannot be rendered, or objects of it are rejected."""
        if self.target is None:
            return self.current is not None and self.problem is not None
        return self.problem is None and bool(self.applied.failed)

    @property
    def retries(self) -> bool:
        """Whether it is tried again by itself, after a pause that grows."""
        return self.retry or (self.problem is not None and self.problem.transient)

    @property
    def previous(self) -> Mapping[str, Any]:
        """The status as of the run before: as stored, unless it is held back."""
        return self.stored if self.memory.held is None else self.memory.held

    @property
    def stored(self) -> Mapping[str, Any]:
        """The status as stored."""
        return self.body.get("status") or {}

    @property
    def inventory(self) -> dict[ObjectId, str]:
        """The inventory as stored: identity -> apiVersion; not to be changed."""
        if self._inventory is None or self._inventory[0] is not self.body:
            self._inventory = self.body, ungrouped(self.previous.get("inventory") or [])
        return self._inventory[1]

    def hold_back(self, new: Mapping[str, Any], now: float) -> bool:
        """Hold a status back that only says how far a rollout is, and ask for another run: most end before that.

        `now` is in seconds of the clock that `sooner` means.
        """
        memory, fresh = self.memory, bool(self.applied.written) or self.memory.held is not None
        if not status.passing(self.stored, new, fresh=fresh):
            return False
        if memory.held is None and not progresses(self.stored):
            memory.held_until = now + HOLD_SECONDS
        if now >= memory.held_until:
            memory.held_until = now + HOLD_SECONDS
            return False
        memory.held = new
        self.sooner(memory.held_until - now)
        return True

    def sooner(self, delay: float | None) -> None:
        """Ask for another run after at most `delay` seconds (None: for none)."""
        if delay is not None:
            self.again = delay if self.again is None else min(self.again, delay)


def oid_of(key: SyncKey) -> ObjectId:
    """Give the identity of a Sync as an object."""
    return ObjectId(names.GROUP, "Sync", key.namespace, key.name)


def precise(now: datetime) -> str:
    """Give a time with milliseconds, for the ledger of drift."""
    return now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z"
