"""Gathers what a run needs to know before it acts (shell)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from setpoint.api.formats import short
from setpoint.api.reasons import Problem, Reason
from setpoint.objects.bodies import Body, source_key
from setpoint.objects.identity import ObjectId, SyncKey
from setpoint.objects.observed import Observed
from setpoint.plan.desired import Desired, Ref
from setpoint.plan.drift import changed_since_applied
from setpoint.plan.endings.course import Facts, courses
from setpoint.plan.endings.ending import Ending
from setpoint.plan.goal import Commit, Situation
from setpoint.sources.artifact import Artifact
from setpoint.sources.commits import Commits
from setpoint.sources.demands import Demand
from setpoint.status.conditions import condition_of
from setpoint.store.dependencies import waits_for
from setpoint.store.index import Store
from setpoint.store.wants import never_written
from setpoint.syncs.builder import NotYet, TargetBuilder
from setpoint.syncs.dispatcher import Dispatcher
from setpoint.syncs.memory import Memory
from setpoint.syncs.run import Context, Evaluation, PruneResult, Reached
from setpoint.syncs.steps.observer import Observer
from setpoint.syncs.steps.pruner import Pruner
from setpoint.syncs.steps.wanting import Wanting
from setpoint.syncs.target import Target
from setpoint.watch.protocol import LiveObjects, unsure


@dataclass(frozen=True, slots=True)
class Unfetched:
    """Why manifests are not at hand, and what has to be fetched for them."""

    why: Problem
    demand: Demand | None


class Gatherer:
    """Gathers what is live, what is new, and what others want, for one Sync after another."""

    def __init__(
        self,
        observer: Observer,
        informers: LiveObjects,
        store: Store,
        wanting: Wanting,
        sources: Commits,
        dispatcher: Dispatcher,
        builder: TargetBuilder,
        pruner: Pruner,
    ) -> None:
        self.observer, self._informers, self._store, self._wanting = observer, informers, store, wanting
        self._sources, self._dispatcher, self._builder, self._pruner = sources, dispatcher, builder, pruner

    def look(self, oid: ObjectId) -> Observed | None:
        """Return what is known of an object."""
        return self._informers.get(oid)

    def begin(self, ctx: Context, evaluation: Evaluation) -> Reached:
        """Return how far a run is before its first step."""
        lent = self._dispatcher.lent(ctx.key)
        still = {o: v for o, v in ctx.inventory.items() if o in lent} if lent else {}
        return Reached(ctx, problem=evaluation.problem, pruned=PruneResult(lent=still))

    async def gather(self, evaluation: Evaluation, memory: Memory, reached: Reached) -> Reached:
        """Observe what is live, claim what is wanted, and find out what is new."""
        ctx = reached.ctx
        if ctx.sync.spec.suspend or evaluation.commit is Commit.LOST:
            return reached
        last, demand = memory.built.good, None
        if last is None:
            last, demand = await self._recovered(ctx, evaluation, memory)
        reached = replace(reached, demand=demand)
        if evaluation.target is None:
            if not self._dispatcher.dropped(ctx.key):
                return replace(reached, last=last)
            handed, _ = await self._pruner.give_away(ctx, None)
            return replace(reached, last=last, pruned=handed)
        target = evaluation.target
        desired = target.ids
        # Before anything that may fail: from the end of this run on nobody waits to hear what it wants.
        await self._wanting.find(ctx, target, memory)
        reached = reached.sooner(await self.observer.watch(ctx, target))
        found = await self._wanting.find(ctx, target, memory)
        stored = found.counting - found.near
        wants = {r.id: r.api_version for r in target.refs if r.id in stored} if stored else {}
        reached = replace(reached, last=last, contested=found.contested, refused=found.refused, wants=wants)
        reached = reached.sooner(found.again)
        reached = self.ends(evaluation, memory, reached)
        lent = {o: v for o, v in reached.pruned.lent.items() if o not in desired}
        changed = target.digest != (ctx.previous.get("applied") or {}).get("digest")
        pruned = replace(reached.pruned, lent=lent)
        return replace(reached, changed=changed, pruned=pruned)

    def ends(self, evaluation: Evaluation, memory: Memory, reached: Reached) -> Reached:
        """Note how far objects are that end by themselves; what is done did not drift."""
        reached = replace(reached, endings=self.endings(evaluation, memory, reached))
        done = [o for o, e in reached.course.items() if e.gone]
        self._dispatcher.settled(reached.ctx.key, done)
        return reached

    def endings(self, evaluation: Evaluation, memory: Memory, reached: Reached) -> Mapping[ObjectId, Ending]:
        """Return how far objects are that end by themselves, as far as their kinds are watched by now."""
        last = reached.last or memory.built.good
        targets = [t for t in (evaluation.target, last) if t is not None]
        wanted: list[Ref] | None = [r for t in targets for r in t.refs] if targets else None
        if reached.complete and evaluation.target is not None:
            wanted = list(evaluation.target.refs)
        baselines, before = memory.account.baselines, {**reached.course, **reached.began}
        # What is done at a commit that cannot be used now would be run again when it can.
        unplaced = {o for t in targets for o, _ in t.unplaced}
        stays = before.keys() if evaluation.target is None else unplaced

        def written(oid: ObjectId) -> str | None:
            return base.digest if (base := baselines.get(oid)) is not None else None

        departed = self._dispatcher.departed(reached.ctx.key)
        now = int(datetime.now(UTC).timestamp())
        live = self._informers
        return courses(before, wanted, Facts(live.get, departed, written, live.knows, now), stays)

    def requested(self, memory: Memory) -> None:
        """Ask again for what others hold, because a check was requested."""
        self._wanting.forget(memory)

    def disown(self, reached: Reached) -> Reached:
        """Let go of what the identity may not write and never did: it is not claimed any more."""
        if not (refused := reached.forbidden):
            return reached
        ctx, live = reached.ctx, self._informers
        gone = never_written(
            ctx.inventory, refused, reached.provisional, live.get, partial(unsure, live), ctx.key
        )
        return replace(reached, disowned=gone)

    async def _recovered(
        self, ctx: Context, evaluation: Evaluation, memory: Memory
    ) -> tuple[Target | None, Demand | None]:
        """Return what was applied last, after a restart: rendered from that commit, or the demand for it."""
        applied = ctx.previous.get("applied")
        if not applied or evaluation.current is None:
            return None, None
        if evaluation.target is not None and evaluation.target.digest == applied["digest"]:
            return evaluation.target, None
        sha = applied["revision"].rpartition("sha1:")[2]
        scratch = Memory()
        try:
            target, _ = await self._builder.at(
                ctx.sync, scratch, evaluation.current, sha, ctx.marks, ctx.previous
            )
        except NotYet:
            where = source_key(ctx.body)
            refused = self._sources.refused(where, sha)
            return None, None if refused else Demand(where, frozenset([sha]))
        except Problem:
            return (
                None,
                None,
            )  # e.g. the path of the spec is new: what was applied under the old one is not known
        finally:
            self._builder.release(scratch, ctx.key.namespace, ends=True)
        if target.digest == applied["digest"]:
            self._builder.applied(memory, target)
        return target, None

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

        return waits_for(ctx.key, self._store.syncs, seen)

    async def compare(self, evaluation: Evaluation, memory: Memory, reached: Reached) -> Reached:
        """After a restart without a cache, while the Source fails: report what is not as it was applied.

        Raises NotYet if nothing is to be said; ApiError.
        """
        ctx, live = reached.ctx, self._informers
        trouble, applied = self._trouble(ctx), ctx.previous.get("applied") or {}
        ready = condition_of(ctx.previous, "Ready") or {}
        if trouble is None or not applied.get("ownership") or ready.get("status") != "True":
            raise NotYet
        await live.require(self.observer.kinds_had(ctx.inventory))
        reached = self.ends(evaluation, memory, reached)
        there = [o for o in ctx.inventory if not (o in reached.course and reached.course[o].gone)]
        what = changed_since_applied(there, live.get, applied["ownership"], ctx.key.namespace)
        if not what or any(live.unwatched(oid) for oid in ctx.inventory):
            raise NotYet
        return replace(reached, waiting=_unfetched(what, applied["revision"], trouble))

    async def manifests(
        self, ctx: Context, current: Artifact | None, target: Target, wanted: Collection[ObjectId]
    ) -> Sequence[Desired] | Unfetched:
        """Return the manifests of a target, or why its commit, which the cache lost, cannot be fetched now."""
        if current is None:
            raise NotYet
        try:
            return (await self._builder.manifests(ctx.sync, current, target, ctx.marks)).desired
        except NotYet as lost:
            trouble, demand = self._trouble(ctx), lost.demand
            if trouble is None:
                raise
        what = f"{min(wanted).label(ctx.key.namespace)} is not as in Git"
        return Unfetched(_unfetched(what, target.revision, trouble), demand)

    def _trouble(self, ctx: Context) -> Problem | None:
        return self._sources.trouble(source_key(ctx.body))


def _unfetched(what: str, revision: str, trouble: Problem) -> Problem:
    text = f"{what}; {short(revision)} is not in the cache and must be fetched again first: {trouble.message}"
    return Problem(Reason.SourceNotReady, text)
