"""Writes objects of a Sync: what is new, what drifted, and what was applied last where that is enforced (shell)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from setpoint.api.formats import rfc3339
from setpoint.api.reasons import Problem, Reason
from setpoint.api.sync import Drift, OnError
from setpoint.apply.applier import Applier, held_back
from setpoint.apply.claiming import Intent, Writes
from setpoint.apply.dry_run import DryRun
from setpoint.apply.result import ApplyResult
from setpoint.objects.identity import ObjectId
from setpoint.plan.desired import Desired
from setpoint.plan.drift import DriftView, drifted, meant_otherwise
from setpoint.plan.endings.course import begun, expected, over
from setpoint.runtime.metrics import Metrics
from setpoint.sources.artifact import Artifact
from setpoint.sources.demands import joined
from setpoint.syncs.builder import TargetBuilder
from setpoint.syncs.dispatcher import Dispatcher
from setpoint.syncs.memory import Memory, Occasion
from setpoint.syncs.run import Context, Evaluation, Reached
from setpoint.syncs.steps.actors import Actors
from setpoint.syncs.steps.drift_log import DriftLog
from setpoint.syncs.steps.gatherer import Gatherer, Unfetched
from setpoint.syncs.steps.reporter import Reporter
from setpoint.syncs.steps.wanting import Wanting
from setpoint.syncs.target import Target

CRD_SECONDS = 1.0
"""Within which an API server serves what is new in a CRD."""


class ObjectWriter:
    """Writes for one Sync after another."""

    def __init__(
        self,
        gatherer: Gatherer,
        builder: TargetBuilder,
        actors: Actors,
        wanting: Wanting,
        dispatcher: Dispatcher,
        reporter: Reporter,
        drift_log: DriftLog,
        metrics: Metrics,
    ) -> None:
        self._gatherer, self._builder, self._actors, self._wanting = gatherer, builder, actors, wanting
        self._dispatcher, self._reporter = dispatcher, reporter
        self._drift_log, self._metrics = drift_log, metrics

    def requested(self, memory: Memory) -> None:
        """Record that a check was requested."""
        memory.occasion = replace(memory.occasion, trigger="Requested")

    def ended(self, memory: Memory) -> None:
        """Record that everything is written and reported: what comes next is another occasion."""
        memory.occasion = Occasion("Commit")

    async def write(self, evaluation: Evaluation, memory: Memory, reached: Reached) -> Reached:
        """Write what was chosen, or report it where drift is left alone. Raises Problem, ApiError."""
        ctx, target = reached.ctx, evaluation.found
        wanted = {r.id for r in reached.todo}
        if not wanted:
            return reached
        loaded: Sequence[Desired] | Unfetched | None = evaluation.manifests
        if loaded is None:
            loaded = await self._gatherer.manifests(ctx, evaluation.current, target, wanted)
        if isinstance(loaded, Unfetched):
            return _held_up(reached, wanted, loaded)
        chosen = [d for d in loaded if d.id in wanted]
        if not chosen:
            return reached
        started = memory.occasion.started or rfc3339(datetime.now(UTC))
        memory.occasion = Occasion(self._trigger(memory.occasion, reached, target), started)
        applier = self._applier(reached, memory, target, whole=not reached.changed)
        if ctx.sync.spec.drift is Drift.REPORT and not reached.changed:
            return await self._report_only(evaluation, memory, reached, applier, chosen)
        claimed = reached

        async def claim(intent: Intent) -> None:
            nonlocal claimed
            claimed = await self._claim(claimed, target, memory, intent)

        before = self._drift_log.before(chosen)
        result = await applier.converge(chosen, loaded, claim)
        result = await self._with_places(ctx, evaluation.current, target, result, chosen)
        reached = self._drift_log.absorb(claimed, memory, result, {d.id: d for d in chosen}, before)
        self._metrics.written(len(result.written))
        if any(p.reason is Reason.KindUnknown for p in result.failed.values()):
            with contextlib.suppress(Problem):  # the next try asks again; what was written is told first
                await self._builder.discover()
        again = meant_otherwise(result.written, chosen, target.refs)
        if again:
            self._drift_log.check_again(memory, again)
            # What is new in a CRD is served a moment later; nothing tells when.
            await self._builder.discover()
            reached = reached.sooner(CRD_SECONDS)
        return await self._look_for_kinds(reached, target, result)

    def _applier(
        self, reached: Reached, memory: Memory, target: Target, *, whole: bool, enforced: bool = False
    ) -> Applier:
        """Return what brings a target to the cluster, or with `enforced` what was applied last, beside a commit that fails."""
        ctx, account = reached.ctx, memory.account
        return self._actors.applier(
            ctx,
            account,
            account.written(target.refs, whole=whole),
            abort=not enforced and reached.changed and ctx.sync.spec.on_error is OnError.ABORT,
            keep_ours=enforced,
            ended=over(reached.course, target.refs, self._gatherer.look),
            expected=expected(reached.course, target.refs),
            hidden=reached.forbidden,
        )

    async def _with_places(
        self,
        ctx: Context,
        current: Artifact | None,
        target: Target,
        result: ApplyResult,
        chosen: Sequence[Desired],
    ) -> ApplyResult:
        """Return the result with the files of the objects that something is said of."""
        if current is None:
            return result
        return await self._builder.with_places(ctx.key, ctx.sync, current, target, result, chosen)

    async def _look_for_kinds(self, reached: Reached, target: Target, result: ApplyResult) -> Reached:
        """Ask which kinds are served now, while some of this commit's are not yet."""
        if not self._builder.unresolved(target) or result.failed:
            return reached
        await self._builder.discover()
        return reached.sooner(0.3 if not self._builder.unresolved(target) else 1.0)

    async def enforce(self, evaluation: Evaluation, memory: Memory, reached: Reached) -> Reached:
        """Correct drift against what was applied last; nothing new is written and nothing is pruned.

        Raises Problem, ApiError.
        """
        ctx, last, current = reached.ctx, reached.last, evaluation.current
        if last is None or current is None:
            return reached
        reached = reached.sooner(await self._gatherer.observer.watch(ctx, last))
        if reached.endings is None:
            reached = self._gatherer.ends(evaluation, memory, reached)
        ended = over(reached.course, last.refs, self._gatherer.look)
        self._drift_log.restore(ctx, last, memory, ended)
        whole = last.digest == (ctx.previous.get("applied") or {}).get("digest")
        foreign = self._wanting.owned_by_others(ctx.key, (r.id for r in last.refs))
        pruned = reached.pruned
        others = foreign | reached.contested.keys() | pruned.released.keys() | pruned.lent.keys()
        newer = {r.id for r in evaluation.target.refs} if evaluation.target else None
        view = DriftView(ctx.key, ctx.marks.label, self._gatherer.look, memory.account, ended)
        found = drifted(view, last.refs, others, newer, whole=whole)
        if not found:
            return reached
        loaded = await self._gatherer.manifests(ctx, current, last, found)
        if isinstance(loaded, Unfetched):
            return _held_up(reached, found, loaded)
        chosen = [d for d in loaded if d.id in found]
        if not chosen:
            return reached
        memory.occasion = replace(memory.occasion, trigger="Drift")
        applier = self._applier(reached, memory, last, whole=whole, enforced=True)
        begin = reached

        async def claim(intent: Intent) -> None:
            nonlocal begin
            begin = await self._begin(begin, memory, intent.begins)

        before = self._drift_log.before(chosen)
        result = await applier.converge(chosen, loaded, claim)
        reached = begin
        result = await self._with_places(ctx, evaluation.current, last, result, chosen)
        by_id = {d.id: d for d in chosen}
        return self._drift_log.absorb(reached, memory, result, by_id, before, enforced=True)

    async def _report_only(
        self,
        evaluation: Evaluation,
        memory: Memory,
        reached: Reached,
        applier: Applier,
        chosen: Sequence[Desired],
    ) -> Reached:
        ctx, found = reached.ctx, await applier.check(chosen)
        checks = [i for i in found if isinstance(i, DryRun)]
        reported = self._drift_log.report(ctx.key, memory, checks, applier.kept(checks).baselines)
        rest = await self._with_places(ctx, evaluation.current, evaluation.found, held_back(found), chosen)
        return replace(
            reached,
            applied=reached.applied | rest,
            corrections=(*reached.corrections, *reported),
            retry=reached.retry or rest.transient,
            waiting=reached.waiting or rest.waiting,
        )

    async def _begin(self, reached: Reached, memory: Memory, writes: Writes) -> Reached:
        """Note what is about to begin that ends by itself: it may be done before this process can say so."""
        started = begun(writes, int(datetime.now(UTC).timestamp()))
        if not started:
            return reached
        reached = replace(reached, begun={**reached.begun, **started})
        ctx = await self._reporter.claim(
            reached.ctx,
            memory,
            reached.ctx.inventory,
            {**reached.course, **reached.begun},
            reached.provisional,
        )
        return replace(reached, ctx=ctx)

    async def _claim(self, reached: Reached, target: Target, memory: Memory, intent: Intent) -> Reached:
        """Claim what passed its dry run, and write the inventory before the first write, so that a crash orphans nothing.

        What cannot be tried yet stands in the inventory, too, and is claimed when it was: until then nobody else is told
        that it is owned.
        """
        # Another Sync may have claimed meanwhile; from here to the record nothing is awaited, so one of two gets it.
        tried = reached.tried | intent.passed
        untried = (reached.ctx.provisional | (intent.untried - reached.ctx.inventory.keys())) - tried
        ctx = replace(reached.ctx, provisional=frozenset(untried))
        contested = {**reached.contested, **self._wanting.taking(reached, tried)}
        offered = self._wanting.offered(ctx.key, tried)
        wants = {r.id: r.api_version for r in target.refs if r.id in contested or r.id in offered}
        wants = {**reached.wants, **wants}
        claimed = (intent.passed | intent.untried) - contested.keys()
        new = {**ctx.inventory, **{r.id: r.api_version for r in target.refs if r.id in claimed}}
        self._dispatcher.record(ctx.key, new.keys() - untried, reached.pruned.lent)
        started = begun(intent.begins, int(datetime.now(UTC).timestamp()))
        noted = {**reached.begun, **started}
        reached = replace(reached, ctx=ctx, contested=contested, wants=wants, tried=tried, begun=noted)
        if new == ctx.inventory and not started:
            return reached
        ctx = await self._reporter.claim(ctx, memory, new, {**reached.course, **noted}, untried)
        return replace(reached, ctx=ctx)

    def _trigger(self, occasion: Occasion, reached: Reached, target: Target) -> str:
        """Return why something is written."""
        ctx, previous = reached.ctx, reached.ctx.previous
        if occasion.trigger == "Requested":
            return occasion.trigger
        if not reached.changed:
            return "Drift" if self._dispatcher.detected(ctx.key) else occasion.trigger
        moved = previous.get("observedGeneration") not in (None, ctx.generation)
        same = (previous.get("applied") or {}).get("revision") == target.revision
        return "Spec" if moved and same else "Commit"


def _held_up(reached: Reached, wanted: Iterable[ObjectId], lost: Unfetched) -> Reached:
    """Return how far a run came whose manifests have to be fetched first."""
    deferred = ApplyResult(deferred=dict.fromkeys(wanted, lost.why.message))
    demand = joined(reached.demand, lost.demand)
    return replace(reached, waiting=lost.why, applied=reached.applied | deferred, demand=demand)
