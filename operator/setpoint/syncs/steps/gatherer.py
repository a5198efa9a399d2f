"""Gathers what a run needs to know before it acts (shell)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from setpoint.api.formats import short
from setpoint.api.reasons import Problem, Reason
from setpoint.objects.bodies import Body, source_key
from setpoint.objects.identity import ObjectId, SyncKey
from setpoint.plan.desired import Desired
from setpoint.plan.drift import changed_since_applied, restore_baselines
from setpoint.plan.goal import Commit, Situation
from setpoint.status.conditions import condition_of
from setpoint.store.dependencies import waits_for
from setpoint.syncs.builder import NotYet, TargetBuilder
from setpoint.syncs.dispatcher import Dispatcher
from setpoint.syncs.memory import Memory
from setpoint.syncs.run import Context, Evaluation, Given, PruneResult, Reached
from setpoint.syncs.services import Parts
from setpoint.syncs.steps.observer import Observer
from setpoint.syncs.steps.pruner import Pruner
from setpoint.syncs.target import Target


class Gatherer:
    """Gathers what is live, what is new, and what others want, for one Sync after another."""

    def __init__(self, parts: Parts, dispatcher: Dispatcher, builder: TargetBuilder, pruner: Pruner) -> None:
        self._p, self._dispatcher, self._builder, self._pruner = parts, dispatcher, builder, pruner
        self.observer = Observer(parts.cluster, parts.informers)

    def begin(self, ctx: Context, evaluation: Evaluation) -> Reached:
        """Return how far a run is before its first step."""
        lent = self._p.claims.lent(ctx.key)
        still = {o: v for o, v in ctx.inventory.items() if o in lent} if lent else {}
        return Reached(ctx, problem=evaluation.problem, pruned=PruneResult(lent=still))

    async def gather(self, given: Given, reached: Reached) -> Reached:
        """Observe what is live, claim what is wanted, and find out what is new."""
        ctx, claims = reached.ctx, self._p.claims
        if ctx.sync.spec.suspend or given.evaluation.commit is Commit.LOST:
            return reached
        last = given.memory.good or await self._recovered(ctx, given)
        if given.evaluation.target is None:
            if not self._dispatcher.dropped(ctx.key):
                return replace(reached, last=last)
            handed, _ = await self._pruner.give_away(ctx, given.memory, None)
            return replace(reached, last=last, pruned=handed)
        target = given.target
        desired = {r.id for r in target.refs}
        # Before anything is awaited, which may fail: from the end of this run on nobody waits to hear what it wants.
        self.want(ctx, target, claims.contested(ctx.key, desired))
        reached = reached.sooner(await self.watch(ctx, target, given.memory))
        contested = claims.contested(ctx.key, desired)
        wants = self.want(ctx, target, contested)
        lent = {o: v for o, v in reached.pruned.lent.items() if o not in desired}
        changed = target.digest != (ctx.previous.get("applied") or {}).get("digest")
        pruned = replace(reached.pruned, lent=lent)
        return replace(reached, last=last, changed=changed, contested=contested, wants=wants, pruned=pruned)

    def want(
        self, ctx: Context, target: Target, contested: Mapping[ObjectId, SyncKey]
    ) -> Mapping[ObjectId, str]:
        """Note what a Sync waits for, and what it is about to take; returns it."""
        claims, desired = self._p.claims, [r.id for r in target.refs]
        wanted = contested.keys() | claims.offered(ctx.key, desired)
        self._dispatcher.wake(claims.want(ctx.key, wanted))
        return {r.id: r.api_version for r in target.refs if r.id in wanted} if wanted else {}

    async def watch(self, ctx: Context, target: Target, memory: Memory) -> float | None:
        """Watch all kinds of this Sync, and take over what a former process wrote."""
        again = await self.observer.watch(ctx, target)
        applied = ctx.previous.get("applied") or {}
        if not memory.baselines and applied.get("digest") == target.digest and applied.get("ownership"):
            memory.baselines = restore_baselines(target.refs, self._p.informers.get, applied["ownership"])
        return again

    async def _recovered(self, ctx: Context, given: Given) -> Target | None:
        """Return what was applied last, after a restart: rendered from that commit, which may have to be fetched."""
        applied, evaluation = ctx.previous.get("applied"), given.evaluation
        if not applied or evaluation.current is None:
            return None
        if evaluation.target is not None and evaluation.target.digest == applied["digest"]:
            return evaluation.target
        sha = applied["revision"].rpartition("sha1:")[2]
        try:
            target, _ = await self._builder.at(
                ctx.sync, Memory(), evaluation.current, sha, ctx.marks, ctx.previous
            )
        except NotYet:
            self._p.sources.want(source_key(ctx.body), ctx.key, sha)
            return None
        except Problem:
            return None  # e.g. the path of the spec is new: what was applied under the old one is not known
        if target.digest == applied["digest"]:
            given.memory.good = target
        return target

    def situation(self, evaluation: Evaluation, reached: Reached) -> Situation:
        """Return the facts that the goal of a run follows from."""
        spec = reached.ctx.sync.spec
        changed = evaluation.target is not None and reached.changed
        return Situation(
            suspended=spec.suspend,
            commit=evaluation.commit,
            changed=changed,
            dependency=self._dependency(reached.ctx, evaluation) or "" if changed else "",
            recalled=reached.last is not None,
            drift=spec.drift,
        )

    def _dependency(self, ctx: Context, evaluation: Evaluation) -> str | None:
        mine, current = source_key(ctx.body), evaluation.current

        def seen(other: SyncKey, body: Body) -> bool:
            sha = current.sha if current and source_key(body) == mine else None
            return self._dispatcher.has_seen(other, sha, body["metadata"].get("generation", 0))

        return waits_for(ctx.key, self._p.store.syncs, seen)

    async def compare(self, reached: Reached) -> Reached:
        """After a restart without a cache, while the Source fails: report what is not as it was applied.

        Raises NotYet if nothing is to be said; ApiError.
        """
        ctx, live = reached.ctx, self._p.informers
        trouble, applied = self._trouble(ctx), ctx.previous.get("applied") or {}
        ready = condition_of(ctx.previous, "Ready") or {}
        if trouble is None or not applied.get("ownership") or ready.get("status") != "True":
            raise NotYet
        await live.require(self.observer.kinds_had(ctx.inventory))
        what = changed_since_applied(ctx.inventory, live.get, applied["ownership"], ctx.key.namespace)
        if not what or any(live.unwatched(oid) for oid in ctx.inventory):
            raise NotYet
        return replace(reached, waiting=_unfetched(what, applied["revision"], trouble))

    async def manifests(
        self, ctx: Context, given: Given, target: Target, wanted: Collection[ObjectId]
    ) -> Sequence[Desired] | Problem:
        """Return the manifests of a target, or why its commit, which the cache lost, cannot be fetched now."""
        current = given.evaluation.current
        if current is None:
            raise NotYet
        try:
            return (await self._builder.manifests(ctx.sync, current, target, ctx.marks)).desired
        except NotYet:
            trouble = self._trouble(ctx)
            if trouble is None:
                raise
        what = f"{min(wanted).label(ctx.key.namespace)} is not as in Git"
        return _unfetched(what, target.revision, trouble)

    def _trouble(self, ctx: Context) -> Problem | None:
        return self._p.sources.trouble(source_key(ctx.body))


def _unfetched(what: str, revision: str, trouble: Problem) -> Problem:
    text = f"{what}; {short(revision)} is not in the cache and must be fetched again first: {trouble.message}"
    return Problem(Reason.SourceNotReady, text)
