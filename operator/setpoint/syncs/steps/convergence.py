"""The steps between gathering and the writes: what to look at, and what becomes of what left Git (shell)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from setpoint.api.formats import seconds
from setpoint.api.reasons import Problem, Reason
from setpoint.api.sync import Drift, OnError
from setpoint.apply.result import ApplyResult
from setpoint.plan.drift import DriftView, choose
from setpoint.plan.endings.course import over
from setpoint.syncs.builder import TargetBuilder
from setpoint.syncs.memory import Memory
from setpoint.syncs.run import Context, Evaluation, Reached
from setpoint.syncs.steps.actors import Actors
from setpoint.syncs.steps.drift_log import DriftLog
from setpoint.syncs.steps.gatherer import Gatherer
from setpoint.syncs.steps.object_writer import ObjectWriter
from setpoint.syncs.steps.pruner import Pruner
from setpoint.watch.protocol import LiveObjects, Pods


class Converger:
    """Takes these steps for one Sync after another."""

    def __init__(
        self,
        gatherer: Gatherer,
        objects: ObjectWriter,
        pruner: Pruner,
        builder: TargetBuilder,
        actors: Actors,
        informers: LiveObjects,
        pods: Pods,
        drift_log: DriftLog,
    ) -> None:
        self._gatherer, self._objects, self._pruner, self._builder = gatherer, objects, pruner, builder
        self._pods = pods
        self._actors, self._informers, self._drift_log = actors, informers, drift_log

    def requested(self, memory: Memory) -> None:
        """Check everything again because a check was requested, including what failed."""
        memory.full_check_at = 0.0
        self._drift_log.forgive(memory)
        self._objects.requested(memory)
        self._gatherer.requested(memory)

    # --- look

    async def gather(self, evaluation: Evaluation, memory: Memory, reached: Reached) -> Reached:
        """Observe what is live, claim what is wanted, and find out what is new."""
        reached = await self._gatherer.gather(evaluation, memory, reached)
        self._drift_log.let_go(memory, reached.pruned)
        return reached

    async def look(self, evaluation: Evaluation, memory: Memory, reached: Reached) -> Reached:
        """Look up which objects of the inventory exist, and how far those are that end by themselves."""
        reached = reached.sooner(await self._gatherer.observer.look(reached.ctx))
        return self._gatherer.ends(evaluation, memory, reached)

    # --- choose

    async def choose(self, evaluation: Evaluation, memory: Memory, reached: Reached) -> Reached:
        """Choose what to look at: what somebody or Git changed, and all when the safety net is due."""
        ctx, target = reached.ctx, evaluation.found
        done = over(reached.course, target.refs, self._informers.get)
        self._drift_log.restore(ctx, target, memory, done)
        abort = reached.changed and ctx.sync.spec.on_error is OnError.ABORT
        if target.unplaced:
            unplaced = ApplyResult(failed=dict(target.unplaced))
            reached = replace(reached, applied=reached.applied | unplaced, retry=True)
            if abort:
                return reached
        now = asyncio.get_running_loop().time()
        due = self._safety_net(ctx, memory, now)
        view = DriftView(ctx.key, ctx.marks.label, self._informers.get, memory.account, done)
        choice = choose(
            view, target.refs, reached.contested, now, due=due, abort=abort, refused=reached.refused
        )
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
    async def wait(dependency: str, reached: Reached) -> Reached:
        """Note that a Sync of `dependsOn` is awaited."""
        return replace(reached, waiting=Problem(Reason.DependencyNotReady, dependency))

    async def hand_over(
        self, evaluation: Evaluation, memory: Memory, reached: Reached, *, anew: bool = True
    ) -> Reached:
        """Hand over what left Git and another Sync has or waits for. Raises ApiError."""
        pruned = await self._pruner.hand_over(reached.ctx, evaluation.found, anew=anew)
        self._drift_log.let_go(memory, pruned)
        return replace(reached, pruned=pruned)

    async def complete(self, evaluation: Evaluation, memory: Memory, reached: Reached) -> Reached:
        """Note that all of the target is written."""
        self._builder.applied(memory, evaluation.found)
        pruned = self._pruner.begin(reached.ctx, evaluation.found, reached.pruned.lent)
        return replace(reached, complete=True, pruned=pruned)

    async def prune(self, evaluation: Evaluation, memory: Memory, reached: Reached) -> Reached:
        """Delete what left Git, as far as it may go now. Raises ApiError."""
        ctx = reached.ctx
        deleter = self._actors.deleter(ctx)
        pruned = await self._pruner.prune(ctx, evaluation, reached.pruned, deleter, self._pods)
        self._drift_log.let_go(memory, pruned)
        return replace(reached, pruned=pruned).sooner(pruned.again)
