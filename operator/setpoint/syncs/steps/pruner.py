"""Prunes what left Git: deletes it, refuses to, or waits (shell around `plan.prune`)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType

from setpoint.api.reasons import Problem, Reason
from setpoint.apply.deleter import Deleter, DeleteResult
from setpoint.kube.absence import asked_anew, kind_served
from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError, classify
from setpoint.kube.event_recorder import Recorder
from setpoint.objects.bodies import source_key, version_of
from setpoint.objects.identity import ObjectId, SyncKey
from setpoint.objects.observed import Observed, observe
from setpoint.plan.nested import Nested, is_sync, key_in, nested_of
from setpoint.plan.prune import (
    UNKNOWN_USERS,
    Prune,
    PrunePolicy,
    Users,
    handed_over,
    in_question,
    prune,
    users_in_git,
    without_used,
)
from setpoint.settings import Settings
from setpoint.sources.artifact import Artifact
from setpoint.sources.commits import Commits
from setpoint.status.conditions import condition_of
from setpoint.status.outcome import ObjectState, SyncState
from setpoint.store.claims import Claims
from setpoint.store.index import Store
from setpoint.syncs.dispatcher import Blocker, Dispatcher
from setpoint.syncs.run import Context, Evaluation, PruneResult
from setpoint.syncs.steps.lending import Lending
from setpoint.syncs.target import Target
from setpoint.watch.follower import REFUSED_SECONDS
from setpoint.watch.protocol import LiveObjects, Pods

log = logging.getLogger(__name__)

MOVED_AGAIN = 1.0
"""Seconds until a nested Sync is looked at again that was not as it had been decided about."""

ASK_AGAIN = REFUSED_SECONDS + 1.0
"""Seconds until lists are tried again that were refused: until then that may have passed, and from then on it counts."""


class Pruner:
    """Prunes for one Sync after another."""

    def __init__(
        self,
        settings: Settings,
        cluster: Cluster,
        informers: LiveObjects,
        store: Store,
        claims: Claims,
        sources: Commits,
        recorder: Recorder,
        dispatcher: Dispatcher,
    ) -> None:
        self._cluster, self._informers, self._store = cluster, informers, store
        self._claims, self._sources, self._recorder, self._dispatcher = claims, sources, recorder, dispatcher
        self._people = frozenset(settings.people_managers)
        self._lending = Lending(settings, cluster, claims, store, recorder, dispatcher)

    def begin(self, ctx: Context, target: Target, lent: Mapping[ObjectId, str]) -> PruneResult:
        """Return what holds while nothing is known of the objects that left Git: all of them stay, as `lent` as before."""
        inventory, desired = ctx.inventory, frozenset(r.id for r in target.refs)
        awaited = self._claims.awaited(ctx.key, inventory)
        states = tuple(_wanted(o, inventory[o], w) for o, w in awaited.items() if o in desired)
        kept = {o: v for o, v in inventory.items() if o not in desired}
        return PruneResult(kept=kept, lent=lent if kept else {}, states=states)

    async def prune(
        self,
        ctx: Context,
        evaluation: Evaluation,
        begun: PruneResult,
        deleter: Deleter,
        pods: Pods,
    ) -> PruneResult:
        """Delete what left Git, as far as it may go now; `begun` names it, `pods` who uses it. Raises ApiError."""
        leftover = begun.kept
        if not leftover:
            self._drop(ctx, ())
            return begun
        live = await self._live(ctx, leftover)
        blocker = self.barrier(ctx, evaluation.current)
        words = self.words(ctx, blocker) if blocker else ""
        late = self._unseen(evaluation, leftover)
        if late or (blocker and not blocker.doubted):
            handed = self._hand_over(ctx, leftover, live)
            kept = {o: v for o, v in leftover.items() if o not in handed.released}
            waiting = Problem(Reason.PruneWaiting, words or late)
            again = MOVED_AGAIN if late else blocker.again if blocker else None
            return replace(handed, kept=kept, states=begun.states, waiting=waiting, again=again)
        doubted = await self._lending.doubted(ctx, blocker, leftover)
        result = await self._go(ctx, evaluation, begun, deleter, live, doubted, pods)
        if doubted.keys() & result.lent.keys():
            waiting = result.waiting or Problem(Reason.PruneWaiting, words)
            return replace(result, waiting=waiting)
        return result

    async def _go(
        self,
        ctx: Context,
        evaluation: Evaluation,
        begun: PruneResult,
        deleter: Deleter,
        live: Mapping[ObjectId, Observed],
        doubted: Mapping[ObjectId, SyncKey],
        pods: Pods,
    ) -> PruneResult:
        """Decide what goes, and delete it; what is `doubted` counts as wanted."""
        leftover, inventory = begun.kept, ctx.inventory
        first, _, _ = self._decide(ctx, evaluation, leftover, live, doubted)
        users = await self._users(ctx, in_question(first), pods)
        # Once more, as others may want something by now.
        decision, stay, nested = self._decide(ctx, evaluation, leftover, live, doubted)
        decision = without_used(decision, in_question(first), users, ctx.key.namespace)
        lent = self._lend(ctx, decision)
        self._lending.tell(ctx, decision.delete)
        self._drop(ctx, leftover.keys() - stay - decision.lend - decision.release.keys())
        going = [*decision.delete, *(o for o, s in live.items() if s.deleting)]
        removed = await deleter.remove(going, nested)
        gone = self._let_go(ctx, {**decision.release, **removed.gone})
        result = _result(ctx, begun, live, decision, removed, lent)
        moved = removed.moved or any(n.objects is None for n in nested.values())
        moved = moved or UNKNOWN_USERS in decision.in_use.values()
        kept = {**result.kept, **{o: inventory[o] for o in stay if o in inventory}}
        pauses = (
            ASK_AGAIN if users.unknown & decision.in_use.keys() else None,
            self._lending.again(ctx) if lent else None,
        )
        again = MOVED_AGAIN if moved else min((p for p in pauses if p is not None), default=None)
        return replace(result, kept=kept, gone=gone, again=again)

    def _decide(
        self,
        ctx: Context,
        evaluation: Evaluation,
        leftover: Mapping[ObjectId, str],
        live: Mapping[ObjectId, Observed],
        doubted: Mapping[ObjectId, SyncKey],
    ) -> tuple[Prune, frozenset[ObjectId], Mapping[ObjectId, Nested]]:
        """Decide what goes, were nothing in use; returns what stays as it is yielded, and what stands behind Syncs, too."""
        wanted = self._claims.wanted_of(ctx.key, leftover)
        patient = self._lending.kept(ctx, leftover)
        # What is yielded and nobody wants any more is as much in Git as before.
        stay = evaluation.yielded - wanted.keys()
        nested = self.nested(leftover)
        desired = frozenset(r.id for r in evaluation.target.refs) if evaluation.target else frozenset()
        policy = PrunePolicy(ctx.sync.spec.prune, ctx.sync.spec.prune_limit)
        inventory = frozenset(ctx.inventory)

        def decide(others: Mapping[ObjectId, SyncKey]) -> Prune:
            by = {**doubted, **others}
            return prune(inventory, desired | stay, live, ctx.key, by, policy, nested, ctx.leaving.keys())

        decision = decide(patient)
        if patient.keys() != wanted.keys():
            # What was kept long enough, and would not go, may as well be taken over.
            decision = decide({o: by for o, by in wanted.items() if o not in decision.delete})
        return decision, stay, nested

    async def _users(self, ctx: Context, objects: frozenset[ObjectId], pods: Pods) -> Users:
        """Return who uses objects that are to go. Where no such object goes, nobody is asked."""
        if not objects:
            return Users()
        workloads = [seen for o in ctx.inventory if (seen := self._informers.get(o)) and seen.rollout]
        own = users_in_git(objects, workloads)
        return await pods.users(ctx.key, {o: own.get(o) for o in objects})

    async def hand_over(self, ctx: Context, target: Target, *, anew: bool = True) -> PruneResult:
        """Hand over what left Git and another Sync has or waits for, although this one is not complete yet.

        Each of two Syncs may have what the other waits for; if both kept it until they are complete, neither would be.
        `anew`: whether anything may be lent that is not yet; a broken commit lends nothing. Raises ApiError.
        """
        desired = target.ids
        leftover = {o: v for o, v in ctx.inventory.items() if o not in desired}
        self._drop(ctx, [o for o in leftover if is_sync(o) and self._dispatcher.dropped(key_in(o))])
        if not leftover:
            return PruneResult()
        return self._hand_over(ctx, leftover, await self._live(ctx, leftover), anew=anew)

    def without_yielded(self, ctx: Context, evaluation: Evaluation) -> Evaluation:
        """Return what a run aims at; the target of a Sync that a commit dropped lacks what others want.

        So it hands over what a Sync took its place for, and ends up empty if that is all it has.
        """
        target = evaluation.target
        if target is None or not self._dispatcher.dropped(ctx.key):
            return evaluation
        every = ctx.inventory.keys() | target.ids
        yielded = frozenset(self._claims.wanted_of(ctx.key, every))
        refs = tuple(r for r in target.refs if r.id not in yielded)
        unplaced = tuple(u for u in target.unplaced if u[0] not in yielded)
        return replace(evaluation, target=replace(target, refs=refs, unplaced=unplaced), yielded=yielded)

    def _drop(self, ctx: Context, left: Iterable[ObjectId]) -> None:
        """Record which nested Syncs a commit dropped, including those of a dropped Sync."""
        every = ctx.inventory if self._dispatcher.dropped(ctx.key) else left
        mine = {key_in(o) for o in every if is_sync(o) and self._is_own(ctx, o)}
        self._dispatcher.drop(ctx.key, mine - {ctx.key})

    def _is_own(self, ctx: Context, oid: ObjectId) -> bool:
        """Return whether nothing says that an object of the inventory is another's."""
        seen = self._informers.get(oid)
        return oid not in ctx.provisional and (seen is None or seen.owner == ctx.key)

    def _unseen(self, evaluation: Evaluation, leftover: Iterable[ObjectId]) -> str:
        """Return which nested Sync of this commit was not evaluated yet as it is written; empty if none or no matter.

        It may want what a nested Sync has that left Git.
        """
        if evaluation.target is None or not any(is_sync(o) for o in leftover):
            return ""
        for ref in evaluation.target.refs:
            if is_sync(ref.id) and not self._is_evaluated(ref.id):
                key = key_in(ref.id)
                return f"before anything is deleted, Sync {key} must have been evaluated with its spec from this commit"
        return ""

    def _is_evaluated(self, oid: ObjectId) -> bool:
        body, seen = self._store.syncs.get(key_in(oid)), self._informers.get(oid)
        if body is None or (seen is not None and version_of(body) < seen.resource_version):
            return False
        return self._dispatcher.rests(body) or self._dispatcher.evaluated_at(
            key_in(oid), body["metadata"].get("generation", 0)
        )

    async def give_away(
        self, ctx: Context, blocker: Blocker | None, *, ends: bool = False
    ) -> tuple[PruneResult, Mapping[ObjectId, str]]:
        """Leave what others want to them when a Sync ends; if that has begun (`ends`), they have a while for it.

        Returns the result, and what they have not written yet, with words for it. Raises ApiError.
        """
        if self._dispatcher.dropped(ctx.key):
            self._drop(ctx, ())
        doubted = await self._lending.doubted(ctx, blocker, ctx.inventory)
        patient = self._lending.kept(ctx, ctx.inventory) if ends else None
        wanted = {
            **doubted,
            **(self._claims.wanted_of(ctx.key, ctx.inventory) if patient is None else patient),
        }
        live = await self._live(ctx, wanted)
        mine = {o: ctx.inventory[o] for o in wanted}
        handed = self._hand_over(ctx, mine, live, doubted=doubted)
        if patient is not None:
            self._lending.tell(ctx, ctx.inventory.keys() - wanted.keys())
        wanted = self._claims.wanted_of(ctx.key, handed.lent)
        waits = self.words(ctx, blocker) if blocker else ""
        words = {o: f"waits until Sync {by} has taken it over" for o, by in wanted.items()}
        return handed, {o: words.get(o, f"waits: {waits}") for o in handed.lent}

    def _hand_over(
        self,
        ctx: Context,
        leftover: Mapping[ObjectId, str],
        live: Mapping[ObjectId, Observed],
        *,
        anew: bool = True,
        doubted: Mapping[ObjectId, SyncKey] = MappingProxyType({}),
    ) -> PruneResult:
        mine = leftover.keys() if anew else leftover.keys() & self._claims.lent(ctx.key)
        wanted = {**doubted, **self._claims.wanted_of(ctx.key, mine)}
        decision = handed_over(leftover, live, ctx.key, wanted)
        lent = self._lend(ctx, decision)
        gone = self._let_go(ctx, decision.release)
        return PruneResult(released=decision.release, lent=lent, gone=gone)

    def _lend(self, ctx: Context, decision: Prune) -> Mapping[ObjectId, str]:
        """Leave to others what they want, and nothing else: from the decision to here nothing is awaited."""
        lent = {o: ctx.inventory[o] for o in decision.lend}
        self._dispatcher.record(ctx.key, ctx.inventory.keys() - ctx.provisional, lent)
        return lent

    def _let_go(self, ctx: Context, gone: Mapping[ObjectId, str]) -> frozenset[ObjectId]:
        """Note what leaves the inventory. Of what nobody knew whether it may be written, nobody is told."""
        for oid, why in gone.items():
            log.info(
                "removing an object from the inventory",
                extra={"key": str(ctx.key), "object": oid.label(), "why": why},
            )
            if why.startswith("is handed over") and oid not in ctx.provisional:
                text = f"{oid.label(ctx.key.namespace)} {why}"
                self._recorder.record(ctx.body, "Normal", str(Reason.HandedOver), text)
        return frozenset(gone)

    def nested(self, objects: Iterable[ObjectId]) -> Mapping[ObjectId, Nested]:
        """Return what stands behind those of some objects that are Syncs."""
        return nested_of(objects, self._store.syncs, self._claims.wanted_of)

    def barrier(self, ctx: Context, current: Artifact | None) -> Blocker | None:
        """Return the Sync that must be evaluated before anything is deleted, as it may want it; None if all were."""
        sha, now = current.sha if current else None, asyncio.get_running_loop().time()
        return self._dispatcher.barrier(ctx.key, source_key(ctx.body), sha, now)

    def words(self, ctx: Context, blocker: Blocker) -> str:
        """Return what is said while a deletion waits; the Sync that it waits for is told, too, by an Event.

        Between namespaces neither is told of the other more than that there is one: the log names both.
        """
        body, words = self._store.syncs.get(blocker.key), blocker.words(ctx.key.namespace)
        if not blocker.unseen or body is None:
            return words
        source, strange = source_key(body), blocker.key.namespace != ctx.key.namespace
        trouble = self._sources.trouble(source)
        why = trouble.message if trouble else f"the commit of Source {source} is being fetched"
        text = words if strange else f"{words}: {why}"
        if text not in (condition_of(ctx.previous, "Ready") or {}).get("message", ""):
            who = "A Sync of another namespace" if strange else f"Sync {ctx.key}"
            told = f"{who} deletes nothing that this Sync may want before it is evaluated: {why}"
            self._recorder.record(body, "Normal", str(Reason.PruneWaiting), told)
            names = {"key": str(ctx.key), "other": str(blocker.key), "why": why}
            log.info("a deletion waits until another Sync was evaluated", extra=names)
        return text

    async def _live(self, ctx: Context, leftover: Iterable[ObjectId]) -> dict[ObjectId, Observed]:
        """Return what still exists of the objects that left Git, read again where the watch does not show them."""
        objects = sorted(leftover)
        await asked_anew(self._cluster, objects)
        found = {oid: await self._one(ctx, oid) for oid in objects}
        return {oid: seen for oid, seen in found.items() if seen is not None}

    async def _one(self, ctx: Context, oid: ObjectId) -> Observed | None:
        seen = self._informers.get(oid)
        if seen is not None or (kind := kind_served(self._cluster, oid)) is None:
            return seen
        try:
            obj = await self._cluster.get(kind, oid.namespace, oid.name, user=ctx.user)
        except ApiError as error:
            # The watch shows every object with our marks.
            if classify(error) is Reason.Forbidden and not self._informers.unwatched(oid):
                return None
            raise
        return observe(obj, oid, self._people) if obj is not None else None


