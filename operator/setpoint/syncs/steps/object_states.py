"""Determines the state of each object of a Sync, from one run and the watch (pure)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from setpoint.api.reasons import Problem, Reason
from setpoint.health.verdict import Verdict
from setpoint.objects.identity import ObjectId
from setpoint.objects.observed import Observed
from setpoint.plan.change import Action
from setpoint.plan.desired import Ref
from setpoint.plan.drift import Lookup
from setpoint.plan.endings.course import over
from setpoint.status.outcome import ObjectState, SyncState
from setpoint.syncs.memory import Account, Memory
from setpoint.syncs.run import Evaluation, Reached

NOT_THERE = "is not in the cluster"


def states_of(
    evaluation: Evaluation, reached: Reached, memory: Memory, look: Lookup
) -> tuple[ObjectState, ...]:
    """Return the state of each object: those of the target, else of what is enforced, else of the inventory."""
    target, sight = evaluation.target or memory.built.good, _sight(reached, memory.account)
    if target is None:
        ended = {o: e.verdict for o, e in reached.course.items() if e.gone}
        return tuple(_held(o, v, sight(look(o)), ended.get(o)) for o, v in reached.ctx.inventory.items())
    one = _One(evaluation, reached, memory.account, over(reached.course, target.refs, look))
    states = [one.state(ref, sight(look(ref.id))) for ref in target.refs]
    placed, failed = {s.id for s in states}, reached.applied.failed
    unplaced = {oid for oid, _ in target.unplaced if oid not in placed}
    without_kind = [_beside(oid, failed.get(oid), counted=True) for oid in sorted(unplaced)]
    rest = failed.keys() - placed - unplaced
    others = [_beside(o, p, counted=False) for o, p in failed.items() if o in rest]
    return (*states, *without_kind, *others)


ANSWERED = {Reason.Foreign, Reason.Contested, Reason.Invalid, Reason.Immutable, Reason.AdmissionDenied}
"""What only those are told of an object who may write it."""


def _sight(reached: Reached, account: Account) -> Callable[[Observed | None], Observed | None]:
    """Return what makes of a live object what a Sync may be told of it: the watch sees those of others, too.

    Its own are those that name it. Others it may read, as far as this is known, if its identity could write them.
    """
    key, claimed, untried = reached.ctx.key, reached.ctx.inventory, reached.provisional
    failed, refused = reached.applied.failed, reached.refused.keys() | reached.disowned
    could = (reached.tried, reached.contested, account.baselines, account.reported)

    def readable(oid: ObjectId) -> bool:
        if oid in refused:
            return False
        told = (problem := failed.get(oid)) is not None and problem.reason in ANSWERED
        return told or (oid in claimed and oid not in untried) or any(oid in each for each in could)

    return lambda seen: seen if seen is not None and (seen.owner == key or readable(seen.id)) else None


def _held(oid: ObjectId, version: str, seen: Observed | None, ended: Verdict | None) -> ObjectState:
    """Return the state of an object of the inventory, where it is not known what it should be."""
    if seen is not None:
        return ObjectState(oid, version, verdict=seen.verdict)
    return ObjectState(oid, version, verdict=ended, gone=ended is not None)


def _beside(oid: ObjectId, problem: Problem | None, *, counted: bool) -> ObjectState:
    """Return the state of what has no reference: an object of Git whose kind is not served, or what is in the way of some."""
    if problem is None:
        return ObjectState(oid, "", SyncState.MISSING, Reason.Missing, NOT_THERE, counted=counted)
    return ObjectState(oid, "", SyncState.FAILED, problem.reason, problem.message, counted=counted)


@dataclass(frozen=True, slots=True)
class _One:
    """Determines the state of one object after another."""

    evaluation: Evaluation
    reached: Reached
    account: Account
    ended: Mapping[ObjectId, Verdict]

    def state(self, ref: Ref, seen: Observed | None) -> ObjectState:
        """Return the first problem of an object, or the state of one without problems."""
        return self._troubled(ref, seen) or self._settled(ref, seen)

    def _troubled(self, ref: Ref, seen: Observed | None) -> ObjectState | None:
        """Return the state of an object that was not written, or drifts and is left so."""
        verdict, account, applied = seen.verdict if seen else None, self.account, self.reached.applied

        def say(sync: SyncState, reason: Reason, message: str) -> ObjectState:
            return ObjectState(ref.id, ref.api_version, sync, reason, message, None, verdict)

        if (owner := self.reached.contested.get(ref.id)) is not None:
            return say(SyncState.CONTESTED, Reason.Contested, f"{ref.id.label()} belongs to Sync {owner}")
        if problem := applied.failed.get(ref.id):
            contested = problem.reason is Reason.Contested
            sync = SyncState.CONTESTED if contested else SyncState.FAILED
            return say(sync, problem.reason, problem.message)
        if ref.id in applied.deferred:
            return say(SyncState.WAITING, Reason.Waiting, applied.deferred[ref.id])
        if ref.id in account.fights:
            return say(SyncState.OUT_OF_SYNC, Reason.Fight, account.fights[ref.id])
        if ref.id in account.reported:
            _, change, patch = account.reported[ref.id]
            sync = SyncState.MISSING if change.action is Action.CREATE else SyncState.OUT_OF_SYNC
            return ObjectState(ref.id, ref.api_version, sync, change.reason, change.message, patch, verdict)
        return None

    def _settled(self, ref: Ref, seen: Observed | None) -> ObjectState:
        oid, version = ref.id, ref.api_version
        if (done := self.ended.get(oid)) is not None:
            return ObjectState(oid, version, verdict=done, gone=True)
        if seen is None:
            return ObjectState(oid, version, SyncState.MISSING, Reason.Missing, NOT_THERE)
        base = self.account.baselines.get(oid)
        if (base is not None and base.digest == ref.digest) or self.evaluation.target is None:
            return ObjectState(oid, version, verdict=seen.verdict)
        text = "is not written yet"
        return ObjectState(oid, version, SyncState.WAITING, Reason.Waiting, text, None, seen.verdict)
