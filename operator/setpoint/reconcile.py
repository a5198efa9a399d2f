"""The whole story of a Sync on one page: gather, decide, act, tell (shell).

Level-triggered: every run starts from what Git, the cluster and the stored status say now; memory is a cache.
Nothing waits in a worker: what is not ready ends the run, and the event that changes it starts the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from setpoint import names, plan, status
from setpoint.announce import Deeds, announcements
from setpoint.api import Drift, OnError, Sync
from setpoint.apply import Applied, Applier, Identity, shown_patch, shown_value
from setpoint.claims import Claims
from setpoint.cluster import Cluster
from setpoint.cluster_errors import ApiError, problem_of
from setpoint.deletion import Deletion
from setpoint.desired import Desired, Stamp
from setpoint.events import Events
from setpoint.live import Live
from setpoint.memory import Baseline, Memory, Ref, Target
from setpoint.objects import ObjectId, Observed, SyncKey, digest, observe, sync_label
from setpoint.plan import Action, Change
from setpoint.queue import Result
from setpoint.reasons import Problem, Reason
from setpoint.removal import Remover
from setpoint.render import Renderer
from setpoint.revisions import seconds, short
from setpoint.settings import Settings
from setpoint.sources import Current, Sources
from setpoint.status import Correction, ObjectState, Outcome, Revision, SyncState
from setpoint.status_writer import Gone, Moved, StatusWriter
from setpoint.store import Body, Store, source_key, sync_model
from setpoint.targets import NotYet, Targets
from setpoint.telemetry import Telemetry


@dataclass(frozen=True, slots=True)
class Parts:
    """What a reconcile works with; made once in `handlers`."""

    settings: Settings
    cluster: Cluster
    live: Live
    store: Store
    claims: Claims
    sources: Sources
    renderer: Renderer
    writer: StatusWriter
    events: Events
    telemetry: Telemetry
    cluster_id: str
    secret_key: bytes
    wake: Callable[[SyncKey], None]
    wake_source: Callable[[SyncKey], None]


@dataclass(slots=True)
class Run:
    """One run over one Sync: what was gathered, and what came of it."""

    key: SyncKey
    body: Body
    sync: Sync
    memory: Memory
    stamp: Stamp
    user: str
    current: Current | None = None
    target: Target | None = None
    problem: Problem | None = None
    waiting: Problem | None = None
    refused: str = ""
    applied: Applied = field(default_factory=Applied)
    contested: dict[ObjectId, SyncKey] = field(default_factory=dict)
    extra: list[ObjectState] = field(default_factory=list)
    kept: dict[ObjectId, str] = field(default_factory=dict)
    pruned: list[ObjectId] = field(default_factory=list)
    corrections: list[Correction] = field(default_factory=list)
    again: float | None = None
    retry: bool = False
    pending: bool = True
    """Whether the target differs from what was applied last."""
    complete: bool = False
    began: float = 0.0

    @property
    def previous(self) -> Mapping[str, Any]:
        """The status as stored."""
        return self.body.get("status") or {}

    @property
    def inventory(self) -> dict[ObjectId, str]:
        """The inventory as stored: identity -> apiVersion."""
        return status.ungrouped(self.previous.get("inventory") or [])

    def sooner(self, delay: float) -> None:
        """Ask for another run after at most `delay` seconds."""
        self.again = delay if self.again is None else min(self.again, delay)


class Syncs:
    """Reconciles Syncs."""

    def __init__(self, parts: Parts) -> None:
        """All parts are shared; memory is per Sync."""
        self._p = parts
        self._memory: dict[SyncKey, Memory] = {}
        self._labels: dict[str, SyncKey] = {}
        self._targets = Targets(parts.cluster, parts.store, parts.sources, parts.renderer)
        self._deletion = Deletion(parts.cluster, parts.store)
        self._limit = asyncio.Semaphore(parts.settings.apply_concurrency)
        self._evaluated: set[SyncKey] = set()
        self._prune_waiters: set[SyncKey] = set()
        people = frozenset(parts.settings.people_managers)
        self._people, self._takeover = people, people | plan.TAKEOVER_MANAGERS

    # --- what wakes a Sync

    def seen(self, body: Body) -> SyncKey:
        """Note a Sync that the watch or a list brought, with its claims; gives its key."""
        key = SyncKey(body["metadata"]["namespace"], body["metadata"]["name"])
        self._labels[sync_label(self._p.cluster_id, key)] = key
        if key not in self._memory:
            inventory = status.ungrouped((body.get("status") or {}).get("inventory") or [])
            self._wake_all(self._p.claims.record(key, inventory))
        return key

    def changed(self, oid: ObjectId, before: Observed | None, after: Observed | None) -> None:
        """Wake the Syncs that a change of a live object concerns; changes that say nothing new wake nobody."""
        for label in {o.sync_label for o in (before, after) if o is not None}:
            key = self._labels.get(label)
            if key is not None and self._concerns(key, oid, after):
                self._p.wake(key)

    def _concerns(self, key: SyncKey, oid: ObjectId, after: Observed | None) -> bool:
        memory = self._memory.get(key)
        if memory is None:
            return True
        base = memory.baselines.get(oid)
        touched = base is None or after is None or base.ownership != after.ownership or after.owner != key
        if base is not None and touched:
            memory.detected.setdefault(oid, _precise(datetime.now(UTC)))
        return True

    def _wake_all(self, keys: set[SyncKey]) -> None:
        for key in keys:
            self._p.wake(key)

    # --- one run

    async def reconcile(self, key: SyncKey) -> Result:
        """Bring one Sync up to date, as far as it goes now."""
        body = self._p.store.syncs.get(key)
        if body is None:
            self._forget(key)
            return Result()
        memory = self._memory.setdefault(key, Memory())
        try:
            return await self._run(key, body, memory)
        except Gone:
            self._p.store.drop_sync(key)
            self._forget(key)
            return Result()
        except NotYet:
            self._p.wake_source(source_key(body))
            return Result()
        except Moved:
            return Result(retry=True)

    def _forget(self, key: SyncKey) -> None:
        self._memory.pop(key, None)
        self._evaluated.discard(key)
        self._prune_waiters.discard(key)
        self._labels.pop(sync_label(self._p.cluster_id, key), None)
        self._p.telemetry.forget("Sync", key.namespace, key.name)
        self._wake_all(self._p.claims.drop(key) | set(self._p.store.dependents(key)) | self._prune_waiters)

    async def _run(self, key: SyncKey, body: Body, memory: Memory) -> Result:
        stamp = Stamp(key, sync_label(self._p.cluster_id, key))
        loop = asyncio.get_running_loop()
        try:
            sync = sync_model(body)
            user = self._user(key, sync)
        except Problem as problem:
            return await self._rejected(key, body, problem)
        run = Run(key, body, sync, memory, stamp, user, began=loop.time())
        if "deletionTimestamp" in body["metadata"]:
            return await self._delete(run)
        if names.FINALIZER not in (body["metadata"].get("finalizers") or []):
            wanted = [*(body["metadata"].get("finalizers") or []), names.FINALIZER]
            run.body = await self._p.writer.finalizers(_oid(key), body, wanted)
        elif not run.previous and not memory.known:
            await self._rebuild(run)
        memory.known = True
        requested = (body["metadata"].get("annotations") or {}).get(names.ANNOTATION_REQUESTED)
        if not sync.spec.suspend:
            self._ask(run, requested)
            await self._evaluate(run)
        return await self._tell(run, requested)

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
        previous: Mapping[str, Any] = body.get("status") or {}
        generation = body["metadata"].get("generation", 0)
        if "deletionTimestamp" in body["metadata"]:
            self._p.events.record(
                body, "Warning", str(Reason.Orphaned), f"objects stay in the cluster: {problem.message}"
            )
            await self._release(key, body)
            return Result()
        inventory = tuple((v, o) for o, v in status.ungrouped(previous.get("inventory") or []).items())
        outcome = Outcome(key.namespace, generation, problem=problem, inventory=inventory)
        self._note_evaluated(key, None, generation)
        await self._write(key, body, status.build(previous, outcome, datetime.now(UTC)))
        return Result(retry=problem.transient)

    # --- gather and decide

    def _ask(self, run: Run, requested: str | None) -> None:
        """Have the Source asked first when a check is requested; the request is answered by the run after that."""
        memory = run.memory
        if requested is None or requested == run.previous.get("requested"):
            return
        if memory.asked != requested:
            memory.asked, memory.trigger = requested, "Requested"
            memory.failed.clear()
            memory.full_check_at = 0.0
            self._p.sources.wait_for_check(source_key(run.body), run.key, requested)
            self._p.wake_source(source_key(run.body))

    async def _evaluate(self, run: Run) -> None:
        """Find the target, bring it to the cluster, prune. Sets `problem`, `waiting` and the rest of the run."""
        p, memory = self._p, run.memory
        loaded: Sequence[Desired] | None = None
        sha: str | None = None
        try:
            _, run.current = self._targets.source(run.key, run.sync)
            sha = run.current.sha
            run.target, full = await self._targets.at(
                run.sync, memory, run.current, sha, run.stamp, run.previous
            )
            loaded = full.desired if full else None
            memory.target = run.target
        except Problem as problem:
            run.problem = problem
        generation = run.body["metadata"].get("generation", 0)
        try:
            await self._hold(run, loaded)
        except ApiError as error:
            run.problem = run.problem or await self._unreadable(run, error)
            run.retry = True
        except Problem as problem:
            run.problem = run.problem or problem
        self._note_evaluated(run.key, sha, generation)
        p.telemetry.objects(run.key.namespace, run.key.name, len(run.target.refs) if run.target else 0)

    async def _unreadable(self, run: Run, error: ApiError) -> Problem:
        """Say why objects cannot be read; a kind that is not served any more has discovery asked again."""
        if error.status != 404:
            return problem_of(error, _oid(run.key), "reconcile")
        await self._targets.discover()
        return Problem(Reason.KindUnknown, "a kind of this Sync is not served any more, or not yet again")

    def _note_evaluated(self, key: SyncKey, sha: str | None, generation: int) -> None:
        """Note that a Sync saw this commit: dependents and those who wait to prune may go on."""
        memory = self._memory.setdefault(key, Memory())
        news = memory.evaluated != (sha or "", generation)
        memory.evaluated = (sha or "", generation)
        if key not in self._evaluated or news:
            self._evaluated.add(key)
            self._wake_all(set(self._p.store.dependents(key)))
            waiters = self._prune_waiters - {key}
            self._prune_waiters -= waiters
            self._wake_all(waiters)

    async def _hold(self, run: Run, loaded: Sequence[Desired] | None) -> None:
        """Bring the target to the cluster, or hold what was applied last while the target cannot be had."""
        target, memory = run.target, run.memory
        good = memory.good or await self._recovered_good(run)
        if target is None:
            await self._enforce(run, good)
            return
        await self._p.live.require(self._kinds(run, target))
        self._restore(run, target)
        run.contested = self._p.claims.contested(run.key, (r.id for r in target.refs))
        self._wake_all(self._p.claims.want(run.key, run.contested))
        run.pending = pending = target.digest != (run.previous.get("applied") or {}).get("digest")
        if pending and (words := self._dependency(run)):
            run.waiting = Problem(Reason.DependencyNotReady, words)
            await self._enforce(run, good)
            return
        await self._converge(run, target, loaded, pending=pending)
        failed = bool(run.applied.failed) or bool(target.unplaced)
        if failed and good is not None and good.digest != target.digest:
            await self._enforce(run, good)
        run.complete = not failed and not run.applied.deferred and not run.contested
        if run.complete:
            memory.good = target
            await self._prune(run, target)

    def _kinds(self, run: Run, target: Target) -> list[Any]:
        cluster = self._p.cluster
        kinds = [cluster.kind(r.api_version, r.id.kind) for r in target.refs]
        kinds += [cluster.kind_of_group(o.group, o.kind) for o in run.inventory]
        return list(dict.fromkeys(k for k in kinds if k is not None))

    async def _recovered_good(self, run: Run) -> Target | None:
        """Give what was applied last, after a restart: rendered from that commit if the mirror still has it."""
        applied = run.previous.get("applied")
        if not applied or run.current is None:
            return None
        if run.target is not None and run.target.digest == applied["digest"]:
            return run.target
        sha = applied["revision"].rpartition("sha1:")[2]
        try:
            target, _ = await self._targets.at(run.sync, Memory(), run.current, sha, run.stamp, run.previous)
        except (Problem, NotYet):
            return None
        return target

    def _restore(self, run: Run, target: Target) -> None:
        """After a restart: take the lists for the baseline if their digest is the one that was stored."""
        memory, applied = run.memory, run.previous.get("applied") or {}
        if memory.baselines or applied.get("digest") != target.digest or not applied.get("ownership"):
            return
        seen = {r.id: self._p.live.get(r.id) for r in target.refs}
        if all(seen.values()) and ownership_digest([o for o in seen.values() if o]) == applied["ownership"]:
            memory.baselines = {
                r.id: Baseline(r.digest, o.ownership, o.changed_by)
                for r in target.refs
                if (o := seen[r.id]) is not None
            }

    def _dependency(self, run: Run) -> str | None:
        """Say which Sync this one waits for; None if all are Ready at the same commit."""
        home = run.key.namespace
        mine = source_key(run.body)
        for ref in run.sync.spec.depends_on:
            other = SyncKey(ref.namespace or home, ref.name)
            body = self._p.store.syncs.get(other)
            if body is None:
                return f"Sync {other} does not exist"
            if run.key in self._upstream(other):
                return f"dependsOn forms a cycle through Sync {other}; remove one of its links"
            ready = status.condition_of(body.get("status") or {}, "Ready")
            if ready is None or ready["status"] != "True":
                return f"Sync {other} is not Ready" + (f": {ready['message']}" if ready else " yet")
            memory = self._memory.get(other)
            sha = run.current.sha if run.current and source_key(body) == mine else None
            state = memory.evaluated if memory else None
            if state is None or state[1] != body["metadata"].get("generation") or (sha and state[0] != sha):
                return f"Sync {other} has not seen this commit yet"
        return None

    def _upstream(self, key: SyncKey) -> set[SyncKey]:
        found: set[SyncKey] = set()
        todo = [key]
        while todo:
            body: Mapping[str, Any] = self._p.store.syncs.get(todo.pop()) or {}
            home = (body.get("metadata") or {}).get("namespace", "")
            for d in (body.get("spec") or {}).get("dependsOn") or []:
                other = SyncKey(d.get("namespace") or home, d["name"])
                if other not in found:
                    found.add(other)
                    todo.append(other)
        return found

    # --- act

    def _needs(self, run: Run, ref: Ref) -> bool:
        """Tell whether an object must be looked at: missing, changed in Git, or touched by somebody."""
        seen, base = self._p.live.get(ref.id), run.memory.baselines.get(ref.id)
        if seen is None or base is None or base.digest != ref.digest:
            return True
        return seen.ownership != base.ownership or seen.owner != run.key or seen.sync_label != run.stamp.label

    def _todo(self, run: Run, target: Target, *, pending: bool) -> list[Ref]:
        memory, now = run.memory, asyncio.get_running_loop().time()
        if memory.full_check_at is None:
            memory.full_check_at = now + seconds(run.sync.spec.interval)
        due = now >= memory.full_check_at
        if due:
            memory.full_check_at = now + seconds(run.sync.spec.interval)
            memory.failed.clear()
        stuck = {
            r.id: f[1]
            for r in target.refs
            if (f := memory.failed.get(r.id)) and f[0] == r.digest and not f[1].transient
        }
        run.applied.failed |= stuck
        abort = pending and run.sync.spec.on_error is OnError.ABORT
        todo = []
        for ref in target.refs:
            if ref.id in run.contested or not (due or self._needs(run, ref)):
                continue
            if ref.id in stuck or (stuck and abort and not self._drifted(run, ref)):
                if ref.id not in stuck:
                    run.applied.deferred[ref.id] = "is not written while another object is rejected"
                continue
            back = memory.fights_back(ref.id, now)
            if back is not None and not due:
                run.sooner(back)
                memory.fights.setdefault(ref.id, self._fight_words(ref))
                continue
            memory.fights.pop(ref.id, None)
            todo.append(ref)
        return self._reported(run, todo, pending=pending)

    def _drifted(self, run: Run, ref: Ref) -> bool:
        base = run.memory.baselines.get(ref.id)
        return base is not None and base.digest == ref.digest

    def _fight_words(self, ref: Ref) -> str:
        return f"another writer undoes every correction of {ref.id.label()}; Setpoint backs off for a minute"

    def _reported(self, run: Run, todo: list[Ref], *, pending: bool) -> list[Ref]:
        """With `drift: Report`, leave out what was reported already and has not moved since."""
        if pending or run.sync.spec.drift is Drift.CORRECT:
            run.memory.reported.clear()
            return todo
        reported = run.memory.reported
        needed = {r.id for r in todo}
        for oid in [o for o in reported if o not in needed]:
            del reported[oid]
        result = []
        for ref in todo:
            seen = self._p.live.get(ref.id)
            old = reported.get(ref.id)
            if old is None or old[0] != _state_of(seen):
                result.append(ref)
        return result

    async def _converge(
        self, run: Run, target: Target, loaded: Sequence[Desired] | None, *, pending: bool
    ) -> None:
        p, memory = self._p, run.memory
        if target.unplaced:
            run.applied.failed |= dict(target.unplaced)
            run.retry = True
            if pending and run.sync.spec.on_error is OnError.ABORT:
                return
        todo = self._todo(run, target, pending=pending)
        if not todo:
            return
        if loaded is None:
            assert run.current is not None  # noqa: S101 - a target comes from a commit
            loaded = (await self._targets.manifests(run.sync, run.current, target, run.stamp)).desired
        wanted = {r.id for r in todo}
        chosen = [d for d in loaded if d.id in wanted]
        self._trigger(run, pending=pending)
        memory.started = memory.started or status.stamp(datetime.now(UTC))
        applier = self._applier(run, abort=pending and run.sync.spec.on_error is OnError.ABORT)
        if run.sync.spec.drift is Drift.REPORT and not pending:
            await self._report_only(run, applier, chosen)
            return
        result = await applier.converge(chosen, loaded, lambda: self._claim(run, target))
        self._absorb(run, result, {d.id: d for d in chosen})
        if self._targets.unresolved(target) and not result.failed:
            await self._targets.discover()
            run.sooner(0.3 if not self._targets.unresolved(target) else 1.0)
        p.telemetry.written(len(result.written))

    async def _enforce(self, run: Run, good: Target | None) -> None:
        """Correct drift against what was applied last; nothing new is written and nothing is pruned."""
        if good is None or run.current is None or run.sync.spec.drift is Drift.REPORT:
            return
        await self._p.live.require(self._kinds(run, good))
        self._restore(run, good)
        drifted = {
            r.id
            for r in good.refs
            if self._drifted(run, r) and self._needs(run, r) and r.id not in run.contested
        }
        if not drifted:
            return
        loaded = (await self._targets.manifests(run.sync, run.current, good, run.stamp)).desired
        chosen = [d for d in loaded if d.id in drifted]
        run.memory.trigger = "Drift"
        result = await self._applier(run, abort=False).converge(chosen, loaded, _no_claim)
        failures = dict(run.applied.failed)
        self._absorb(run, result, {d.id: d for d in chosen})
        run.applied.failed = {**result.failed, **failures}

    def _applier(self, run: Run, *, abort: bool) -> Applier:
        spec = run.sync.spec
        who = Identity(
            run.key,
            run.stamp.label,
            run.user,
            spec.ignore,
            self._people,
            self._takeover,
            self._p.claims.owner,
            abort,
            spec.target_namespace if spec.create_namespace else None,
            self._p.secret_key,
        )
        return Applier(self._p.cluster, self._p.live, self._limit, who)

    def _trigger(self, run: Run, *, pending: bool) -> None:
        memory = run.memory
        if memory.trigger == "Requested":
            return
        if pending:
            moved = run.previous.get("observedGeneration") not in (
                None,
                run.body["metadata"].get("generation"),
            )
            same = (run.previous.get("applied") or {}).get("revision") == (
                run.target.revision if run.target else ""
            )
            memory.trigger = "Spec" if moved and same else "Commit"
        elif memory.detected:
            memory.trigger = "Drift"

    async def _claim(self, run: Run, target: Target) -> None:
        """Write the inventory before the first write: old and new together, so that a crash orphans nothing."""
        inventory = run.inventory
        new = {**inventory, **{r.id: r.api_version for r in target.refs if r.id not in run.contested}}
        if new == inventory:
            return
        entries = status.grouped((v, o) for o, v in new.items())
        run.body = await self._p.writer.write(_oid(run.key), run.body, {**run.previous, "inventory": entries})
        self._wake_all(self._p.claims.record(run.key, new))

    async def _report_only(self, run: Run, applier: Applier, chosen: Sequence[Desired]) -> None:
        for item in await applier.check(chosen):
            if isinstance(item, tuple):
                run.applied.failed[item[0].id] = item[1]
                continue
            oid, change = item.desired.id, item.change
            seen = self._p.live.get(oid)
            if change.action is Action.KEEP and item.live is not None:
                run.memory.reported.pop(oid, None)
                self._settle(run, item.desired, seen)
                continue
            patch = shown_patch(change, self._p.secret_key)
            run.memory.reported[oid] = (_state_of(seen), change, patch)
            run.corrections.append(self._correction(run, change, item.desired, corrected=None))

    def _settle(self, run: Run, d: Desired, seen: Observed | None) -> None:
        if seen is not None:
            run.memory.baselines[d.id] = Baseline(d.digest, seen.ownership, seen.changed_by)
        run.memory.detected.pop(d.id, None)

    def _absorb(self, run: Run, result: Applied, chosen: Mapping[ObjectId, Desired]) -> None:
        """Take what a run of the applier did into memory, and log what was drift."""
        memory, now = run.memory, asyncio.get_running_loop().time()
        for change in result.written:
            base = memory.baselines.get(change.id)
            d = chosen.get(change.id)
            again = base.digest == d.digest if d is not None and base is not None else not run.pending
            if d is not None and again:
                run.corrections.append(
                    self._correction(run, change, d, corrected=_precise(datetime.now(UTC)))
                )
                memory.corrected(change.id, now)
                self._p.telemetry.corrected(change.id.kind)
        for oid in (*result.unchanged, *(c.id for c in result.written)):
            memory.detected.pop(oid, None)
            memory.failed.pop(oid, None)
        for oid, problem in result.failed.items():
            if oid in chosen:
                memory.failed[oid] = (chosen[oid].digest, problem)
            run.retry = run.retry or problem.transient
        memory.baselines |= result.baselines
        run.applied.written += result.written
        run.applied.unchanged += result.unchanged
        run.applied.failed |= result.failed
        run.applied.deferred |= result.deferred
        run.applied.warnings += result.warnings
        run.waiting = run.waiting or result.waiting

    def _correction(self, run: Run, change: Change, d: Desired, *, corrected: str | None) -> Correction:
        memory, seen = run.memory, self._p.live.get(change.id)
        base = memory.baselines.get(change.id)
        stamped = seen.changed_by if seen else None
        believed = stamped is not None and base is not None and stamped != base.stamp
        return Correction(
            change.id,
            d.manifest["apiVersion"],
            change.manager,
            stamped.partition("\n")[0] if believed and stamped else None,
            memory.detected.get(change.id, _precise(datetime.now(UTC))),
            corrected,
            shown_patch(change, self._p.secret_key),
            shown_value(change.was, change, self._p.secret_key),
        )

    # --- prune

    async def _prune(self, run: Run, target: Target) -> None:
        p = self._p
        inventory = run.inventory
        desired = frozenset(r.id for r in target.refs)
        leftover = set(inventory) - desired
        wanted = p.claims.wanted_of(run.key)
        run.extra += [
            ObjectState(
                o,
                inventory[o],
                SyncState.CONTESTED,
                Reason.Contested,
                f"Sync {w} has it in Git too",
                counted=False,
            )
            for o, w in wanted.items()
            if o in desired and o in inventory
        ]
        if not leftover:
            return
        if words := self._barrier(run):
            self._prune_waiters.add(run.key)
            run.waiting = Problem(Reason.PruneWaiting, words)
            run.kept = {o: inventory[o] for o in leftover}
            return
        live = await self._leftover(run, leftover)
        policy = plan.PrunePolicy(run.sync.spec.prune, run.sync.spec.prune_limit)
        decision = plan.prune(frozenset(inventory), desired, live, run.key, wanted, policy)
        run.refused = decision.message
        removed = await self._remover(run).remove(
            [*decision.delete, *(o for o, s in live.items() if s.deleting)]
        )
        run.pruned = removed.deleted
        run.kept = {o: inventory[o] for o in (*decision.refuse, *removed.left) if o in inventory}
        run.extra += [
            ObjectState(o, inventory[o], SyncState.REFUSED, Reason.Refused, m)
            for o, m in decision.refuse.items()
        ]
        for oid, text in removed.pending.items():
            run.extra.append(ObjectState(oid, inventory[oid], SyncState.WAITING, Reason.PruneWaiting, text))
        for oid, problem in removed.failed.items():
            run.extra.append(
                ObjectState(oid, inventory[oid], SyncState.FAILED, problem.reason, problem.message)
            )
            run.retry = True
        for oid, why in {**decision.release, **removed.gone}.items():
            run.memory.baselines.pop(oid, None)
            if why.startswith("is handed over"):
                p.events.record(
                    run.body, "Normal", str(Reason.HandedOver), f"{oid.label(run.key.namespace)} {why}"
                )
        if removed.pending and not removed.failed:
            run.waiting = run.waiting or Problem(
                Reason.PruneWaiting, _first_pending(removed.pending, run.key.namespace)
            )

    def _barrier(self, run: Run) -> str | None:
        """Say what a prune waits for: every Sync seen once since start, and those of this Source at this commit."""
        mine = source_key(run.body)
        for key, body in self._p.store.syncs.items():
            if (
                key == run.key
                or "deletionTimestamp" in body["metadata"]
                or (body.get("spec") or {}).get("suspend")
            ):
                continue
            memory = self._memory.get(key)
            state = memory.evaluated if memory else None
            behind = (
                run.current is not None
                and source_key(body) == mine
                and state is not None
                and state[0] not in ("", run.current.sha)
            )
            if key not in self._evaluated or behind:
                return f"before anything is deleted, Sync {key} must have seen this commit"
        return None

    async def _leftover(self, run: Run, leftover: set[ObjectId]) -> dict[ObjectId, Observed]:
        """Give what still exists of the objects that left Git, read again where the watch does not show them."""
        found: dict[ObjectId, Observed] = {}
        for oid in sorted(leftover):
            seen = self._p.live.get(oid)
            kind = self._p.cluster.kind_of_group(oid.group, oid.kind)
            if seen is None and kind is not None:
                obj = await self._p.cluster.get(kind, oid.namespace, oid.name, user=run.user)
                seen = observe(obj, oid, self._people) if obj is not None else None
            if seen is not None:
                found[oid] = seen
        return found

    def _remover(self, run: Run) -> Remover:
        return Remover(self._p.cluster, self._limit, run.key, run.user)

    async def _rebuild(self, run: Run) -> None:
        """Rebuild a lost inventory from label and self-naming annotation, over all kinds that can be listed."""
        cluster = self._p.cluster
        selector = f"{names.LABEL_SYNC}={run.stamp.label}"
        found: dict[ObjectId, str] = {}
        for kind in cluster.listable():
            objects, _ = await cluster.list(kind, label_selector=selector, metadata_only=True)
            for obj in objects:
                meta = obj["metadata"]
                oid = ObjectId(kind.group, kind.kind, meta.get("namespace") or "", meta["name"])
                if plan.is_ours(obj, oid, run.key):
                    found[oid] = kind.api_version
        entries = status.grouped((v, o) for o, v in found.items())
        if entries:
            run.body = await self._p.writer.write(
                _oid(run.key), run.body, {**run.previous, "inventory": entries}
            )
        self._wake_all(self._p.claims.record(run.key, found))

    # --- tell

    def _states(self, run: Run) -> list[ObjectState]:
        target = run.target or run.memory.good
        if target is None:
            return [
                ObjectState(o, v, verdict=seen.verdict if (seen := self._p.live.get(o)) else None)
                for o, v in run.inventory.items()
            ]
        states = [self._state(run, ref) for ref in target.refs]
        placed = {s.id for s in states}
        for oid, problem in run.applied.failed.items():
            if oid not in placed:
                states.append(
                    ObjectState(oid, "", SyncState.FAILED, problem.reason, problem.message, counted=False)
                )
        return states

    def _state(self, run: Run, ref: Ref) -> ObjectState:
        seen = self._p.live.get(ref.id)
        verdict = seen.verdict if seen else None
        memory = run.memory

        def say(sync: SyncState, reason: Reason, message: str, patch: Any = None) -> ObjectState:
            return ObjectState(ref.id, ref.api_version, sync, reason, message, patch, verdict)

        if ref.id in run.contested:
            return say(
                SyncState.CONTESTED,
                Reason.Contested,
                f"{ref.id.label()} belongs to Sync {run.contested[ref.id]}",
            )
        if problem := run.applied.failed.get(ref.id):
            if problem.reason is Reason.Contested:
                return say(SyncState.CONTESTED, problem.reason, problem.message)
            return say(SyncState.FAILED, problem.reason, problem.message)
        if ref.id in run.applied.deferred:
            return say(SyncState.WAITING, Reason.Waiting, run.applied.deferred[ref.id])
        if ref.id in memory.fights:
            return say(SyncState.OUT_OF_SYNC, Reason.Fight, memory.fights[ref.id])
        if ref.id in memory.reported:
            _, change, patch = memory.reported[ref.id]
            missing = change.action is Action.CREATE
            return say(
                SyncState.MISSING if missing else SyncState.OUT_OF_SYNC, change.reason, change.message, patch
            )
        base = memory.baselines.get(ref.id)
        if seen is None:
            return say(SyncState.MISSING, Reason.Missing, "is not in the cluster")
        if base is None or base.digest != ref.digest:
            if run.target is None:
                return ObjectState(ref.id, ref.api_version, verdict=verdict)
            return say(SyncState.WAITING, Reason.Waiting, "is not written yet")
        return ObjectState(ref.id, ref.api_version, verdict=verdict)

    async def _tell(self, run: Run, requested: str | None) -> Result:
        memory, key = run.memory, run.key
        states = self._states(run) + run.extra
        inventory = self._next_inventory(run)
        changed = len(run.applied.written) + len(run.pruned)
        target = run.target
        outcome = Outcome(
            namespace=key.namespace,
            generation=run.body["metadata"].get("generation", 0),
            desired=Revision(target.revision, target.digest) if target else None,
            requested=requested if self._answered(run, requested) else None,
            problem=run.problem,
            waiting=run.waiting,
            refused=run.refused,
            complete=run.complete,
            ownership=self._ownership(run) if run.complete and target else "",
            states=tuple(states),
            inventory=tuple((v, o) for o, v in inventory.items()),
            corrections=tuple(run.corrections),
            changed=changed,
            started=memory.started,
            trigger=memory.trigger,
            timeout=seconds(run.sync.spec.timeout),
            suspended=run.sync.spec.suspend,
        )
        new = status.build(run.previous, outcome, datetime.now(UTC))
        self._announce(run, new)
        self._pace(run, new)
        await self._write(key, run.body, new)
        self._wake_all(self._p.claims.record(key, inventory))
        if run.complete:
            memory.started, memory.trigger = "", "Start" if memory.evaluated is None else "Commit"
        reason = next(c["reason"] for c in new["conditions"] if c["type"] == "Ready")
        self._p.telemetry.reconciled("Sync", reason, asyncio.get_running_loop().time() - run.began)
        problem = run.problem
        if run.retry or (
            problem is not None and problem.transient and problem.reason is Reason.ApiUnavailable
        ):
            return Result(retry=True)
        return Result(after=run.again)

    def _answered(self, run: Run, requested: str | None) -> bool:
        return requested is not None and (
            requested == run.previous.get("requested")
            or self._p.sources.was_checked(source_key(run.body), run.key, requested)
        )

    def _next_inventory(self, run: Run) -> dict[ObjectId, str]:
        if not run.complete or run.target is None:
            return run.inventory
        desired = {r.id: r.api_version for r in run.target.refs if r.id not in run.contested}
        return {**desired, **run.kept}

    def _ownership(self, run: Run) -> str:
        seen = [self._p.live.get(r.id) for r in run.target.refs] if run.target else []
        found = [o for o in seen if o is not None]
        return ownership_digest(found) if len(found) == len(seen) else ""

    def _pace(self, run: Run, new: Mapping[str, Any]) -> None:
        """Come back for what no event announces: the time-out of a rollout, the safety-net interval."""
        loop = asyncio.get_running_loop()
        memory, applied = run.memory, new.get("applied")
        healthy = next(c for c in new["conditions"] if c["type"] == "Healthy")
        if healthy["reason"] == str(Reason.Progressing) and applied:
            age = (datetime.now(UTC) - status.parse(applied["at"])).total_seconds()
            run.sooner(max(1.0, seconds(run.sync.spec.timeout) - age))
        if memory.full_check_at is not None:
            run.sooner(max(0.0, memory.full_check_at - loop.time()))

    def _announce(self, run: Run, new: Mapping[str, Any]) -> None:
        """Post Events about what is new."""
        target = run.target
        deeds = Deeds(
            home=run.key.namespace,
            revision=short(target.revision) if target else "",
            total=len(target.refs) if target else 0,
            took=asyncio.get_running_loop().time() - run.began,
            corrections=run.corrections,
            written=run.applied.written,
            pruned=run.pruned,
            warnings=run.applied.warnings,
        )
        before = status.condition_of(run.previous, "Ready")
        now = next(c for c in new["conditions"] if c["type"] == "Ready")
        for a in announcements(deeds, before, now):
            self._p.events.record(run.body, a.type, a.reason, a.message)

    async def _write(self, key: SyncKey, body: Body, new: Mapping[str, Any]) -> None:
        ready = next(c for c in new["conditions"] if c["type"] == "Ready")
        self._p.telemetry.ready("Sync", key.namespace, key.name, ready=ready["status"] == "True")
        before = status.condition_of(body.get("status") or {}, "Ready")
        await self._p.writer.write(_oid(key), body, new)
        if before is None or before["status"] != ready["status"]:
            self._wake_all(set(self._p.store.dependents(key)))

    # --- the end

    async def _delete(self, run: Run) -> Result:
        if names.FINALIZER not in (run.body["metadata"].get("finalizers") or []):
            return Result()
        inventory = run.inventory
        cluster = self._p.cluster
        kinds = [k for k in {cluster.kind_of_group(o.group, o.kind) for o in inventory} if k is not None]
        try:
            await self._p.live.require(kinds)
            ending = await self._deletion.run(run.key, run.sync, inventory, self._remover(run))
        except ApiError as error:
            problem = problem_of(error, _oid(run.key), "delete")
            await self._ending(run, problem.reason, problem.message, inventory)
            return Result(retry=True)
        if ending.done:
            kind = "Warning" if ending.reason is Reason.Orphaned else "Normal"
            self._p.events.record(run.body, kind, str(ending.reason), ending.message)
            await self._release(run.key, run.body)
            return Result()
        left = {o: v for o, v in inventory.items() if o in ending.left}
        await self._ending(run, ending.reason, ending.message, left)
        return Result(retry=ending.retry)

    async def _ending(self, run: Run, reason: Reason, message: str, left: Mapping[ObjectId, str]) -> None:
        """Say how far a deletion is; the inventory shrinks with it."""
        at = status.stamp(datetime.now(UTC))
        old = run.previous.get("conditions") or []
        generation = run.body["metadata"].get("generation", 0)
        rows = [
            status.condition(
                old, generation, kind="Ready", true=False, reason=str(reason), message=message, at=at
            )
        ]
        rows += [c for c in old if c["type"] in ("Synced", "Healthy")]
        entries = status.grouped((v, o) for o, v in left.items())
        await self._write(run.key, run.body, {**run.previous, "inventory": entries, "conditions": rows})
        self._wake_all(self._p.claims.record(run.key, left))

    async def _release(self, key: SyncKey, body: Body) -> None:
        rest = [f for f in body["metadata"].get("finalizers") or [] if f != names.FINALIZER]
        answer = await self._p.writer.finalizers(_oid(key), body, rest)
        if not rest:
            self._p.store.drop_sync(key)
            dependencies = {
                SyncKey(d.get("namespace") or key.namespace, d["name"])
                for d in answer["spec"].get("dependsOn") or []
            }
            self._forget(key)
            self._wake_all(dependencies)


def ownership_digest(seen: Sequence[Observed]) -> str:
    """Give one digest over who owns what of all objects: the same after a restart unless somebody wrote."""
    rows = sorted(
        [
            *_row(o.id),
            o.ownership.ours,
            o.ownership.time,
            [[p.manager, p.time, p.digest] for p in o.ownership.people],
        ]
        for o in seen
    )
    return digest(rows)


def _row(oid: ObjectId) -> list[str]:
    return [oid.group, oid.kind, oid.namespace, oid.name]


async def _no_claim() -> None:
    """Claim nothing: what was applied is in the inventory already."""


def _state_of(seen: Observed | None) -> tuple[Any, ...] | None:
    """Give what tells one state of a drifted object from the next: times in managedFields have whole seconds."""
    return (seen.ownership, seen.changed_by) if seen else None


def _oid(key: SyncKey) -> ObjectId:
    return ObjectId(names.GROUP, "Sync", key.namespace, key.name)


def _precise(now: datetime) -> str:
    return now.strftime("%Y-%m-%dT%H:%M:%S.") + f"{now.microsecond // 1000:03d}Z"


def _first_pending(pending: Mapping[ObjectId, str], home: str) -> str:
    oid = next(iter(pending))
    return f"{oid.label(home)} {pending[oid]}"
