"""Brings a Sync to its goal: writes what is new, corrects what drifted, and keeps what was good (shell)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from setpoint.api.formats import rfc3339, seconds
from setpoint.api.reasons import Problem, Reason
from setpoint.api.sync import Drift, OnError
from setpoint.apply.applier import Applier
from setpoint.apply.deleter import Deleter
from setpoint.apply.dry_run import Actor, DryRun, Session
from setpoint.apply.result import ApplyResult
from setpoint.kube import absence
from setpoint.kube.errors import ApiError
from setpoint.objects.identity import ObjectId, oid_of
from setpoint.objects.inventory import grouped
from setpoint.plan.adoption import TAKEOVER_MANAGERS
from setpoint.plan.desired import Desired
from setpoint.plan.drift import Choice, DriftView, choose, drifted, meant_otherwise, unreported
from setpoint.plan.goal import Goal, Situation, Written, enforces, follow_up, goal
from setpoint.plan.marks import is_dropped
from setpoint.syncs.builder import TargetBuilder
from setpoint.syncs.dispatcher import Dispatcher
from setpoint.syncs.memory import Memory
from setpoint.syncs.run import Context, Evaluation, Given, Reached
from setpoint.syncs.services import Parts
from setpoint.syncs.steps.drift_log import DriftLog
from setpoint.syncs.steps.gatherer import Gatherer
from setpoint.syncs.steps.pruner import Pruner
from setpoint.syncs.target import Target

CRD_SECONDS = 1.0
"""Within which an API server serves what is new in a CRD; nothing tells when."""
Step = Callable[[Reached], Awaitable[Reached]]


class Converger:
    """Acts for one Sync after another."""

    def __init__(self, parts: Parts, dispatcher: Dispatcher, builder: TargetBuilder, pruner: Pruner) -> None:
        self._p, self._dispatcher, self._builder = parts, dispatcher, builder
        self._limit = asyncio.Semaphore(parts.settings.apply_concurrency)
        people = frozenset(parts.settings.people_managers)
        self._people, self._takeover = people, people | TAKEOVER_MANAGERS
        self._pruner = pruner
        self._gatherer = Gatherer(parts, dispatcher, builder, pruner)
        self._drift_log = DriftLog(parts)

    def deleter(self, ctx: Context) -> Deleter:
        """Return what deletes objects on behalf of a Sync; by a commit, unless it ends because a person deleted it."""
        by_commit = "deletionTimestamp" not in ctx.body["metadata"] or is_dropped(ctx.body)
        return Deleter(self._p.cluster, self._limit, ctx.key, ctx.user, by_commit=by_commit)

    async def reach(self, ctx: Context, evaluation: Evaluation, memory: Memory) -> Reached:
        """Go for what the situation asks for, and return how far that went.

        Raises NotYet if nothing is to be said; ApiError where the commit is lost and objects cannot be read.
        """
        given = Given(evaluation, memory)
        begun = self._gatherer.begin(ctx, evaluation)
        reached = await self._through(begun, partial(self._gatherer.gather, given))
        if reached.stopped:
            return reached
        situation = self._gatherer.situation(evaluation, reached)
        if goal(situation) is Goal.COMPARE:
            return await self._gatherer.compare(reached)
        reached = await self._through(reached, *self._steps(situation, given))
        if goal(situation) is Goal.CONVERGE and not reached.stopped:
            reached = await self._through(reached, *self._steps_after(situation, given, reached))
        if reached.stopped or ctx.sync.spec.suspend:
            return reached
        reasons = {p.reason for p in reached.applied.failed.values()}
        told = {s.reason for s in reached.pruned.states}
        missing = await absence.missing(self._p.cluster, ctx.user, reasons | told)
        return replace(reached, problem=reached.problem or missing)

    def _steps(self, situation: Situation, given: Given) -> tuple[Step, ...]:
        """Return the steps to a goal."""
        enforce = partial(self._enforce, given)
        match goal(situation):
            case Goal.CONVERGE:
                return partial(self._choose, given), partial(self._write, given)
            case Goal.WAIT:
                waits = partial(self._wait, situation.dependency)
                return (waits, partial(self._hand_over, given), *([enforce] if enforces(situation) else []))
            case Goal.ENFORCE:
                return enforce, self._look
            case Goal.LOOK:
                return (self._look,)
            case Goal.COMPARE:
                return ()

    def _steps_after(self, situation: Situation, given: Given, reached: Reached) -> tuple[Step, ...]:
        """Return the steps that follow once the target was written, as far as it could be."""
        target, last = given.target, reached.last
        then = follow_up(
            Written(
                failed=bool(reached.applied.failed) or bool(target.unplaced),
                deferred=bool(reached.applied.deferred),
                contested=bool(reached.contested),
                superseded=last is not None and enforces(situation) and last.digest != target.digest,
            )
        )
        if then.prune:
            return partial(self._complete, given), partial(self._prune, given)
        # What a dropped Sync fails at is no commit for it any more.
        anew = then.lend or self._dispatcher.dropped(reached.ctx.key)
        hand_over = partial(self._hand_over, given, anew=anew)
        return (partial(self._enforce, given), hand_over) if then.enforce else (hand_over,)

    async def _through(self, reached: Reached, *steps: Step) -> Reached:
        """Take one step after another, until one fails; what those before it reached stays."""
        for step in steps:
            try:
                reached = await step(reached)
            except ApiError as error:
                return reached.met(await self._builder.unreadable(reached.ctx.key, error), retry=True)
            except Problem as problem:
                return reached.met(problem)
        return reached

    # --- look

    async def _look(self, reached: Reached) -> Reached:
        """See what is there of the inventory."""
        return reached.sooner(await self._gatherer.observer.look(reached.ctx))

    # --- choose

    async def _choose(self, given: Given, reached: Reached) -> Reached:
        """Choose what to look at: what somebody or Git changed, and all when the safety net is due."""
        ctx, target, memory = reached.ctx, given.target, given.memory
        abort = reached.changed and ctx.sync.spec.on_error is OnError.ABORT
        if target.unplaced:
            unplaced = ApplyResult(failed=dict(target.unplaced))
            reached = replace(reached, applied=reached.applied | unplaced, retry=True)
            if abort:
                return reached
        now = asyncio.get_running_loop().time()
        due = _safety_net(ctx, memory, now)
        choice = choose(self._view(ctx, memory), target.refs, reached.contested, now, due=due, abort=abort)
        applied = reached.applied | ApplyResult(failed=choice.stuck, deferred=choice.deferred)
        reached = _backed_off(choice, memory, replace(reached, applied=applied))
        if reached.changed or ctx.sync.spec.drift is Drift.CORRECT:
            memory.reported.clear()
            return replace(reached, todo=choice.todo)
        return replace(reached, todo=unreported(memory, choice.todo, self._p.informers.get))

    def _view(self, ctx: Context, memory: Memory) -> DriftView:
        return DriftView(ctx.key, ctx.marks.label, self._p.informers.get, memory)

    # --- act

    async def _write(self, given: Given, reached: Reached) -> Reached:
        """Write what was chosen, or report it where drift is left alone."""
        ctx, target, memory = reached.ctx, given.target, given.memory
        wanted = {r.id for r in reached.todo}
        if not wanted:
            return reached
        manifests = given.evaluation.manifests
        loaded = (
            manifests if manifests is not None else await self._gatherer.manifests(ctx, given, target, wanted)
        )
        if isinstance(loaded, Problem):
            return _held_up(reached, wanted, loaded)
        chosen = [d for d in loaded if d.id in wanted]
        if not chosen:
            return reached
        memory.trigger = _trigger(memory, reached, target)
        memory.started = memory.started or rfc3339(datetime.now(UTC))
        abort = reached.changed and ctx.sync.spec.on_error is OnError.ABORT
        applier = self._applier(ctx, abort=abort)
        if ctx.sync.spec.drift is Drift.REPORT and not reached.changed:
            return await self._report_only(given, reached, applier, chosen)
        claimed = reached

        async def claim() -> None:
            nonlocal claimed
            claimed = await self._claim(reached, target, memory)

        before = self._drift_log.before(chosen)
        result = await applier.converge(chosen, loaded, claim)
        result = await self._with_places(ctx, given, target, result, chosen)
        reached = self._drift_log.absorb(claimed, memory, result, {d.id: d for d in chosen}, before)
        self._p.metrics.written(len(result.written))
        reached = await self._look_again(
            reached, target, memory, meant_otherwise(result.written, chosen, target.refs)
        )
        return await self._look_for_kinds(reached, target, result)

    async def _with_places(
        self,
        ctx: Context,
        given: Given,
        target: Target,
        result: ApplyResult,
        chosen: Sequence[Desired],
    ) -> ApplyResult:
        """Return the result with the files of the objects that something is said of."""
        current = given.evaluation.current
        if current is None:
            return result
        return await self._builder.with_places(ctx.sync, current, target, result, chosen)

    async def _look_again(
        self, reached: Reached, target: Target, memory: Memory, again: frozenset[ObjectId]
    ) -> Reached:
        """Have objects checked anew by the next run, once the API server has taken over what is new in their CRD."""
        if not again:
            return reached
        for oid in again & memory.baselines.keys():
            # Not the state that was written: what is to be done there is no drift.
            memory.baselines[oid] = replace(memory.baselines[oid], digest="")
        await self._builder.discover()
        return reached.sooner(CRD_SECONDS)

    async def _look_for_kinds(self, reached: Reached, target: Target, result: ApplyResult) -> Reached:
        """Ask which kinds are served now, while some of this commit's are not yet."""
        if not self._builder.unresolved(target) or result.failed:
            return reached
        await self._builder.discover()
        return reached.sooner(0.3 if not self._builder.unresolved(target) else 1.0)

    async def _enforce(self, given: Given, reached: Reached) -> Reached:
        """Correct drift against what was applied last; nothing new is written and nothing is pruned."""
        ctx, last, memory = reached.ctx, reached.last, given.memory
        if last is None or given.evaluation.current is None:
            return reached
        reached = reached.sooner(await self._gatherer.watch(ctx, last, memory))
        whole = last.digest == (ctx.previous.get("applied") or {}).get("digest")
        foreign = {r.id for r in last.refs if self._p.claims.owner(r.id) not in (None, ctx.key)}
        pruned = reached.pruned
        others = foreign | reached.contested.keys() | pruned.released.keys() | pruned.lent.keys()
        newer = {r.id for r in given.evaluation.target.refs} if given.evaluation.target else None
        found = drifted(self._view(ctx, memory), last.refs, others, newer, whole=whole)
        if not found:
            return reached
        loaded = await self._gatherer.manifests(ctx, given, last, found)
        if isinstance(loaded, Problem):
            return _held_up(reached, found, loaded)
        chosen = [d for d in loaded if d.id in found]
        if not chosen:
            return reached
        memory.trigger = "Drift"
        applier = self._applier(ctx, abort=False, keep_ours=True)
        before = self._drift_log.before(chosen)
        result = await applier.converge(chosen, loaded, _no_claim)
        result = await self._with_places(ctx, given, last, result, chosen)
        by_id = {d.id: d for d in chosen}
        return self._drift_log.absorb(reached, memory, result, by_id, before, enforced=True)

    def _applier(self, ctx: Context, *, abort: bool, keep_ours: bool = False) -> Applier:
        spec = ctx.sync.spec
        who = Actor(
            key=ctx.key,
            label=ctx.marks.label,
            user=ctx.user,
            rules=spec.ignore,
            people=self._people,
            takeover=self._takeover,
            owner_of=self._p.claims.owner,
            is_lent=self._p.claims.is_lent,
            abort=abort,
            create_namespace=spec.target_namespace if spec.create_namespace else None,
            keep_ours=keep_ours,
        )
        return Applier(Session(self._p.cluster, self._p.informers, self._limit, who))

    async def _report_only(
        self, given: Given, reached: Reached, applier: Applier, chosen: Sequence[Desired]
    ) -> Reached:
        found = await applier.check(chosen)
        reported = [self._drift_log.report(given.memory, item) for item in found if isinstance(item, DryRun)]
        failed = ApplyResult(failed={i[0].id: i[1] for i in found if not isinstance(i, DryRun)})
        failed = await self._with_places(reached.ctx, given, given.target, failed, chosen)
        corrections = (*reached.corrections, *(c for c in reported if c is not None))
        return replace(reached, applied=reached.applied | failed, corrections=corrections)

    async def _claim(self, reached: Reached, target: Target, memory: Memory) -> Reached:
        """Write the inventory before the first write: old and new together, so that a crash orphans nothing."""
        # Another Sync may have claimed meanwhile; from here to the record nothing is awaited, so one of two gets it.
        ctx, claims, desired = reached.ctx, self._p.claims, [r.id for r in target.refs]
        contested = {**reached.contested, **claims.contested(ctx.key, desired)}
        # What it takes over stays wanted: the claim is taken back if it cannot be written.
        wants = self._gatherer.want(ctx, target, contested)
        new = {**ctx.inventory, **{r.id: r.api_version for r in target.refs if r.id not in contested}}
        self._dispatcher.record(ctx.key, new, reached.pruned.lent)
        if new == ctx.inventory:
            return replace(reached, contested=contested, wants=wants)
        status = {**ctx.previous, "inventory": grouped((v, o) for o, v in new.items())}
        body = await self._p.writer.write(oid_of(ctx.key), ctx.body, status)
        memory.held = None
        return replace(reached, contested=contested, wants=wants, ctx=ctx.written(body))

    # --- what left Git

    @staticmethod
    async def _wait(dependency: str, reached: Reached) -> Reached:
        return replace(reached, waiting=Problem(Reason.DependencyNotReady, dependency))

    async def _hand_over(self, given: Given, reached: Reached, *, anew: bool = True) -> Reached:
        pruned = await self._pruner.hand_over(reached.ctx, given.target, given.memory, anew=anew)
        return replace(reached, pruned=pruned)

    async def _complete(self, given: Given, reached: Reached) -> Reached:
        """Note that all of the target is written."""
        given.memory.good = given.target
        pruned = self._pruner.begin(reached.ctx, given.target, reached.pruned.lent)
        return replace(reached, complete=True, pruned=pruned)

    async def _prune(self, given: Given, reached: Reached) -> Reached:
        ctx = reached.ctx
        pruned = await self._pruner.prune(
            ctx, given.evaluation, reached.pruned, given.memory, self.deleter(ctx)
        )
        return replace(reached, pruned=pruned).sooner(pruned.again)


