"""Reports a run: the status, Events, metrics, and when to run again (shell around `status.build`)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from setpoint.api.formats import seconds, short
from setpoint.api.reasons import Problem, Reason
from setpoint.health import claims
from setpoint.kube.event_recorder import Recorder
from setpoint.objects.identity import ObjectId, SyncKey, oid_of
from setpoint.objects.inventory import grouped, ungrouped
from setpoint.objects.observed import Observed
from setpoint.plan.drift import ownership_digest
from setpoint.plan.endings.course import over
from setpoint.plan.endings.ending import Ending
from setpoint.plan.endings.ending import grouped as grouped_endings
from setpoint.plan.goal import Commit
from setpoint.runtime.metrics import Metrics
from setpoint.runtime.workqueue import Result
from setpoint.status import build as status
from setpoint.status import pacing
from setpoint.status.announcements import RunSummary, announcements
from setpoint.status.conditions import condition_of
from setpoint.status.outcome import Outcome, Revision
from setpoint.store.index import Store
from setpoint.store.status_writer import StatusWriter
from setpoint.syncs.dispatcher import Dispatcher
from setpoint.syncs.memory import Memory
from setpoint.syncs.notes import Note
from setpoint.syncs.run import Context, Evaluation, Reached
from setpoint.syncs.steps.object_states import states_of
from setpoint.syncs.target import Target
from setpoint.watch import pod_states
from setpoint.watch.protocol import LiveObjects, Pods, Storage

# Not the error itself: it may quote a Secret, and says nothing to who reads a status.
BUG = "internal error; retrying. See 'work failed unexpectedly' in the operator's log"


class Reporter:
    """Reports one run after another."""

    def __init__(
        self,
        informers: LiveObjects,
        pods: Pods,
        storage: Storage,
        store: Store,
        writer: StatusWriter,
        recorder: Recorder,
        metrics: Metrics,
        dispatcher: Dispatcher,
    ) -> None:
        self._informers, self._pods, self._storage = informers, pods, storage
        self._store, self._writer = store, writer
        self._recorder, self._metrics, self._dispatcher = recorder, metrics, dispatcher

    async def publish(self, evaluation: Evaluation, reached: Reached, memory: Memory) -> Result:
        """Write the result of a run, if it differs from what is stored; returns when to run again."""
        ctx, now = reached.ctx, asyncio.get_running_loop().time()
        inventory = _next_inventory(evaluation, reached)
        await self._pods.keep(ctx.key, reached.pruned.in_use or ())
        await self._ask_pods(ctx, evaluation, memory)
        outcome = self._outcome(evaluation, reached, memory, inventory)
        new = status.build(ctx.previous, outcome, datetime.now(UTC))
        self._announce(evaluation, reached, memory, new)
        reached = self._paced(reached, memory, new)
        fresh = bool(reached.applied.written)
        memory.telling, until = memory.telling.hold_back(ctx.stored, new, now, fresh=fresh)
        if until is None:
            # A write that fails must not take along what this run has to tell.
            memory.telling = replace(memory.telling, held=new)
            await self.write(ctx.key, ctx.body, new)
        untried = reached.provisional
        claimed = inventory.keys() - untried if untried else inventory
        self._dispatcher.record(ctx.key, claimed, reached.pruned.lent)
        if self._dispatcher.dropped(ctx.key) and inventory.keys() != ctx.inventory.keys():
            self._dispatcher.shrunk(ctx.key)
        took = asyncio.get_running_loop().time() - ctx.began
        self._metrics.reconciled("Sync", _ready(new)["reason"], took)
        return Result(after=reached.sooner(until).again, retry=reached.retries)

    async def claim(
        self,
        ctx: Context,
        memory: Memory,
        inventory: Mapping[ObjectId, str],
        endings: Mapping[ObjectId, Ending],
        untried: Collection[ObjectId] = (),
    ) -> Context:
        """Write an inventory before anything else is told; returns the run's start as it is then.

        What of it is `untried` is wanted, too: by that a later process knows that it is not claimed.
        """
        status = {**ctx.previous, "inventory": grouped((v, o) for o, v in inventory.items())}
        before = {o: v for o, v in ungrouped(ctx.previous.get("wants") or []).items() if o not in inventory}
        if wanted := {**before, **{o: inventory[o] for o in untried if o in inventory}}:
            status["wants"] = grouped((v, o) for o, v in wanted.items())
        else:
            status.pop("wants", None)
        if endings:
            status["endings"] = grouped_endings(endings)
        body = await self._writer.write(oid_of(ctx.key), ctx.body, status)
        memory.telling = replace(memory.telling, held=None)
        return ctx.written(body)

    def count(self, ctx: Context, evaluation: Evaluation) -> None:
        """Note in the metrics how many objects a Sync has in Git."""
        count = evaluation.target.total if evaluation.target else 0
        self._metrics.objects(ctx.key.namespace, ctx.key.name, count)

    async def forget(self, key: SyncKey) -> None:
        """Forget a Sync that is gone."""
        await self._pods.want(key, (), known=False)
        await self._pods.keep(key, ())
        await self._storage.release(key)
        self._metrics.forget("Sync", key.namespace, key.name)

    async def tell_of_bug(
        self, key: SyncKey, body: Mapping[str, Any], held: Mapping[str, Any] | None
    ) -> None:
        """Report an internal error, whose details only the log has; `held` is a status not written yet."""
        previous, generation = held or body.get("status") or {}, int(body["metadata"].get("generation", 0))
        bug = Problem(Reason.InternalError, BUG)
        await self.write(key, body, status.broken(previous, generation, bug, datetime.now(UTC)))

    async def write(self, key: SyncKey, body: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        """Write a status if it differs; those who depend on this Sync are woken when they may care."""
        ready = _ready(new)
        self._metrics.ready("Sync", key.namespace, key.name, ready=ready["status"] == "True")
        before = condition_of(body.get("status") or {}, "Ready")
        await self._writer.write(oid_of(key), body, new)
        memory = self._dispatcher.memory(key)
        memory.telling = replace(memory.telling, held=None)
        self._dispatcher.told(key)
        if before is None or before["status"] != ready["status"]:
            self._dispatcher.wake(self._store.dependents(key))

    def _outcome(
        self,
        evaluation: Evaluation,
        reached: Reached,
        memory: Memory,
        inventory: Mapping[ObjectId, str],
    ) -> Outcome:
        ctx, target, current = reached.ctx, evaluation.target, evaluation.current
        states = states_of(evaluation, reached, memory, self._look)
        return Outcome(
            namespace=ctx.key.namespace,
            generation=_observed(ctx, evaluation),
            desired=Revision(target.revision, target.digest) if target else None,
            attempted=current.revision if current and target is None else "",
            requested=ctx.answers,
            problem=reached.problem,
            waiting=reached.awaits,
            refused=reached.pruned.refused,
            in_use=reached.pruned.in_use or {},
            complete=reached.complete,
            ownership=self._ownership(target, memory, reached) if reached.complete and target else "",
            states=(*states, *reached.pruned.states),
            inventory=tuple((v, o) for o, v in inventory.items()),
            leaving=tuple((inventory[o], o) for o in _leaving(evaluation, reached) if o in inventory),
            endings=reached.endings,
            wants=_wants(evaluation, reached, inventory),
            corrections=reached.corrections,
            changed=len(reached.applied.written) + len(reached.pruned.deleted),
            started=memory.occasion.started,
            trigger=memory.occasion.trigger,
            timeout=seconds(ctx.sync.spec.timeout),
            waited=_waited(memory, ctx.previous),
            suspended=ctx.sync.spec.suspend,
        )

    async def _ask_pods(self, ctx: Context, evaluation: Evaluation, memory: Memory) -> None:
        """Watch the pods of unhealthy workloads, and of claims that wait for one, as long as they do."""
        target = None if ctx.sync.spec.suspend else evaluation.target or memory.built.good
        found = (self._informers.get(r.id) for r in (target.refs if target else ()))
        seen = [o for o in found if o is not None and o.owner == ctx.key]
        late = await self._late(ctx.key, seen)
        healthy = condition_of(ctx.previous, "Healthy")
        stuck = healthy is not None and healthy["reason"] == str(Reason.Degraded)
        workloads = [o.id for o in seen if pod_states.in_question(o.id, o.verdict)]
        # A claim says the same of itself with a pod and without one.
        await self._pods.want(ctx.key, (*workloads, *late), known=stuck or bool(late))

    async def _late(self, key: SyncKey, seen: Iterable[Observed]) -> list[ObjectId]:
        """Return the claims that wait for their first consumer."""
        unbound = [(o.id, o.unbound) for o in seen if o.unbound is not None]
        if not unbound:
            await self._storage.release(key)
            return []
        classes = await self._storage.want(key)
        return [oid for oid, claim in unbound if claims.binds_late(claim, classes)]

    def _look(self, oid: ObjectId) -> Observed | None:
        """Return what is known of an object, in the words of its pods where those tell more."""
        seen = self._informers.get(oid)
        if seen is None:
            return None
        if seen.unbound is not None:
            late = claims.binds_late(seen.unbound, self._storage.known())
            mounted = self._pods.mounted(oid)
            verdict = claims.judged(seen.verdict, seen.unbound, late=late, mounted=mounted)
        else:
            verdict = pod_states.refined(oid, seen.verdict, self._pods.verdict(oid))
        return seen if verdict is seen.verdict else replace(seen, verdict=verdict)

    def _ownership(self, target: Target, memory: Memory, reached: Reached) -> str:
        """Return the digest of who owns what, by which a restart knows that all is well; none if it is not."""
        baselines = memory.account.baselines
        if any((b := baselines.get(r.id)) and b.digest != r.digest for r in target.refs):
            return ""
        done = over(reached.course, target.refs, self._informers.get)
        refs = [r for r in target.refs if r.id not in done]
        found = [o for r in refs if (o := self._informers.get(r.id)) is not None]
        return ownership_digest(found) if len(found) == len(refs) else ""

    @staticmethod
    def _paced(reached: Reached, memory: Memory, new: Mapping[str, Any]) -> Reached:
        """Come back for what no event announces: the time-out of a rollout, the safety-net interval."""
        waited, now = _waited(memory, new), asyncio.get_running_loop().time()
        healthy = next(c for c in new["conditions"] if c["type"] == "Healthy")
        spec, due = reached.ctx.sync.spec, memory.full_check_at
        if healthy["reason"] == str(Reason.Progressing) and new.get("applied"):
            pause = pacing.rollout(waited, seconds(spec.timeout), complete=reached.complete)
            reached = reached.sooner(pause)
        if due is not None and not spec.suspend:
            reached = reached.sooner(pacing.safety_net(due, now, seconds(spec.interval)))
        return reached

    def _announce(
        self, evaluation: Evaluation, reached: Reached, memory: Memory, new: Mapping[str, Any]
    ) -> None:
        """Post Events about what is new."""
        ctx, target = reached.ctx, evaluation.target
        deeds = RunSummary(
            home=ctx.key.namespace,
            revision=short(target.revision) if target else "",
            total=len(target.refs) if target else 0,
            took=asyncio.get_running_loop().time() - ctx.began,
            corrections=reached.corrections,
            written=reached.applied.written,
            pruned=reached.pruned.deleted,
            warnings=reached.applied.warnings,
            notes=tuple((str(n.reason), n.message) for n in _new_notes(ctx, target, memory)),
        )
        for a in announcements(deeds, condition_of(ctx.previous, "Ready"), _ready(new)):
            self._recorder.record(ctx.body, a.type, a.reason, a.message)


def _new_notes(ctx: Context, target: Target | None, memory: Memory) -> tuple[Note, ...]:
    """Return what is said of a commit's manifests, once for each commit that changes them."""
    applied = (ctx.previous.get("applied") or {}).get("digest")
    if target is None or target.digest in (applied, memory.telling.noted):
        return ()
    memory.telling = replace(memory.telling, noted=target.digest)
    return target.notes


