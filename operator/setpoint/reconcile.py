"""The whole story of a Sync on one page: gather, decide, act, tell (shell).

Level-triggered: every run starts from what Git, the cluster and the stored status say now; memory is a cache.
Nothing waits in a worker: what is not ready ends the run, and the event that changes it starts the next.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime

from setpoint import names, status
from setpoint.api import Sync
from setpoint.cluster_errors import ApiError, problem_of
from setpoint.desired import Desired, Stamp
from setpoint.ending import Ender
from setpoint.fleet import Fleet
from setpoint.holding import Holder
from setpoint.inventory import grouped, ungrouped
from setpoint.memory import Memory
from setpoint.objects import SyncKey
from setpoint.outcome import Outcome
from setpoint.parts import Parts
from setpoint.pruning import Pruner
from setpoint.queue import Result
from setpoint.reasons import Problem, Reason
from setpoint.rebuilding import owned
from setpoint.run import Run, oid_of
from setpoint.setback import SETBACKS, retried
from setpoint.status_writer import Gone
from setpoint.store import Body, source_key, sync_model
from setpoint.targets import NotYet, Targets
from setpoint.telling import Teller


class Syncs:
    """Reconciles Syncs."""

    def __init__(self, parts: Parts, fleet: Fleet) -> None:
        """All parts are shared; memory is per Sync."""
        self._p, self._fleet = parts, fleet
        self._targets = Targets(parts.cluster, parts.store, parts.sources, parts.renderer)
        pruner = Pruner(parts, self._fleet)
        self._holder = Holder(parts, self._fleet, self._targets, pruner)
        self._teller = Teller(parts, self._fleet)
        self._ender = Ender(parts, self._fleet, self._teller, pruner)

    async def reconcile(self, key: SyncKey) -> Result:
        """Bring one Sync up to date, as far as it goes now."""
        body = self._p.store.syncs.get(key)
        if body is None:
            await self._forget(key)
            return Result()
        try:
            return await self._run(key, body, self._fleet.memory(key))
        except Gone:
            self._p.store.drop_sync(key, body["metadata"]["uid"])
            await self._forget(key)
            return Result()
        except NotYet:
            return Result()
        except SETBACKS as error:
            return retried("Sync", key, error)
        except Exception:
            await self._tell_of_bug(key)
            raise  # to the log, and to the next try

    async def _tell_of_bug(self, key: SyncKey) -> None:
        body = self._p.store.syncs.get(key)
        with contextlib.suppress(Gone, *SETBACKS):
            if body is not None:
                await self._teller.tell_of_bug(key, body, self._fleet.memory(key).held)

    async def _forget(self, key: SyncKey) -> None:
        await self._p.pods.want(key, (), known=False)
        self._p.telemetry.forget("Sync", key.namespace, key.name)
        self._fleet.forget(key)

    async def _run(self, key: SyncKey, body: Body, memory: Memory) -> Result:
        memory.settled = False
        try:
            sync = sync_model(body)
            user = self._user(key, sync)
        except Problem as problem:
            return await self._rejected(key, body, problem)
        stamp, began = Stamp(key, self._fleet.label(key)), asyncio.get_running_loop().time()
        run = Run(key, body, sync, memory, stamp, user, began=began)
        if "deletionTimestamp" in body["metadata"]:
            self._targets.release(memory, ends=True)
            return await self._ender.end(run, self._holder.remover(run))
        await self._own(run)
        if lent := self._p.claims.lent(key):
            run.lent = {o: v for o, v in run.inventory.items() if o in lent}
        requested = (body["metadata"].get("annotations") or {}).get(names.ANNOTATION_REQUESTED)
        if not sync.spec.suspend:
            self._ask(run, requested)
        # Not at the end of the run: a check that ends meanwhile may find a commit that this run knows nothing of.
        run.answers = requested if self._is_checked(run, requested) else None
        if sync.spec.suspend:
            self._fleet.wake(
                self._p.claims.want(key, ())
            )  # it takes nothing, so nobody keeps anything for it
            await self._look(run)
        else:
            await self._evaluate(run)
        return await self._teller.tell(run)

    def _user(self, key: SyncKey, sync: Sync) -> str:
        name, settings = sync.spec.service_account_name, self._p.settings
        if name:
            return f"system:serviceaccount:{key.namespace}:{name}"
        if key.namespace in settings.admin_namespaces:
            return f"system:serviceaccount:{settings.namespace}:{settings.admin_service_account}"
        text = f"set spec.serviceAccountName: namespace {key.namespace} is none of the admin namespaces"
        raise Problem(Reason.ServiceAccountRequired, text)

    async def _rejected(self, key: SyncKey, body: Body, problem: Problem) -> Result:
        """Say that the spec cannot be used; a Sync that is being deleted without an identity is orphaned."""
        if "deletionTimestamp" in body["metadata"]:
            await self._ender.orphan(key, body, problem)
            return Result()
        previous, generation = body.get("status") or {}, body["metadata"].get("generation", 0)
        inventory = tuple((v, o) for o, v in ungrouped(previous.get("inventory") or []).items())
        outcome = Outcome(key.namespace, generation, problem=problem, inventory=inventory)
        self._fleet.evaluated(key, None, generation)
        await self._teller.write(key, body, status.build(previous, outcome, datetime.now(UTC)))
        return Result(retry=problem.transient)

    async def _own(self, run: Run) -> None:
        """See that the finalizer is set, and that the inventory is known: a lost one is rebuilt once."""
        finalizers = run.body["metadata"].get("finalizers") or []
        if names.FINALIZER not in finalizers:
            wanted = [*finalizers, names.FINALIZER]
            run.body = await self._p.writer.finalizers(oid_of(run.key), run.body, wanted)
        elif not run.previous and not run.memory.known:
            found = await owned(self._p.cluster, run.key, run.stamp.label)
            entries = grouped((v, o) for o, v in found.items())
            if entries:
                new = {**run.previous, "inventory": entries}
                run.body = await self._p.writer.write(oid_of(run.key), run.body, new)
            self._fleet.record(run.key, found)
        run.memory.known = True

    def _ask(self, run: Run, requested: str | None) -> None:
        """Have the Source asked first when a check is requested; the request is answered by the run after that."""
        memory = run.memory
        if requested is None or requested in (run.previous.get("requested"), memory.asked):
            return
        memory.asked, memory.trigger = requested, "Requested"
        memory.failed.clear()
        memory.full_check_at = 0.0
        self._p.sources.wait_for_check(source_key(run.body), run.key, requested)
        self._p.source_queue.add(source_key(run.body))

    def _is_checked(self, run: Run, requested: str | None) -> bool:
        return requested is not None and self._p.sources.was_checked(source_key(run.body), run.key, requested)

    async def _evaluate(self, run: Run) -> None:
        """Find the target and hold the cluster to it. Sets `problem`, `waiting` and the rest of the run."""
        loaded: Sequence[Desired] | None = None
        try:
            loaded = await self._find(run)
        except Problem as problem:
            run.problem = problem
        except NotYet:
            await self._holder.compare(run)
            return
        try:
            await self._holder.hold(run, loaded)
        except ApiError as error:
            run.problem = run.problem or await self._unreadable(run, error)
            run.retry = True
        except Problem as problem:
            run.problem = run.problem or problem
        self._targets.release(run.memory)
        self._fleet.evaluated(run.key, run.current.sha if run.current else None, run.generation)
        count = len(run.target.refs) if run.target else 0
        self._p.telemetry.objects(run.key.namespace, run.key.name, count)

    async def _look(self, run: Run) -> None:
        """See how the objects of a suspended Sync are: nothing is done, but it is told."""
        try:
            await self._holder.look(run)
        except ApiError as error:
            run.problem, run.retry = await self._unreadable(run, error), True

    async def _find(self, run: Run) -> Sequence[Desired] | None:
        """Find the target; gives its manifests where they had to be made anyway."""
        _, run.current = self._targets.source(run.key, run.sync)
        run.target, full = await self._targets.at(
            run.sync, run.memory, run.current, run.current.sha, run.stamp, run.previous
        )
        run.memory.target = run.target
        return full.desired if full else None

    async def _unreadable(self, run: Run, error: ApiError) -> Problem:
        """Say why objects cannot be read; a kind that is not served any more has discovery asked again."""
        if error.status != 404:
            return problem_of(error, oid_of(run.key), "reconcile")
        await self._targets.discover()
        return Problem(Reason.KindUnknown, "a kind of this Sync is not served any more, or not yet again")