def _safety_net(ctx: Context, memory: Memory, now: float) -> bool:
    interval = seconds(ctx.sync.spec.interval)
    if memory.full_check_at is None:
        memory.full_check_at = now + interval
    if now < memory.full_check_at:
        return False
    memory.full_check_at = now + interval
    memory.failed.clear()
    return True


def _backed_off(choice: Choice, memory: Memory, reached: Reached) -> Reached:
    for oid, back in choice.backed_off.items():
        reached = reached.sooner(back)
        memory.fights.setdefault(oid, memory.fight_words(oid))
    for ref in choice.todo:
        memory.fights.pop(ref.id, None)
    return reached


def _trigger(memory: Memory, reached: Reached, target: Target) -> str:
    """Return why something is written."""
    ctx, previous = reached.ctx, reached.ctx.previous
    if memory.trigger == "Requested":
        return memory.trigger
    if not reached.changed:
        return "Drift" if memory.detected else memory.trigger
    moved = previous.get("observedGeneration") not in (None, ctx.generation)
    same = (previous.get("applied") or {}).get("revision") == target.revision
    return "Spec" if moved and same else "Commit"


def _held_up(reached: Reached, wanted: Iterable[ObjectId], why: Problem) -> Reached:
    """Return what is said where manifests cannot be had now."""
    deferred = ApplyResult(deferred=dict.fromkeys(wanted, why.message))
    return replace(reached, waiting=why, applied=reached.applied | deferred)


async def _no_claim() -> None:
    """Claim nothing: what was applied is in the inventory already."""
