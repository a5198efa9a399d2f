"""The whole story of a Sync on one page: gather, decide, act, report (shell).

Level-triggered: every run starts from what Git, the cluster and the stored status say now; memory is a cache.
Nothing waits in a worker: what is not ready ends the run, and the event that changes it starts the next.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

from setpoint.api import names
from setpoint.api.reasons import Problem, Reason
from setpoint.kube.errors import ApiError
from setpoint.objects.bodies import Body, source_key, sync_model
from setpoint.objects.identity import SyncKey
from setpoint.objects.inventory import ungrouped
from setpoint.plan.desired import OwnershipMarks
from setpoint.plan.goal import Commit, Goal, Situation, Written, enforces, follow_up, goal
from setpoint.runtime.workqueue import Result
from setpoint.settings import Settings
from setpoint.sources.commits import Commits
from setpoint.sources.demands import Demand, joined
from setpoint.status import build as status
from setpoint.status.conditions import condition_of
from setpoint.status.outcome import Outcome
from setpoint.store.index import Store
from setpoint.store.status_writer import RETRYABLE, Deleted, retry_later
from setpoint.syncs.acting import user_of
from setpoint.syncs.builder import NotYet, TargetBuilder
from setpoint.syncs.dispatcher import Dispatcher
from setpoint.syncs.memory import Memory
from setpoint.syncs.run import Context, Evaluation, Reached
from setpoint.syncs.steps.actors import Actors
from setpoint.syncs.steps.convergence import Converger
from setpoint.syncs.steps.deletion import Finalizer
from setpoint.syncs.steps.gatherer import Gatherer
from setpoint.syncs.steps.object_writer import ObjectWriter
from setpoint.syncs.steps.pruner import Pruner
from setpoint.syncs.steps.registrar import Registrar
from setpoint.syncs.steps.reporter import Reporter
from setpoint.wall.errors import WorkerAway, WorkerGone

Step = Callable[[Reached], Awaitable[Reached]]

WORKER_SECONDS, AWAY_SECONDS = 1.0, 3.0
"""After how long a run is made again that the worker did not live to answer: that is no failure of the Sync."""
OTHERS_WAIT = (
    "its spec changed while Setpoint was down: other Syncs delete nothing that it may write for 5 minutes"
)


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of a run, complete."""

    registrar: Registrar
    builder: TargetBuilder
    gatherer: Gatherer
    converger: Converger
    objects: ObjectWriter
    pruner: Pruner
    reporter: Reporter
    finalizer: Finalizer


