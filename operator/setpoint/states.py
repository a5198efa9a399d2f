"""What is said of each object of a Sync, from one run and what the watch knows (pure)."""

from __future__ import annotations

from setpoint.change import Action
from setpoint.choosing import Look
from setpoint.health import Verdict
from setpoint.memory import Ref
from setpoint.outcome import ObjectState, SyncState
from setpoint.reasons import Reason
from setpoint.run import Run


def states_of(run: Run, look: Look) -> list[ObjectState]:
    """Give the state of each object: those of the target, else of what is enforced, else of the inventory."""
    target = run.target or run.memory.good
    if target is None:
        return [
            ObjectState(o, v, verdict=seen.verdict if (seen := look(o)) else None)
            for o, v in run.inventory.items()
        ]
    states = [_state(run, ref, look) for ref in target.refs]
    placed = {s.id for s in states}
    states += [
        ObjectState(oid, "", SyncState.FAILED, p.reason, p.message, counted=False)
        for oid, p in run.applied.failed.items()
        if oid not in placed
    ]
    return states


def _state(run: Run, ref: Ref, look: Look) -> ObjectState:
    seen = look(ref.id)
    verdict = seen.verdict if seen else None
    return _troubled(run, ref, verdict) or _settled(run, ref, verdict, there=seen is not None)


def _troubled(run: Run, ref: Ref, verdict: Verdict | None) -> ObjectState | None:
    """Give the state of an object that was not written, or drifts and is left so."""

    def say(sync: SyncState, reason: Reason, message: str) -> ObjectState:
        return ObjectState(ref.id, ref.api_version, sync, reason, message, None, verdict)

    memory = run.memory
    if (owner := run.contested.get(ref.id)) is not None:
        return say(SyncState.CONTESTED, Reason.Contested, f"{ref.id.label()} belongs to Sync {owner}")
    if problem := run.applied.failed.get(ref.id):
        contested = problem.reason is Reason.Contested
        return say(SyncState.CONTESTED if contested else SyncState.FAILED, problem.reason, problem.message)
    if ref.id in run.applied.deferred:
        return say(SyncState.WAITING, Reason.Waiting, run.applied.deferred[ref.id])
    if ref.id in memory.fights:
        return say(SyncState.OUT_OF_SYNC, Reason.Fight, memory.fights[ref.id])
    if ref.id in memory.reported:
        _, change, patch = memory.reported[ref.id]
        sync = SyncState.MISSING if change.action is Action.CREATE else SyncState.OUT_OF_SYNC
        return ObjectState(ref.id, ref.api_version, sync, change.reason, change.message, patch, verdict)
    return None


def _settled(run: Run, ref: Ref, verdict: Verdict | None, *, there: bool) -> ObjectState:
    base = run.memory.baselines.get(ref.id)
    if not there:
        return ObjectState(
            ref.id, ref.api_version, SyncState.MISSING, Reason.Missing, "is not in the cluster", None, verdict
        )
    written = base is not None and base.digest == ref.digest
    if written or run.target is None:
        return ObjectState(ref.id, ref.api_version, verdict=verdict)
    return ObjectState(
        ref.id, ref.api_version, SyncState.WAITING, Reason.Waiting, "is not written yet", None, verdict
    )
