"""The outcome of one reconcile: object states, corrections, and their sums (pure data)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from setpoint.api import names
from setpoint.api.reasons import Problem, Reason
from setpoint.health.verdict import Health, Verdict
from setpoint.objects.identity import ObjectId
from setpoint.plan.endings.ending import Ending


class SyncState(StrEnum):
    """How one object relates to Git."""

    SYNCED = "Synced"
    OUT_OF_SYNC = "OutOfSync"
    MISSING = "Missing"
    FAILED = "Failed"
    REFUSED = "Refused"
    CONTESTED = "Contested"
    WAITING = "Waiting"


@dataclass(frozen=True, slots=True)
class ObjectState:
    """What is to be said of one object; `verdict` is None while it is not there."""

    id: ObjectId
    api_version: str
    sync: SyncState = SyncState.SYNCED
    reason: Reason | str = Reason.Succeeded
    message: str = ""
    patch: tuple[Mapping[str, Any], ...] | None = None
    verdict: Verdict | None = None
    gone: bool = False
    """Whether it is done: it ended by itself."""
    counted: bool = True
    """Whether it counts among the Sync's objects (a Contested one of another Sync does not)."""


def is_completed(s: ObjectState) -> bool:
    """Return whether an object is done, and did not fail as far as it was seen."""
    return s.gone and s.verdict is not None and s.verdict.health is Health.Healthy


@dataclass(frozen=True, slots=True)
class Correction:
    """One manual change that was put back (`corrected` set) or seen."""

    id: ObjectId
    api_version: str
    manager: str | None
    user: str | None
    detected: str
    corrected: str | None
    patch: tuple[Mapping[str, Any], ...]
    was: Any = None
    """The value that the first operation replaces."""
    beyond: int = 0
    """How many fields differed, where they are too many for a patch, which is empty then."""

    @property
    def opponent(self) -> str:
        """Who did this, for a sentence; "" if nobody knows. Our own name is nobody's."""
        if self.manager in names.OUR_MANAGERS:
            return f"{self.user or 'somebody'} (as {self.manager})"
        return self.manager or self.user or ""


@dataclass(frozen=True, slots=True)
class Revision:
    """A revision, and the digest of the inputs it stands for."""

    revision: str
    digest: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one reconcile found and did."""

    namespace: str
    generation: int
    desired: Revision | None = None
    attempted: str = ""
    """The revision that could not be made into a desired state."""
    requested: str | None = None
    problem: Problem | None = None
    """Why the desired revision cannot be fetched, rendered or written; what is applied stays enforced."""
    waiting: Problem | None = None
    """What it waits for (its reason and message)."""
    refused: str = ""
    in_use: Mapping[ObjectId, str] = field(default_factory=dict)
    """What left Git and stays as long as something uses it, with words for each."""
    complete: bool = False
    """Whether everything of `desired` is written and pruned."""
    ownership: str = ""
    states: tuple[ObjectState, ...] = ()
    inventory: tuple[tuple[str, ObjectId], ...] = ()
    leaving: tuple[tuple[str, ObjectId], ...] = ()
    """What of the inventory left Git and was in use when somebody looked last."""
    wants: tuple[tuple[str, ObjectId], ...] | None = ()
    """What it waits for and does not own; None: as before, as nobody knows."""
    endings: Mapping[ObjectId, Ending] | None = None
    """How far objects are that end by themselves; None: as before, as nobody knows."""
    corrections: tuple[Correction, ...] = ()
    changed: int = 0
    started: str = ""
    trigger: str = ""
    timeout: float = 300.0
    waited: float = 0.0
    """Seconds since what the previous status says was applied, by a clock that is never set."""
    suspended: bool = False