class Syncs:
    """Reconciles Syncs."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        sources: Commits,
        dispatcher: Dispatcher,
        actors: Actors,
        steps: Steps,
    ) -> None:
        self._settings, self._store, self._sources = settings, store, sources
        self._dispatcher, self._actors, self._registrar = dispatcher, actors, steps.registrar
        self._builder, self._converger, self._pruner = steps.builder, steps.converger, steps.pruner
        self._gatherer, self._objects = steps.gatherer, steps.objects
        self._reporter, self._finalizer = steps.reporter, steps.finalizer

    async def reconcile(self, key: SyncKey) -> Result:
        """Bring one Sync up to date, as far as it goes now."""
        body = self._store.syncs.get(key)
        if body is None:
            await self._forget(key)
            return Result()
        try:
            return await self._run(key, body, self._dispatcher.memory(key))
        except Deleted:
            self._store.drop_sync(key, body["metadata"]["uid"])
            await self._forget(key)
            return Result()
        except RETRYABLE as error:
            return retry_later("Sync", key, error)
        except WorkerAway:
            return Result(after=AWAY_SECONDS)
        except WorkerGone:
            return Result(after=WORKER_SECONDS)
        except Exception:
            await self._tell_of_bug(key)
            raise  # to the log, and to the next try

    async def _run(self, key: SyncKey, body: Body, memory: Memory) -> Result:
        memory.standing = replace(memory.standing, settled=False)
        self._builder.follow(memory, self._dispatcher.take_move(key))
        try:
            ctx = self._context(key, body, memory)
        except Problem as problem:
            self._sources.demand(key, None)
            return await self._rejected(key, body, problem)
        if "deletionTimestamp" in body["metadata"]:
            self._builder.release(memory, key.namespace, ends=True)
            self._sources.demand(key, None)
            return await self._finalizer.end(ctx, self._actors.deleter(ctx))
        ctx = self._asked(await self._registrar.register(ctx, memory), memory)
        evaluation = await self._evaluation(ctx, memory)
        if (doubt := self._doubt(ctx, evaluation)) is not None:
            self._demand(ctx, evaluation.demand)
            return await self._publish(evaluation, doubt, memory)
        try:
            reached = await self._reach(ctx, evaluation, memory)
        except NotYet as lost:
            self._demand(ctx, evaluation.demand, lost.demand)
            return Result()
        self._demand(ctx, evaluation.demand, reached.demand)
        self._note(ctx, evaluation, memory)
        return await self._publish(evaluation, reached, memory)

    async def _reach(self, ctx: Context, evaluation: Evaluation, memory: Memory) -> Reached:
        """Decide the goal, pursue it, and return how far that went.

        Raises NotYet if nothing is to be said; ApiError where the commit is lost and objects cannot be read.
        """
        begun = self._gatherer.begin(ctx, evaluation)
        reached = await self._through(begun, partial(self._converger.gather, evaluation, memory))
        if reached.stopped:
            return reached
        situation = self._gatherer.situation(evaluation, reached)
        if goal(situation) is Goal.COMPARE:
            return await self._gatherer.compare(evaluation, memory, reached)
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
        look = partial(self._converger.look, evaluation, memory)
        match goal(situation):
            case Goal.CONVERGE:
                write = partial(self._objects.write, evaluation, memory)
                return partial(self._converger.choose, evaluation, memory), write
            case Goal.WAIT:
                waits = partial(self._converger.wait, situation.dependency)
                hand_over = partial(self._converger.hand_over, evaluation, memory)
                return (waits, hand_over, *([enforce] if enforces(situation) else []))
            case Goal.ENFORCE:
                return enforce, look
            case Goal.LOOK:
                return (look,)
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
            complete = partial(self._converger.complete, evaluation, memory)
            return complete, partial(self._converger.prune, evaluation, memory)
        # What a dropped Sync fails at is no commit for it any more.
        anew = then.lend or self._dispatcher.dropped(reached.ctx.key)
        hand_over = partial(self._converger.hand_over, evaluation, memory, anew=anew)
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

    async def _publish(self, evaluation: Evaluation, reached: Reached, memory: Memory) -> Result:
        """Report a run, and remember how it ended once that is written."""
        reached = self._gatherer.disown(reached)
        if reached.endings is not None:
            reached = replace(reached, endings=self._gatherer.endings(evaluation, memory, reached))
            done = [o for o, e in reached.course.items() if e.gone]
            self._dispatcher.noted(reached.ctx.key, done)
        result = await self._reporter.publish(evaluation, reached, memory)
        settled, failing = reached.settled(evaluation), reached.retries
        memory.standing = replace(memory.standing, settled=settled, failing=failing)
        if reached.complete:
            self._objects.ended(memory)
        return result

    async def _tell_of_bug(self, key: SyncKey) -> None:
        body = self._store.syncs.get(key)
        with contextlib.suppress(Deleted, *RETRYABLE):
            if body is not None:
                await self._reporter.tell_of_bug(key, body, self._dispatcher.memory(key).telling.held)

    async def _forget(self, key: SyncKey) -> None:
        await self._reporter.forget(key)
        self._sources.forget(key)
        self._dispatcher.forget(key)

    def _demand(self, ctx: Context, *found: Demand | None) -> None:
        """Demand from the Source the commits that this run lacked, and the check that was requested."""
        check = Demand(source_key(ctx.body), check=ctx.asks) if ctx.asks is not None else None
        self._sources.demand(ctx.key, joined(check, *found))

    def _context(self, key: SyncKey, body: Body, memory: Memory) -> Context:
        """Return what a run starts from. Raises Problem if the spec cannot be used."""
        sync = sync_model(body)
        user, marks = user_of(key, sync, self._settings), OwnershipMarks(key, self._dispatcher.label(key))
        began = asyncio.get_running_loop().time()
        return Context.of(key, body, sync, marks, user, held=memory.telling.held, began=began)

    async def _evaluation(self, ctx: Context, memory: Memory) -> Evaluation:
        if not ctx.sync.spec.suspend:
            return self._pruner.without_yielded(ctx, await self._builder.evaluate(ctx, memory))
        self._dispatcher.want(ctx.key, ())  # it takes nothing, so nobody keeps anything for it
        return Evaluation()

    def _doubt(self, ctx: Context, evaluation: Evaluation) -> Reached | None:
        """Stop others from waiting for a Sync whose commit is lost, once its Source was checked; report where they still wait."""
        source = source_key(ctx.body)
        if evaluation.commit is not Commit.LOST or not self._sources.was_tried(source):
            return None
        left = self._dispatcher.cannot_evaluate(ctx.body, asyncio.get_running_loop().time())
        trouble = self._sources.trouble(source)
        why = trouble.message if trouble else f"Source {source} cannot fetch its commit"
        if left is not None:
            waiting = Problem(Reason.SourceNotReady, f"{why}; {OTHERS_WAIT}")
            return Reached(ctx, waiting=waiting).sooner(left)
        told = (condition_of(ctx.previous, "Ready") or {}).get("message", "")
        return Reached(ctx, waiting=Problem(Reason.SourceNotReady, why)) if OTHERS_WAIT in told else None

    def _note(self, ctx: Context, evaluation: Evaluation, memory: Memory) -> None:
        """Record that a commit was evaluated: Syncs that wait to prune may go on."""
        if ctx.sync.spec.suspend or evaluation.commit is Commit.LOST:
            return
        self._builder.release(memory, ctx.key.namespace)
        self._dispatcher.evaluated(
            ctx.key, evaluation.current.sha if evaluation.current else None, ctx.generation
        )
        self._reporter.count(ctx, evaluation)

    async def _rejected(self, key: SyncKey, body: Body, problem: Problem) -> Result:
        """Report that the spec cannot be used; orphan a Sync that is being deleted without an identity."""
        if "deletionTimestamp" in body["metadata"]:
            await self._finalizer.orphan(key, body, problem)
            return Result()
        previous, generation = body.get("status") or {}, body["metadata"].get("generation", 0)
        inventory, leaving = (
            tuple((v, o) for o, v in ungrouped(previous.get(k) or []).items())
            for k in ("inventory", "leaving")
        )
        outcome = Outcome(
            key.namespace, generation, problem=problem, inventory=inventory, leaving=leaving, wants=None
        )
        self._dispatcher.evaluated(key, None, generation)
        await self._reporter.write(key, body, status.build(previous, outcome, datetime.now(UTC)))
        return Result(retry=problem.transient)

    def _may_ask(self, ctx: Context) -> bool:
        """Return whether there is a Source for a Sync."""
        try:
            self._builder.source(ctx.key, ctx.sync)
        except Problem:
            return False
        return True

    def _asked(self, ctx: Context, memory: Memory) -> Context:
        """Start a check of the Source if one is requested; the run after that answers the request."""
        requested = (ctx.body["metadata"].get("annotations") or {}).get(names.ANNOTATION_REQUESTED)
        source = source_key(ctx.body)
        new = requested != ctx.previous.get("requested") and not ctx.sync.spec.suspend
        if requested is not None and new and requested != memory.standing.asked:
            memory.standing = replace(memory.standing, asked=requested)
            self._converger.requested(memory)
        # Not at the end of the run: a check that ends meanwhile may find a commit that this run knows nothing of.
        # Of a Source that it may not use nothing is asked, and nothing told: neither is there for it.
        checked = requested is not None and (
            not self._may_ask(ctx) or self._sources.was_checked(source, ctx.key, requested)
        )
        return replace(
            ctx, answers=requested if checked else None, asks=requested if new and not checked else None
        )
