"""What left Git is deleted, refused, or waits: the last step of a run (shell around `plan.prune`)."""

from __future__ import annotations

from collections.abc import Mapping

from setpoint import plan
from setpoint.fleet import Fleet
from setpoint.memory import Target
from setpoint.objects import ObjectId, Observed, observe
from setpoint.parts import Parts
from setpoint.reasons import Problem, Reason
from setpoint.removal import Removed, Remover
from setpoint.run import Run
from setpoint.status import ObjectState, SyncState
from setpoint.store import source_key


class Pruner:
    """Prunes for one Sync after another."""

    def __init__(self, parts: Parts, fleet: Fleet, people: frozenset[str]) -> None:
        """All parts are shared."""
        self._p, self._fleet, self._people = parts, fleet, people

    async def prune(self, run: Run, target: Target, remover: Remover) -> None:
        """Delete what is in the inventory and not in the target; `run` takes what came of it."""
        inventory = run.inventory
        desired = frozenset(r.id for r in target.refs)
        wanted = self._p.claims.wanted_of(run.key)
        run.extra += [
            _wanted(o, inventory[o], w) for o, w in wanted.items() if o in desired and o in inventory
        ]
        leftover = set(inventory) - desired
        if not leftover:
            return
        if words := self._barrier(run):
            run.waiting = Problem(Reason.PruneWaiting, words)
            run.kept = {o: inventory[o] for o in leftover}
            return
        live = await self._live(run, leftover)
        policy = plan.PrunePolicy(run.sync.spec.prune, run.sync.spec.prune_limit)
        decision = plan.prune(frozenset(inventory), desired, live, run.key, wanted, policy)
        run.refused = decision.message
        removed = await remover.remove([*decision.delete, *(o for o, s in live.items() if s.deleting)])
        self._note(run, live, decision, removed)

    def hand_over(self, run: Run, target: Target) -> None:
        """Let go of what left Git and another Sync waits for, although this one is not complete yet.

        Each of two Syncs may have what the other waits for; if both kept it until they are complete, neither would be.
        """
        desired = frozenset(r.id for r in target.refs)
        run.released = plan.handed_over(run.inventory, desired, self._p.claims.wanted_of(run.key))
        self._let_go(run, run.released)

    def _note(
        self, run: Run, live: Mapping[ObjectId, Observed], decision: plan.Prune, removed: Removed
    ) -> None:
        inventory = run.inventory

        def say(oid: ObjectId, sync: SyncState, reason: Reason, message: str) -> ObjectState:
            verdict = live[oid].verdict if oid in live else None
            return ObjectState(oid, inventory[oid], sync, reason, message, verdict=verdict)

        run.pruned = removed.deleted
        run.kept = {o: inventory[o] for o in (*decision.refuse, *removed.left) if o in inventory}
        run.extra += [
            *(say(o, SyncState.REFUSED, Reason.Refused, m) for o, m in decision.refuse.items()),
            *(say(o, SyncState.WAITING, Reason.PruneWaiting, m) for o, m in removed.pending.items()),
            *(say(o, SyncState.FAILED, p.reason, p.message) for o, p in removed.failed.items()),
        ]
        run.retry = run.retry or bool(removed.failed)
        self._let_go(run, {**decision.release, **removed.gone})
        if removed.pending and not removed.failed:
            oid, why = next(iter(removed.pending.items()))
            text = f"{oid.label(run.key.namespace)} {why}"
            run.waiting = run.waiting or Problem(Reason.PruneWaiting, text)

    def _let_go(self, run: Run, gone: Mapping[ObjectId, str]) -> None:
        for oid, why in gone.items():
            run.memory.baselines.pop(oid, None)
            if why.startswith("is handed over"):
                text = f"{oid.label(run.key.namespace)} {why}"
                self._p.events.record(run.body, "Normal", str(Reason.HandedOver), text)

    def _barrier(self, run: Run) -> str | None:
        sha = run.current.sha if run.current else None
        other = self._fleet.barrier(run.key, source_key(run.body), sha)
        return f"before anything is deleted, Sync {other} must have seen this commit" if other else None

    async def _live(self, run: Run, leftover: set[ObjectId]) -> dict[ObjectId, Observed]:
        """Give what still exists of the objects that left Git, read again where the watch does not show them."""
        found = {oid: await self._one(run, oid) for oid in sorted(leftover)}
        return {oid: seen for oid, seen in found.items() if seen is not None}

    async def _one(self, run: Run, oid: ObjectId) -> Observed | None:
        seen = self._p.live.get(oid)
        kind = self._p.cluster.kind_of_group(oid.group, oid.kind)
        if seen is not None or kind is None:
            return seen
        obj = await self._p.cluster.get(kind, oid.namespace, oid.name, user=run.user)
        return observe(obj, oid, self._people) if obj is not None else None


def _wanted(oid: ObjectId, version: str, by: object) -> ObjectState:
    text = f"Sync {by} has it in Git too"
    return ObjectState(oid, version, SyncState.CONTESTED, Reason.Contested, text, counted=False)