def _result(
    ctx: Context,
    begun: PruneResult,
    live: Mapping[ObjectId, Observed],
    decision: Prune,
    removed: DeleteResult,
    lent: Mapping[ObjectId, str],
) -> PruneResult:
    """Return the result of a decision and of the deletions that followed."""
    inventory = ctx.inventory

    def say(oid: ObjectId, sync: SyncState, reason: Reason, message: str) -> ObjectState:
        verdict = live[oid].verdict if oid in live else None
        return ObjectState(oid, inventory[oid], sync, reason, message, verdict=verdict)

    stays = (*decision.refuse, *decision.lend, *decision.in_use, *removed.left)
    waiting = None
    if removed.pending and not removed.failed:
        oid, why = next(iter(removed.pending.items()))
        waiting = Problem(Reason.PruneWaiting, f"{oid.label(ctx.key.namespace)} {why}")
    return PruneResult(
        kept={o: inventory[o] for o in stays if o in inventory},
        in_use=decision.in_use,
        lent=lent,
        deleted=removed.deleted,
        states=(
            *begun.states,
            *(say(o, SyncState.REFUSED, Reason.Refused, m) for o, m in decision.refuse.items()),
            *(say(o, SyncState.WAITING, Reason.PruneWaiting, m) for o, m in removed.pending.items()),
            # It is in nobody's way, and Git's objects are counted without it.
            *(
                replace(say(o, SyncState.WAITING, Reason.PruneWaiting, m), counted=False)
                for o, m in decision.in_use.items()
            ),
            *(say(o, SyncState.FAILED, p.reason, p.message) for o, p in removed.failed.items()),
        ),
        refused=decision.message,
        waiting=waiting,
        retry=bool(removed.failed),
    )


def _wanted(oid: ObjectId, version: str, by: object) -> ObjectState:
    text = f"Sync {by} has it in Git too"
    return ObjectState(oid, version, SyncState.CONTESTED, Reason.Contested, text, counted=False)
