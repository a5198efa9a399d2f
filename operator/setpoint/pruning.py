"""What left Git is deleted, refused, or waits: the last step of a run (shell around `prune`)."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace

from setpoint.fleet import Fleet
from setpoint.memory import Target
from setpoint.nested import is_sync, key_in, nested_of
from setpoint.objects import ObjectId, Observed, observe
from setpoint.outcome import ObjectState, SyncState
from setpoint.parts import Parts
from setpoint.prune import Prune, PrunePolicy, handed_over, prune
from setpoint.reasons import Problem, Reason
from setpoint.removal import Removed, Remover
from setpoint.run import Run
from setpoint.serving import asked_anew, kind_served
from setpoint.store import source_key, version_of

log = logging.getLogger(__name__)

MOVED_AGAIN = 1.0
"""Seconds until a nested Sync is looked at again that was not as it had been decided about."""


class Pruner:
    """Prunes for one Sync after another."""

    def __init__(self, parts: Parts, fleet: Fleet) -> None:
        """All parts are shared."""
        self._p, self._fleet = parts, fleet
        self._people = frozenset(parts.settings.people_managers)

    async def prune(self, run: Run, target: Target, remover: Remover) -> None:
        """Delete what is in the inventory and not in the target; `run` takes what came of it."""
        inventory, desired = run.inventory, frozenset(r.id for r in target.refs)
        awaited = self._p.claims.awaited(run.key, inventory)
        run.extra += [_wanted(o, inventory[o], w) for o, w in awaited.items() if o in desired]
        leftover = inventory.keys() - desired
        if not leftover:
            run.lent = {}
            self._drop(run, ())
            return
        run.kept = {
            o: inventory[o] for o in leftover
        }  # also if what follows fails: nothing is known of it then
        live = await self._live(run, leftover)
        if words := self.barrier(run) or self._unseen(run, target, leftover):
            run.waiting = Problem(Reason.PruneWaiting, words)
            self._hand_over(run, leftover, live)
            run.kept = {o: inventory[o] for o in leftover - run.released.keys()}
            return
        policy = PrunePolicy(run.sync.spec.prune, run.sync.spec.prune_limit)
        wanted_of = self._p.claims.wanted_of
        wanted = wanted_of(run.key, leftover)
        stay = run.yielded - wanted.keys()  # nobody wants it any more, so it is as much in Git as before
        nested = nested_of(leftover, self._p.store.syncs, wanted_of)
        decision = prune(frozenset(inventory), desired | stay, live, run.key, wanted, policy, nested)
        self._lend(run, decision)
        self._drop(run, leftover - stay - decision.lend - decision.release.keys())
        run.refused = decision.message
        going = [*decision.delete, *(o for o, s in live.items() if s.deleting)]
        removed = await remover.remove(going, nested)
        if removed.moved or any(n.objects is None for n in nested.values()):
            run.sooner(MOVED_AGAIN)
        self._note(run, live, decision, removed)
        run.kept |= {o: inventory[o] for o in stay if o in inventory}

    async def hand_over(self, run: Run, target: Target, *, anew: bool = True) -> None:
        """Let go of what left Git and another Sync has or waits for, although this one is not complete yet.

        Each of two Syncs may have what the other waits for; if both kept it until they are complete, neither would be.
        `anew`: whether anything may be lent that is not yet; a broken commit lends nothing.
        """
        leftover = run.inventory.keys() - {r.id for r in target.refs}
        self._drop(run, [o for o in leftover if is_sync(o) and self._fleet.dropped(key_in(o))])
        if leftover:
            self._hand_over(run, leftover, await self._live(run, leftover), anew=anew)

    def without_yielded(self, run: Run) -> Target | None:
        """Return the target of a run; that of a Sync which a commit dropped lacks what others want.

        So it hands over what a Sync took its place for, and ends up empty if that is all it has.
        """
        target = run.target
        if target is None or not self._fleet.dropped(run.key):
            return target
        every = run.inventory.keys() | {r.id for r in target.refs}
        run.yielded = frozenset(self._p.claims.wanted_of(run.key, every))
        return replace(target, refs=tuple(r for r in target.refs if r.id not in run.yielded))

    def _drop(self, run: Run, left: Iterable[ObjectId]) -> None:
        """Note which nested Syncs a commit dropped; those of a Sync that was dropped itself are, too."""
        every = run.inventory if self._fleet.dropped(run.key) else left
        self._fleet.drop(run.key, {key_in(o) for o in every if is_sync(o) and key_in(o) != run.key})

    def _unseen(self, run: Run, target: Target, leftover: Iterable[ObjectId]) -> str | None:
        """Say which nested Sync of this commit was not evaluated yet as it is written; None if none or no matter.

        It may want what a nested Sync has that left Git.
        """
        if not any(is_sync(o) for o in leftover):
            return None
        for ref in target.refs:
            if is_sync(ref.id) and not self._is_evaluated(ref.id):
                run.sooner(MOVED_AGAIN)
                return f"before anything is deleted, Sync {key_in(ref.id)} must have been evaluated as this commit has it"
        return None

    def _is_evaluated(self, oid: ObjectId) -> bool:
        body, seen = self._p.store.syncs.get(key_in(oid)), self._p.live.get(oid)
        if body is None or (seen is not None and version_of(body) < seen.resource_version):
            return False
        return self._fleet.rests(body) or self._fleet.evaluated_at(
            key_in(oid), body["metadata"].get("generation", 0)
        )

    async def give_away(self, run: Run) -> dict[ObjectId, str]:
        """Leave what others want to them when a Sync ends; gives what they have not written yet, with words for it."""
        if self._fleet.dropped(run.key):
            self._drop(run, ())
        wanted = self._p.claims.wanted_of(run.key, run.inventory)
        self._hand_over(run, set(wanted), await self._live(run, set(wanted)))
        wanted = self._p.claims.wanted_of(run.key, run.lent)
        return {o: f"waits until Sync {wanted[o]} has taken it over" for o in run.lent}

    def _hand_over(
        self, run: Run, leftover: set[ObjectId], live: Mapping[ObjectId, Observed], *, anew: bool = True
    ) -> None:
        mine = leftover if anew else leftover & self._p.claims.lent(run.key)
        wanted = self._p.claims.wanted_of(run.key, mine)
        decision = handed_over(leftover, live, run.key, wanted)
        self._lend(run, decision)
        run.released = dict(decision.release)
        self._let_go(run, run.released)

    def _lend(self, run: Run, decision: Prune) -> None:
        """Leave to others what they want, and nothing else: from the decision to here nothing is awaited."""
        inventory = run.inventory
        run.lent = {o: inventory[o] for o in decision.lend}
        self._fleet.record(run.key, inventory, run.lent)

    def _note(self, run: Run, live: Mapping[ObjectId, Observed], decision: Prune, removed: Removed) -> None:
        inventory = run.inventory

        def say(oid: ObjectId, sync: SyncState, reason: Reason, message: str) -> ObjectState:
            verdict = live[oid].verdict if oid in live else None
            return ObjectState(oid, inventory[oid], sync, reason, message, verdict=verdict)

        run.pruned = removed.deleted
        stays = (*decision.refuse, *decision.lend, *removed.left)
        run.kept = {o: inventory[o] for o in stays if o in inventory}
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
            log.info(
                "an object leaves the inventory",
                extra={"key": str(run.key), "object": oid.label(), "why": why},
            )
            if why.startswith("is handed over"):
                text = f"{oid.label(run.key.namespace)} {why}"
                self._p.events.record(run.body, "Normal", str(Reason.HandedOver), text)

    def barrier(self, run: Run) -> str | None:
        """Say which Sync must have seen the commit before anything is deleted, as it may want it; None if all have."""
        sha = run.current.sha if run.current else None
        other = self._fleet.barrier(run.key, source_key(run.body), sha)
        return f"before anything is deleted, Sync {other} must have seen this commit" if other else None

    async def _live(self, run: Run, leftover: set[ObjectId]) -> dict[ObjectId, Observed]:
        """Give what still exists of the objects that left Git, read again where the watch does not show them."""
        await asked_anew(self._p.cluster, leftover)
        found = {oid: await self._one(run, oid) for oid in sorted(leftover)}
        return {oid: seen for oid, seen in found.items() if seen is not None}

    async def _one(self, run: Run, oid: ObjectId) -> Observed | None:
        seen = self._p.live.get(oid)
        if seen is not None or (kind := kind_served(self._p.cluster, oid)) is None:
            return seen
        obj = await self._p.cluster.get(kind, oid.namespace, oid.name, user=run.user)
        return observe(obj, oid, self._people) if obj is not None else None


def _wanted(oid: ObjectId, version: str, by: object) -> ObjectState:
    text = f"Sync {by} has it in Git too"
    return ObjectState(oid, version, SyncState.CONTESTED, Reason.Contested, text, counted=False)
