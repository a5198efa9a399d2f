"""The values of one run of a Sync: its start, the result of each step, and the outcome (pure).

A step takes values and returns a new one. No step changes what another step made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from setpoint.api.reasons import Problem, Reason
from setpoint.api.resources import Sync
from setpoint.apply.result import ApplyResult
from setpoint.objects.identity import ObjectId, SyncKey
from setpoint.objects.inventory import ungrouped
from setpoint.plan.desired import Desired, OwnershipMarks, Ref
from setpoint.plan.endings.ending import Ending
from setpoint.plan.endings.ending import ungrouped as endings_in
from setpoint.plan.goal import Commit
from setpoint.sources.artifact import Artifact
from setpoint.sources.demands import Demand
from setpoint.status.outcome import Correction, ObjectState
from setpoint.syncs.target import Target


@dataclass(frozen=True, slots=True)
class Context:
    """The start of a run: the Sync as stored, and the identity that it acts as."""

    key: SyncKey
    body: Mapping[str, Any]
    sync: Sync
    marks: OwnershipMarks
    user: str
    previous: Mapping[str, Any]
    """The status as of the run before: as stored, unless it is held back."""
    inventory: Mapping[ObjectId, str]
    """The inventory of that status: identity -> apiVersion."""
    leaving: Mapping[ObjectId, str] = field(default_factory=dict)
    """What of the inventory left Git, and stays only as long as something uses it."""
    endings: Mapping[ObjectId, Ending] = field(default_factory=dict)
    """How far objects are that end by themselves, as of that status."""
    provisional: frozenset[ObjectId] = frozenset()
    """What of the inventory could not be tried yet when it was claimed: nobody knows whether the identity may write it."""
    answers: str | None = None
    """The request for a check that it answers: the Source was asked before this run took the Source's commit."""
    asks: str | None = None
    """The request for a check that is still to be done."""
    began: float = 0.0
    """When it began, in seconds of the event loop's clock."""

    @classmethod
    def of(
        cls,
        key: SyncKey,
        body: Mapping[str, Any],
        sync: Sync,
        marks: OwnershipMarks,
        user: str,
        *,
        held: Mapping[str, Any] | None = None,
        began: float = 0.0,
    ) -> Context:
        """Return the start of a run; `held` is a status that is held back."""
        previous = held if held is not None else body.get("status") or {}
        inventory, leaving = (ungrouped(previous.get(k) or []) for k in ("inventory", "leaving"))
        endings = endings_in(previous.get("endings") or ())
        untried = provisional(previous)
        return cls(key, body, sync, marks, user, previous, inventory, leaving, endings, untried, began=began)

    @property
    def generation(self) -> int:
        """The generation of the spec that this run works with."""
        return int(self.body["metadata"].get("generation", 0))

    @property
    def stored(self) -> Mapping[str, Any]:
        """The status as stored."""
        return self.body.get("status") or {}

    def written(self, body: Mapping[str, Any]) -> Context:
        """Return the context after a write to the Sync, of which `body` is the answer."""
        previous = body.get("status") or {}
        inventory, endings = (
            ungrouped(previous.get("inventory") or []),
            endings_in(previous.get("endings") or ()),
        )
        return replace(
            self,
            body=body,
            previous=previous,
            inventory=inventory,
            endings=endings,
            provisional=provisional(previous),
        )