def _next_inventory(evaluation: Evaluation, reached: Reached) -> Mapping[ObjectId, str]:
    target, pruned = evaluation.target, reached.pruned
    if not reached.complete or target is None:
        left = pruned.released.keys() | reached.disowned
        return {o: v for o, v in reached.ctx.inventory.items() if o not in left}
    desired = {r.id: r.api_version for r in target.refs if r.id not in reached.contested}
    return {**desired, **pruned.kept}


def _leaving(evaluation: Evaluation, reached: Reached) -> Iterable[ObjectId]:
    """Return what left Git and is still used; as before, but what is in Git again, where nobody looked."""
    if reached.pruned.in_use is not None:
        return reached.pruned.in_use
    desired = evaluation.target.ids if evaluation.target else ()
    return [o for o in reached.ctx.leaving if o not in desired]


def _observed(ctx: Context, evaluation: Evaluation) -> int:
    """Return the generation that a status is of: while the commit is lost nobody knows what a new spec asks for."""
    if evaluation.commit is not Commit.LOST:
        return ctx.generation
    return int(ctx.previous.get("observedGeneration") or 0)


def _wants(
    evaluation: Evaluation, reached: Reached, inventory: Mapping[ObjectId, str]
) -> tuple[tuple[str, ObjectId], ...] | None:
    """Return what a Sync wants and does not own; None where nobody knows, and what it wanted before holds."""
    # Without them it would count as claimed from the next run on.
    untried = tuple((inventory[o], o) for o in reached.provisional if o in inventory)
    if reached.ctx.sync.spec.suspend:
        return untried
    if evaluation.target is None:
        return None
    return (*((v, o) for o, v in reached.wants.items() if o not in inventory), *untried)


def _waited(memory: Memory, state: Mapping[str, Any]) -> float:
    """Return the seconds since what a status says was applied; the sooner it is asked the first time, the better."""
    applied = state.get("applied")
    clock = asyncio.get_running_loop().time()
    if not applied:
        return 0.0
    rollout = memory.telling.rollout.counting(applied["at"], datetime.now(UTC), clock)
    memory.telling = replace(memory.telling, rollout=rollout)
    return rollout.seconds(clock)


def _ready(new: Mapping[str, Any]) -> Mapping[str, Any]:
    return next(c for c in new["conditions"] if c["type"] == "Ready")
