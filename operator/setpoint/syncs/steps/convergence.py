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
from setpoint.plan.drift import Choice, DriftView, choose, unreported
from setpoint.plan.goal import Goal, Situation, Written, enforces, follow_up, goal
from setpoint.syncs.builder import TargetBuilder
from setpoint.syncs.dispatcher import Dispatcher
from setpoint.syncs.memory import Memory
from setpoint.syncs.run import Context, Evaluation, Given, Reached
from setpoint.syncs.steps.actors import Actors
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
    ) -> None:
        self._gatherer, self._objects, self._pruner, self._builder = gatherer, objects, pruner, builder
        self._actors, self._dispatcher, self._informers = actors, dispatcher, informers

    async def reach(self, ctx: Context, evaluation: Evaluation, memory: Memory) -> Reached:
        """Decide the goal, pursue it, and return how far that went.

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
        missing = await self._actors.missing(ctx, reasons | told)
        return replace(reached, problem=reached.problem or missing)

    def _steps(self, situation: Situation, given: Given) -> tuple[Step, ...]:
        """Return the steps to a goal."""
        enforce = partial(self._objects.enforce, given)
        match goal(situation):
            case Goal.CONVERGE:
                return partial(self._choose, given), partial(self._objects.write, given)
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
        return (partial(self._objects.enforce, given), hand_over) if then.enforce else (hand_over,)

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
        """Look up which objects of the inventory exist."""
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
        return replace(reached, todo=unreported(memory, choice.todo, self._informers.get))

    def _view(self, ctx: Context, memory: Memory) -> DriftView:
        return DriftView(ctx.key, ctx.marks.label, self._informers.get, memory)

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
            ctx, given.evaluation, reached.pruned, given.memory, self._actors.deleter(ctx)
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
