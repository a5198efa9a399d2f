"""The whole story of a Sync on one page: gather, decide, act, tell (shell).

Level-triggered: every run starts from what Git, the cluster and the stored status say now; memory is a cache.
Nothing waits in a worker: what is not ready ends the run, and the event that changes it starts the next.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from datetime import UTC, datetime

from setpoint.api import names
from setpoint.api.reasons import Problem, Reason
from setpoint.objects.bodies import Body, source_key, sync_model
from setpoint.objects.identity import SyncKey, oid_of
from setpoint.objects.inventory import grouped, ungrouped
from setpoint.plan.desired import OwnershipMarks
from setpoint.plan.goal import Commit
from setpoint.plan.marks import is_dropped, marking
from setpoint.runtime.workqueue import Result
from setpoint.status import build as status
from setpoint.status.conditions import condition_of
from setpoint.status.outcome import Outcome
from setpoint.store.recovery import owned
from setpoint.store.status_writer import RETRYABLE, Deleted, retry_later
from setpoint.syncs.acting import user_of
from setpoint.syncs.builder import NotYet, TargetBuilder
from setpoint.syncs.dispatcher import Dispatcher
from setpoint.syncs.memory import Memory
from setpoint.syncs.run import Context, Evaluation, Reached
from setpoint.syncs.services import Parts
from setpoint.syncs.steps.convergence import Converger
from setpoint.syncs.steps.deletion import Finalizer
from setpoint.syncs.steps.pruner import Pruner
from setpoint.syncs.steps.reporter import Reporter

OTHERS_WAIT = (
    "its spec changed while Setpoint was down: other Syncs delete nothing that it may write for 5 minutes"
)


class Syncs:
    """Reconciles Syncs."""

    def __init__(self, parts: Parts, dispatcher: Dispatcher) -> None:
        self._p, self._dispatcher = parts, dispatcher
        self._builder = TargetBuilder(parts.cluster, parts.store, parts.sources, parts.renderer)
        self._pruner = pruner = Pruner(parts, self._dispatcher)
        self._converger = Converger(parts, self._dispatcher, self._builder, pruner)
        self._reporter = Reporter(parts, self._dispatcher)
        self._finalizer = Finalizer(parts, self._dispatcher, self._reporter, pruner)

    async def reconcile(self, key: SyncKey) -> Result:
        """Bring one Sync up to date, as far as it goes now."""
        body = self._p.store.syncs.get(key)
        if body is None:
            await self._forget(key)
            return Result()
        try:
            return await self._run(key, body, self._dispatcher.memory(key))
        except Deleted:
            self._p.store.drop_sync(key, body["metadata"]["uid"])
            await self._forget(key)
            return Result()
        except NotYet:
            return Result()
        except RETRYABLE as error:
            return retry_later("Sync", key, error)
        except Exception:
            await self._tell_of_bug(key)
            raise  # to the log, and to the next try

    async def _tell_of_bug(self, key: SyncKey) -> None:
        body = self._p.store.syncs.get(key)
        with contextlib.suppress(Deleted, *RETRYABLE):
            if body is not None:
                await self._reporter.tell_of_bug(key, body, self._dispatcher.memory(key).held)

    async def _forget(self, key: SyncKey) -> None:
        await self._p.pods.want(key, (), known=False)
        await self._p.storage.release(key)
        self._p.metrics.forget("Sync", key.namespace, key.name)
        self._dispatcher.forget(key)

    async def _run(self, key: SyncKey, body: Body, memory: Memory) -> Result:
        memory.settled = False
        try:
            ctx = self._context(key, body, memory)
        except Problem as problem:
            return await self._rejected(key, body, problem)
        if "deletionTimestamp" in body["metadata"]:
            self._builder.release(memory, ends=True)
            return await self._finalizer.end(ctx, memory, self._converger.deleter(ctx))
        ctx = self._asked(await self._own(ctx, memory), memory)
        evaluation = await self._evaluation(ctx, memory)
        if (doubt := self._doubt(ctx, evaluation)) is not None:
            return await self._reporter.publish(evaluation, doubt, memory)
        reached = await self._converger.reach(ctx, evaluation, memory)
        self._note(ctx, evaluation, memory)
        return await self._reporter.publish(evaluation, reached, memory)

    def _context(self, key: SyncKey, body: Body, memory: Memory) -> Context:
        """Return what a run starts from. Raises Problem if the spec cannot be used."""
        sync = sync_model(body)
        user, marks = user_of(key, sync, self._p.settings), OwnershipMarks(key, self._dispatcher.label(key))
        began = asyncio.get_running_loop().time()
        return Context.of(key, body, sync, marks, user, held=memory.held, began=began)

    async def _evaluation(self, ctx: Context, memory: Memory) -> Evaluation:
        if not ctx.sync.spec.suspend:
            return self._pruner.without_yielded(ctx, await self._builder.evaluate(ctx, memory))
        self._dispatcher.wake(
            self._p.claims.want(ctx.key, ())
        )  # it takes nothing, so nobody keeps anything for it
        return Evaluation()

    def _doubt(self, ctx: Context, evaluation: Evaluation) -> Reached | None:
        """Have nobody wait for a Sync whose commit is lost, once its Source was asked; says so where others still do."""
        source = source_key(ctx.body)
        if evaluation.commit is not Commit.LOST or not self._p.sources.was_tried(source):
            return None
        left = self._dispatcher.cannot_evaluate(ctx.body, asyncio.get_running_loop().time())
        trouble = self._p.sources.trouble(source)
        why = trouble.message if trouble else f"Source {source} does not bring its commit"
        if left is not None:
            waiting = Problem(Reason.SourceNotReady, f"{why}; {OTHERS_WAIT}")
            return Reached(ctx, waiting=waiting).sooner(left)
        told = (condition_of(ctx.previous, "Ready") or {}).get("message", "")
        return Reached(ctx, waiting=Problem(Reason.SourceNotReady, why)) if OTHERS_WAIT in told else None

    def _note(self, ctx: Context, evaluation: Evaluation, memory: Memory) -> None:
        """Note that a commit was evaluated: who waits to prune may go on."""
        if ctx.sync.spec.suspend or evaluation.commit is Commit.LOST:
            return
        self._builder.release(memory)
        self._dispatcher.evaluated(
            ctx.key, evaluation.current.sha if evaluation.current else None, ctx.generation
        )
        count = len(evaluation.target.refs) if evaluation.target else 0
        self._p.metrics.objects(ctx.key.namespace, ctx.key.name, count)

    async def _rejected(self, key: SyncKey, body: Body, problem: Problem) -> Result:
        """Say that the spec cannot be used; a Sync that is being deleted without an identity is orphaned."""
        if "deletionTimestamp" in body["metadata"]:
            await self._finalizer.orphan(key, body, problem)
            return Result()
        previous, generation = body.get("status") or {}, body["metadata"].get("generation", 0)
        inventory = tuple((v, o) for o, v in ungrouped(previous.get("inventory") or []).items())
        outcome = Outcome(key.namespace, generation, problem=problem, inventory=inventory)
        self._dispatcher.evaluated(key, None, generation)
        await self._reporter.write(key, body, status.build(previous, outcome, datetime.now(UTC)))
        return Result(retry=problem.transient)

    async def _own(self, ctx: Context, memory: Memory) -> Context:
        """See that the finalizer is set, and that the inventory is known: a lost one is rebuilt once.

        And that it does not say that it goes by a commit while none drops it: whoever deletes it for that says so anew.
        """
        if is_dropped(ctx.body) and not self._dispatcher.dropped(ctx.key):
            patch = marking(ctx.body, None)
            ctx = replace(ctx, body=await self._p.writer.annotations(oid_of(ctx.key), ctx.body, patch))
        finalizers = ctx.body["metadata"].get("finalizers") or []
        if names.FINALIZER not in finalizers:
            wanted = [*finalizers, names.FINALIZER]
            body = await self._p.writer.finalizers(oid_of(ctx.key), ctx.body, wanted)
            ctx = ctx.written(body) if memory.held is None else replace(ctx, body=body)
        elif not ctx.previous and not memory.known:
            found = await owned(self._p.cluster, ctx.key, ctx.marks.label)
            if found:
                status = {**ctx.previous, "inventory": grouped((v, o) for o, v in found.items())}
                ctx = ctx.written(await self._p.writer.write(oid_of(ctx.key), ctx.body, status))
            self._dispatcher.record(ctx.key, found)
        memory.known = True
        return ctx

    def _asked(self, ctx: Context, memory: Memory) -> Context:
        """Have the Source asked first when a check is requested; the request is answered by the run after that."""
        requested = (ctx.body["metadata"].get("annotations") or {}).get(names.ANNOTATION_REQUESTED)
        source = source_key(ctx.body)
        known = (ctx.previous.get("requested"), memory.asked)
        if requested is not None and requested not in known and not ctx.sync.spec.suspend:
            memory.asked, memory.trigger = requested, "Requested"
            memory.failed.clear()
            memory.full_check_at = 0.0
            self._p.sources.wait_for_check(source, ctx.key, requested)
            self._p.source_queue.add(source)
        # Not at the end of the run: a check that ends meanwhile may find a commit that this run knows nothing of.
        checked = requested is not None and self._p.sources.was_checked(source, ctx.key, requested)
        return replace(ctx, answers=requested if checked else None)
