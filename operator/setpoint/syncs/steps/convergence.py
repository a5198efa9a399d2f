"""Brings a Sync to its goal: writes what is new, corrects drift, keeps what was good (shell)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial

from setpoint.api.formats import seconds
from setpoint.api.reasons import Problem, Reason
from setpoint.api.sync import Drift, OnError
from setpoint.apply.result import ApplyResult
from setpoint.kube.errors import ApiError
from setpoint.plan.drift import DriftView, choose
from setpoint.plan.goal import Goal, Situation, Written, enforces, follow_up, goal
from setpoint.syncs.builder import TargetBuilder
from setpoint.syncs.dispatcher import Dispatcher
from setpoint.syncs.memory import Memory
from setpoint.syncs.run import Context, Evaluation, Reached
from setpoint.syncs.steps.actors import Actors
from setpoint.syncs.steps.drift_log import DriftLog
from setpoint.syncs.steps.gatherer import Gatherer
from setpoint.syncs.steps.object_writer import ObjectWriter
from setpoint.syncs.steps.pruner import Pruner
from setpoint.watch.informers import Informers

Step = Callable[[Reached], Awaitable[Reached]]


class Converger:
    """Acts for one Sync after another."""

    def __init__(
        self,
        gatherer: Gatherer,
        objects: ObjectWriter,
        pruner: Pruner,
        builder: TargetBuilder,
        actors: Actors,
        dispatcher: Dispatcher,
        informers: Informers,
        drift_log: DriftLog,
    ) -> None:
        self._gatherer, self._objects, self._pruner, self._builder = gatherer, objects, pruner, builder
        self._actors, self._dispatcher, self._informers = actors, dispatcher, informers
        self._drift_log = drift_log

    def requested(self, memory: Memory) -> None:
        """Take in that a check was requested: all is looked at again, what failed too."""
        memory.full_check_at = 0.0
        self._drift_log.forgive(memory)
        self._objects.requested(memory)

    def ended(self, memory: Memory) -> None:
        """Take in that all is written, and told."""
        self._objects.ended(memory)

    async def reach(self, ctx: Context, evaluation: Evaluation, memory: Memory) -> Reached:
        """Decide the goal, pursue it, and return how far that went.

        Raises NotYet if nothing is to be said; ApiError where the commit is lost and objects cannot be read.
        """
        begun = self._gatherer.begin(ctx, evaluation)
        reached = await self._through(begun, partial(self._gather, evaluation, memory))
        if reached.stopped:
            return reached
        situation = self._gatherer.situation(evaluation, reached)
        if goal(situation) is Goal.COMPARE:
            return await self._gatherer.compare(reached)
        reached = await self._through(reached, *self._steps(situation, evaluation, memory))
        if goal(situation) is Goal.CONVERGE and not reached.stopped:
            after = self._steps_after(situation, evaluation, memory, reached)
            reached = await self._through(reached, *after)
        if reached.stopped or ctx.sync.spec.suspend:
            return reached
        reasons = {p.reason for p in reached.applied.failed.values()}
        told = {s.reason for s in reached.pruned.states}
        missing = await self._actors.missing(ctx, reasons | told)
        return replace(reached, problem=reached.problem or missing)

    def _steps(self, situation: Situation, evaluation: Evaluation, memory: Memory) -> tuple[Step, ...]:
        """Return the steps to a goal."""
        enforce = partial(self._objects.enforce, evaluation, memory)
        match goal(situation):
            case Goal.CONVERGE:
                write = partial(self._objects.write, evaluation, memory)
                return partial(self._choose, evaluation, memory), write
            case Goal.WAIT:
                waits = partial(self._wait, situation.dependency)
                hand_over = partial(self._hand_over, evaluation, memory)
                return (waits, hand_over, *([enforce] if enforces(situation) else []))
            case Goal.ENFORCE:
                return enforce, self._look
            case Goal.LOOK:
                return (self._look,)
            case Goal.COMPARE:
                return ()

    def _steps_after(
        self, situation: Situation, evaluation: Evaluation, memory: Memory, reached: Reached
    ) -> tuple[Step, ...]:
        """Return the steps that follow once the target was written, as far as it could be."""
        target, last = evaluation.found, reached.last
        then = follow_up(
            Written(
                failed=bool(reached.applied.failed) or bool(target.unplaced),
                deferred=bool(reached.applied.deferred),
                contested=bool(reached.contested),
                superseded=last is not None and enforces(situation) and last.digest != target.digest,
            )
        )
        if then.prune:
            return partial(self._complete, evaluation, memory), partial(self._prune, evaluation, memory)
        # What a dropped Sync fails at is no commit for it any more.
        anew = then.lend or self._dispatcher.dropped(reached.ctx.key)
        hand_over = partial(self._hand_over, evaluation, memory, anew=anew)
        enforce = partial(self._objects.enforce, evaluation, memory)
        return (enforce, hand_over) if then.enforce else (hand_over,)

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

    async def _gather(self, evaluation: Evaluation, memory: Memory, reached: Reached) -> Reached:
        """See what is live, claim what is wanted, and find out what is new."""
        reached = await self._gatherer.gather(evaluation, memory, reached)
        self._drift_log.let_go(memory, reached.pruned)
        return reached

    async def _look(self, reached: Reached) -> Reached:
        """Look up which objects of the inventory exist."""
        return reached.sooner(await self._gatherer.observer.look(reached.ctx))

    # --- choose

    async def _choose(self, evaluation: Evaluation, memory: Memory, reached: Reached) -> Reached:
        """Choose what to look at: what somebody or Git changed, and all when the safety net is due."""
        ctx, target = reached.ctx, evaluation.found
        self._drift_log.restore(ctx, target, memory)
        abort = reached.changed and ctx.sync.spec.on_error is OnError.ABORT
        if target.unplaced:
            unplaced = ApplyResult(failed=dict(target.unplaced))
            reached = replace(reached, applied=reached.applied | unplaced, retry=True)
            if abort:
                return reached
        now = asyncio.get_running_loop().time()
        due = self._safety_net(ctx, memory, now)
        view = DriftView(ctx.key, ctx.marks.label, self._informers.get, memory.account)
        choice = choose(view, target.refs, reached.contested, now, due=due, abort=abort)
        applied = reached.applied | ApplyResult(failed=choice.stuck, deferred=choice.deferred)
        reached = replace(reached, applied=applied).sooner(min(choice.backed_off.values(), default=None))
        self._drift_log.back_off(memory, choice)
        if reached.changed or ctx.sync.spec.drift is Drift.CORRECT:
            self._drift_log.report_no_more(memory)
            return replace(reached, todo=choice.todo)
        return replace(reached, todo=self._drift_log.unreported(memory, choice.todo))

    def _safety_net(self, ctx: Context, memory: Memory, now: float) -> bool:
        """Return whether all is to be looked at; then what failed is tried again, too."""
        interval, due = seconds(ctx.sync.spec.interval), memory.full_check_at
        if due is None or now >= due:
            memory.full_check_at = now + interval
        if due is None or now < due:
            return False
        self._drift_log.forgive(memory)
        return True

    # --- what left Git

    @staticmethod
    async def _wait(dependency: str, reached: Reached) -> Reached:
        return replace(reached, waiting=Problem(Reason.DependencyNotReady, dependency))

    async def _hand_over(
        self, evaluation: Evaluation, memory: Memory, reached: Reached, *, anew: bool = True
    ) -> Reached:
        pruned = await self._pruner.hand_over(reached.ctx, evaluation.found, anew=anew)
        self._drift_log.let_go(memory, pruned)
        return replace(reached, pruned=pruned)

    async def _complete(self, evaluation: Evaluation, memory: Memory, reached: Reached) -> Reached:
        """Note that all of the target is written."""
        self._builder.applied(memory, evaluation.found)
        pruned = self._pruner.begin(reached.ctx, evaluation.found, reached.pruned.lent)
        return replace(reached, complete=True, pruned=pruned)

    async def _prune(self, evaluation: Evaluation, memory: Memory, reached: Reached) -> Reached:
        ctx = reached.ctx
        pruned = await self._pruner.prune(ctx, evaluation, reached.pruned, self._actors.deleter(ctx))
        self._drift_log.let_go(memory, pruned)
        return replace(reached, pruned=pruned).sooner(pruned.again)