def provisional(state: Mapping[str, Any]) -> frozenset[ObjectId]:
    """Return what a status lists among what a Sync owns and among what it wants: it is claimed once it was tried."""
    wanted = ungrouped(state.get("wants") or [])
    return (
        frozenset(wanted.keys() & ungrouped(state.get("inventory") or []).keys()) if wanted else frozenset()
    )


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What the commit asks for: the target, or its problem; `manifests` if they are in memory."""

    commit: Commit = Commit.KNOWN
    current: Artifact | None = None
    target: Target | None = None
    problem: Problem | None = None
    manifests: tuple[Desired, ...] | None = None
    yielded: frozenset[ObjectId] = frozenset()
    """What others want of a Sync that a commit of its parent dropped, and the target so lacks."""
    demand: Demand | None = None
    """What of it the Source has to fetch."""

    @property
    def found(self) -> Target:
        """The target; only for steps that follow from there being one."""
        if self.target is None:
            raise ValueError("a step that needs a target was taken without one")
        return self.target


@dataclass(frozen=True, slots=True)
class PruneResult:
    """The result for objects that left Git, each with its apiVersion.

    `kept` stay in the inventory, and those of them that are `in_use` only until they are not, with words for each
    (None: nobody looked); `released` are gone or another's; `lent` are others' to take, and stay in the
    inventory until they are written.
    """

    kept: Mapping[ObjectId, str] = field(default_factory=dict)
    in_use: Mapping[ObjectId, str] | None = None
    released: Mapping[ObjectId, str] = field(default_factory=dict)
    lent: Mapping[ObjectId, str] = field(default_factory=dict)
    deleted: tuple[ObjectId, ...] = ()
    gone: frozenset[ObjectId] = frozenset()
    """What is the Sync's no more, so that nothing needs to be remembered of it."""
    states: tuple[ObjectState, ...] = ()
    refused: str = ""
    """Why nothing or not all is deleted, and how to go on."""
    waiting: Problem | None = None
    retry: bool = False
    again: float | None = None
    """After how many seconds another run is wanted."""


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a run came; each step returns a new one."""

    ctx: Context
    """As of the last write to the Sync."""
    last: Target | None = None
    """What was applied last, where it is known."""
    changed: bool = True
    """Whether the target differs from what was applied last."""
    contested: Mapping[ObjectId, SyncKey] = field(default_factory=dict)
    """What another Sync owns, and the identity may write."""
    refused: Mapping[ObjectId, Problem] = field(default_factory=dict)
    """What another Sync holds, and the identity may not write, or nobody says and that one is of another namespace."""
    tried: frozenset[ObjectId] = frozenset()
    """What passed a dry run in this run."""
    wants: Mapping[ObjectId, str] = field(default_factory=dict)
    """What of the target it waits for, or is about to take from another Sync, each with its apiVersion."""
    endings: Mapping[ObjectId, Ending] | None = None
    """How far objects are that end by themselves; None until it is known which objects there are."""
    begun: Mapping[ObjectId, Ending] = field(default_factory=dict)
    """What was about to be written in this run, and ends by itself."""
    todo: tuple[Ref, ...] = ()
    """What is looked at in this run."""
    applied: ApplyResult = field(default_factory=ApplyResult)
    pruned: PruneResult = field(default_factory=PruneResult)
    corrections: tuple[Correction, ...] = ()
    complete: bool = False
    """Whether all of the target is written."""
    problem: Problem | None = None
    waiting: Problem | None = None
    retry: bool = False
    again: float | None = None
    """After how many seconds another run is wanted."""
    demand: Demand | None = None
    """What was applied, and has to be fetched again."""
    stopped: bool = False
    """Whether a step failed, so that no other follows."""
    disowned: frozenset[ObjectId] = frozenset()
    """What leaves the inventory, as the identity may not write it and never did."""

    def sooner(self, delay: float | None) -> Reached:
        """Return the same with another run after at most `delay` seconds (None: for none)."""
        if delay is None or (self.again is not None and self.again <= delay):
            return self
        return replace(self, again=delay)

    def met(self, problem: Problem, *, retry: bool = False) -> Reached:
        """Return the same, ended by a problem; of several the first is reported."""
        return replace(self, problem=self.problem or problem, retry=self.retry or retry, stopped=True)

    @property
    def course(self) -> Mapping[ObjectId, Ending]:
        """How far objects are that end by themselves, as far as it is known."""
        return self.ctx.endings if self.endings is None else self.endings

    @property
    def began(self) -> Mapping[ObjectId, Ending]:
        """What was written in this run and ends by itself: it may be gone before the run ends."""
        wrote = {c.id for c in self.applied.written} if self.begun else ()
        return {o: e for o, e in self.begun.items() if o in wrote}

    @property
    def forbidden(self) -> frozenset[ObjectId]:
        """What the identity may not write, as far as this run knows."""
        found = (*self.applied.failed.items(), *self.refused.items())
        return frozenset(o for o, p in found if p.reason is Reason.Forbidden)

    @property
    def provisional(self) -> frozenset[ObjectId]:
        """What of the inventory nobody knows yet whether the identity may write it."""
        if self.complete or not self.ctx.provisional:
            return frozenset()
        done = {*self.tried, *self.applied.unchanged, *(c.id for c in self.applied.written)}
        return self.ctx.provisional - done

    @property
    def awaits(self) -> Problem | None:
        """What it waits for (its reason and message)."""
        return self.waiting or self.pruned.waiting

    def settled(self, evaluation: Evaluation) -> bool:
        """Return whether a commit that touches nothing of it is no news: all is done, or it fails for reasons of its own."""
        pruned = self.pruned
        # What is in use goes when its user does, whatever others commit.
        unclear = (
            pruned.kept.keys() - (pruned.in_use or {}).keys()
            or self.contested
            or pruned.lent
            or pruned.released
        )
        done = self.complete and self.problem is None and not (self.retry or pruned.retry)
        return (done or self._fails(evaluation)) and not (self.awaits or pruned.refused or unclear)

    def _fails(self, evaluation: Evaluation) -> bool:
        """Return whether it cannot be rendered, or objects of it are rejected."""
        if evaluation.target is None:
            return evaluation.current is not None and self.problem is not None
        return self.problem is None and bool(self.applied.failed)

    @property
    def retries(self) -> bool:
        """Whether it is tried again by itself, after a pause that grows."""
        return self.retry or self.pruned.retry or (self.problem is not None and self.problem.transient)
