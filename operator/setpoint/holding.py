"""Holds the cluster to a target: brings what is new, corrects what drifted, and keeps what was good (shell)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from setpoint import accounts
from setpoint.adoption import TAKEOVER_MANAGERS
from setpoint.api_sync import Drift, OnError
from setpoint.apply import Applier
from setpoint.checking import Checked, Identity
from setpoint.choosing import View, choose, drifted, restored, unlike, unreported
from setpoint.cluster_errors import ApiError
from setpoint.conditions import condition_of, stamp
from setpoint.dependencies import waits_for
from setpoint.desired import Desired
from setpoint.discovery import Kind
from setpoint.fleet import Fleet
from setpoint.health import Health
from setpoint.inventory import grouped
from setpoint.ledger import Ledger
from setpoint.memory import Applied, Memory, Ref, Target
from setpoint.objects import ObjectId, SyncKey
from setpoint.parts import Parts
from setpoint.pruning import Pruner
from setpoint.reasons import Problem, Reason
from setpoint.removal import Remover
from setpoint.revisions import seconds, short
from setpoint.run import Run, oid_of
from setpoint.store import Body, source_key
from setpoint.targets import NotYet, Targets

# How often an object is read that is not healthy yet and may not be watched.
UNWATCHED_SECONDS = 15.0


class Holder:
    """Acts for one Sync after another; what it did stands in the `Run`."""

    def __init__(self, parts: Parts, fleet: Fleet, targets: Targets, pruner: Pruner) -> None:
        """All parts are shared."""
        self._p, self._fleet, self._targets = parts, fleet, targets
        self._limit = asyncio.Semaphore(parts.settings.apply_concurrency)
        people = frozenset(parts.settings.people_managers)
        self._people, self._takeover = people, people | TAKEOVER_MANAGERS
        self._pruner = pruner
        self._ledger = Ledger(parts)

    def remover(self, run: Run) -> Remover:
        """Give what deletes objects on behalf of a Sync."""
        return Remover(self._p.cluster, self._limit, run.key, run.user)

    async def hold(self, run: Run, loaded: Sequence[Desired] | None) -> None:
        """Bring the target to the cluster, or hold what was applied last while the target cannot be had.

        `loaded` are the target's manifests where they are at hand. Raises ApiError and Problem.
        """
        await self._hold(run, loaded)
        reasons = {p.reason for p in run.applied.failed.values()} | {s.reason for s in run.extra}
        run.problem = run.problem or await accounts.missing(self._p.cluster, run.user, reasons)

    async def compare(self, run: Run) -> None:
        """After a restart without a cache, while the Source fails: say what is not as it was applied.

        Raises NotYet if nothing is to be said; ApiError.
        """
        trouble, applied = self._trouble(run), run.previous.get("applied") or {}
        ready = condition_of(run.previous, "Ready") or {}
        if trouble is None or not applied.get("ownership") or ready.get("status") != "True":
            raise NotYet
        live = self._p.live
        await live.require(self._kinds_had(run))
        what = unlike(run.inventory, live.get, applied["ownership"], run.key.namespace)
        if not what or any(live.unwatched(oid) for oid in run.inventory):
            raise NotYet
        run.waiting = _unfetched(what, applied["revision"], trouble)

    async def look(self, run: Run) -> None:
        """See what is there of the inventory: else nobody may have asked since a restart, and it would seem gone.

        What may not be watched is read once, and what may not be read either is left. Raises ApiError if something
        else keeps an object from being read, when all others are.
        """
        await self._require(run, self._kinds_had(run))
        failed: ApiError | None = None
        for oid, version in run.inventory.items():
            if not self._p.live.unwatched(oid) or self._p.live.get(oid) is not None:
                continue
            if (kind := self._p.cluster.kind(version, oid.kind)) is not None:
                try:
                    await self._read(run, kind, oid)
                except ApiError as error:
                    failed = failed or (error if error.status != 403 else None)
        if failed is not None:
            raise failed

    async def _require(self, run: Run, kinds: Collection[Kind]) -> None:
        await self._p.live.require(kinds)
        if (again := self._p.live.again(kinds)) is not None:
            run.sooner(max(1.0, again))

    def _kinds_had(self, run: Run) -> list[Kind]:
        kinds = sorted({(o.group, o.kind) for o in run.inventory})
        return [k for each in kinds if (k := self._p.cluster.kind_of_group(*each)) is not None]

    async def _read(self, run: Run, kind: Kind, oid: ObjectId) -> None:
        obj = await self._p.cluster.get(kind, oid.namespace, oid.name, user=run.user)
        if obj is not None:
            self._p.live.store(kind, obj)

    def _trouble(self, run: Run) -> Problem | None:
        return self._p.sources.trouble(source_key(run.body))

    async def _hold(self, run: Run, loaded: Sequence[Desired] | None) -> None:
        target, memory = run.target, run.memory
        good = memory.good or await self._recovered(run)
        if target is None:
            await self._enforce(run, good)
            await self.look(run)
            return
        await self._watch(run, target)
        desired, claims = {r.id for r in target.refs}, self._p.claims
        run.contested = claims.contested(run.key, desired)
        self._fleet.wake(claims.want(run.key, run.contested.keys() | claims.offered(run.key, desired)))
        run.lent = {o: v for o, v in run.lent.items() if o not in desired}
        run.pending = target.digest != (run.previous.get("applied") or {}).get("digest")
        if run.pending and (words := self._dependency(run)):
            run.waiting = Problem(Reason.DependencyNotReady, words)
            await self._pruner.hand_over(run, target)
            await self._enforce(run, good)
            return
        await self._converge(run, target, loaded)
        failed = bool(run.applied.failed) or bool(target.unplaced)
        if failed and good is not None and good.digest != target.digest:
            await self._enforce(run, good)
        run.complete = not failed and not run.applied.deferred and not run.contested
        if run.complete:
            memory.good = target
            await self._pruner.prune(run, target, self.remover(run))
        else:
            await self._pruner.hand_over(run, target, anew=not failed)

    async def _watch(self, run: Run, target: Target) -> None:
        """See that all kinds of this Sync are watched, and take over what a former process wrote."""
        cluster, memory = self._p.cluster, run.memory
        kinds = [cluster.kind(*each) for each in sorted(target.kinds)]
        wanted = dict.fromkeys([*(k for k in kinds if k is not None), *self._kinds_had(run)])
        await self._require(run, wanted)
        await self._read_unwatched(run, target)
        applied = run.previous.get("applied") or {}
        if not memory.baselines and applied.get("digest") == target.digest and applied.get("ownership"):
            memory.baselines = restored(target.refs, self._p.live.get, applied["ownership"])

    async def _read_unwatched(self, run: Run, target: Target) -> None:
        """Read what is not healthy yet and may not be watched; nobody tells us when that changes."""
        for ref in target.refs:
            if not self._p.live.unwatched(ref.id):
                continue
            seen = self._p.live.get(ref.id)
            kind = self._p.cluster.kind(ref.api_version, ref.id.kind)
            if seen is None or kind is None:
                continue
            if seen.verdict.health is Health.Progressing:
                run.sooner(UNWATCHED_SECONDS)
                await self._read(run, kind, ref.id)

    async def _recovered(self, run: Run) -> Target | None:
        """Give what was applied last, after a restart: rendered from that commit, which may have to be fetched."""
        applied = run.previous.get("applied")
        if not applied or run.current is None:
            return None
        if run.target is not None and run.target.digest == applied["digest"]:
            return run.target
        sha = applied["revision"].rpartition("sha1:")[2]
        try:
            target, _ = await self._targets.at(run.sync, Memory(), run.current, sha, run.stamp, run.previous)
        except NotYet:
            self._p.sources.want(source_key(run.body), run.key, sha)
            return None
        except Problem:
            return None  # e.g. the path of the spec is new: what was applied under the old one is not known
        if target.digest == applied["digest"]:
            run.memory.good = target
        return target

    def _dependency(self, run: Run) -> str | None:
        mine = source_key(run.body)

        def seen(other: SyncKey, body: Body) -> bool:
            sha = run.current.sha if run.current and source_key(body) == mine else None
            return self._fleet.has_seen(other, sha, body["metadata"].get("generation", 0))

        return waits_for(run.key, self._p.store.syncs, seen)

    # --- what is looked at

    def _view(self, run: Run) -> View:
        return View(run.key, run.stamp.label, self._p.live.get, run.memory)

    def _todo(self, run: Run, target: Target) -> list[Ref]:
        now = asyncio.get_running_loop().time()
        due = self._safety_net(run, now)
        abort = run.pending and run.sync.spec.on_error is OnError.ABORT
        choice = choose(self._view(run), target.refs, run.contested, now, due=due, abort=abort)
        run.applied.failed |= choice.stuck
        run.applied.deferred |= choice.deferred
        self._back_off(run, choice.backed_off, {r.id for r in choice.todo})
        if run.pending or run.sync.spec.drift is Drift.CORRECT:
            run.memory.reported.clear()
            return choice.todo
        return unreported(run.memory, choice.todo, self._p.live.get)

    @staticmethod
    def _safety_net(run: Run, now: float) -> bool:
        memory, interval = run.memory, seconds(run.sync.spec.interval)
        if memory.full_check_at is None:
            memory.full_check_at = now + interval
        if now < memory.full_check_at:
            return False
        memory.full_check_at = now + interval
        memory.failed.clear()
        return True

    @staticmethod
    def _back_off(run: Run, backed_off: Mapping[ObjectId, float], todo: Iterable[ObjectId]) -> None:
        fights = run.memory.fights
        for oid, back in backed_off.items():
            run.sooner(back)
            fights.setdefault(oid, run.memory.fight_words(oid))
        for oid in todo:
            fights.pop(oid, None)

    # --- act

    async def _converge(self, run: Run, target: Target, loaded: Sequence[Desired] | None) -> None:
        memory, abort = run.memory, run.pending and run.sync.spec.on_error is OnError.ABORT
        if target.unplaced:
            run.applied.failed |= dict(target.unplaced)
            run.retry = True
            if abort:
                return
        todo = self._todo(run, target)
        if not todo:
            return
        wanted = {r.id for r in todo}
        loaded = loaded if loaded is not None else await self._manifests(run, target, wanted)
        chosen = [d for d in loaded if d.id in wanted]
        if not chosen:
            return
        self._note_trigger(run)
        memory.started = memory.started or stamp(datetime.now(UTC))
        applier = self._applier(run, abort=abort)
        if run.sync.spec.drift is Drift.REPORT and not run.pending:
            await self._report_only(run, target, applier, chosen)
            return
        before = self._ledger.before(chosen)
        result = await applier.converge(chosen, loaded, lambda: self._claim(run, target))
        result = await self._with_places(run, target, result, chosen)
        self._ledger.absorb(run, result, {d.id: d for d in chosen}, before)
        await self._look_for_kinds(run, target, result)
        self._p.telemetry.written(len(result.written))

    async def _look_for_kinds(self, run: Run, target: Target, result: Applied) -> None:
        """Ask which kinds are served now, while some of this commit's are not yet."""
        if self._targets.unresolved(target) and not result.failed:
            await self._targets.discover()
            run.sooner(0.3 if not self._targets.unresolved(target) else 1.0)

    async def _enforce(self, run: Run, good: Target | None) -> None:
        """Correct drift against what was applied last; nothing new is written and nothing is pruned."""
        if good is None or run.current is None or run.sync.spec.drift is Drift.REPORT:
            return
        await self._watch(run, good)
        whole = good.digest == (run.previous.get("applied") or {}).get("digest")
        foreign = {r.id for r in good.refs if self._p.claims.owner(r.id) not in (None, run.key)}
        others = foreign | run.contested.keys() | run.released.keys() | run.lent.keys()
        newer = {r.id for r in run.target.refs} if run.target else None
        found = drifted(self._view(run), good.refs, others, newer, whole=whole)
        if not found:
            return
        loaded = await self._manifests(run, good, found)
        chosen = [d for d in loaded if d.id in found]
        if not chosen:
            return
        run.memory.trigger = "Drift"
        applier = self._applier(run, abort=False, keep_ours=True)
        before = self._ledger.before(chosen)
        result = await applier.converge(chosen, loaded, _no_claim)
        result = await self._with_places(run, good, result, chosen)
        self._ledger.absorb(run, result, {d.id: d for d in chosen}, before, enforced=True)

    async def _manifests(self, run: Run, target: Target, wanted: Collection[ObjectId]) -> Sequence[Desired]:
        """Give the manifests of a target; none where its commit was lost and cannot be fetched now, which is said."""
        if run.current is None:
            raise NotYet
        try:
            return (await self._targets.manifests(run.sync, run.current, target, run.stamp)).desired
        except NotYet:
            trouble = self._trouble(run)
            if trouble is None:
                raise
        what = f"{min(wanted).label(run.key.namespace)} is not as in Git"
        run.waiting = _unfetched(what, target.revision, trouble)
        run.applied.deferred |= dict.fromkeys(wanted, run.waiting.message)
        return ()

    def _applier(self, run: Run, *, abort: bool, keep_ours: bool = False) -> Applier:
        spec = run.sync.spec
        who = Identity(
            run.key,
            run.stamp.label,
            run.user,
            spec.ignore,
            self._people,
            self._takeover,
            self._p.claims.owner,
            self._p.claims.is_lent,
            abort,
            spec.target_namespace if spec.create_namespace else None,
            keep_ours,
        )
        return Applier(self._p.cluster, self._p.live, self._limit, who)

    async def _with_places(
        self, run: Run, target: Target, result: Applied, chosen: Sequence[Desired]
    ) -> Applied:
        assert run.current is not None  # noqa: S101 - what was chosen came from a commit
        return await self._targets.with_places(run.sync, run.current, target, result, chosen)

    async def _report_only(
        self, run: Run, target: Target, applier: Applier, chosen: Sequence[Desired]
    ) -> None:
        checks = await applier.check(chosen)
        failed = Applied(failed={item[0].id: item[1] for item in checks if not isinstance(item, Checked)})
        for item in checks:
            if isinstance(item, Checked):
                self._ledger.report(run, item)
        run.applied.failed |= (await self._with_places(run, target, failed, chosen)).failed

    async def _claim(self, run: Run, target: Target) -> None:
        """Write the inventory before the first write: old and new together, so that a crash orphans nothing."""
        # Another Sync may have claimed meanwhile; from here to the record nothing is awaited, so one of two gets it.
        claims, desired = self._p.claims, [r.id for r in target.refs]
        run.contested |= claims.contested(run.key, desired)
        # What it takes over stays wanted: the claim is taken back if it cannot be written.
        self._fleet.wake(claims.want(run.key, run.contested.keys() | claims.offered(run.key, desired)))
        inventory = run.inventory
        new = {**inventory, **{r.id: r.api_version for r in target.refs if r.id not in run.contested}}
        self._fleet.record(run.key, new, run.lent)
        if new == inventory:
            return
        entries = grouped((v, o) for o, v in new.items())
        run.body = await self._p.writer.write(
            oid_of(run.key), run.body, {**run.previous, "inventory": entries}
        )
        run.memory.held = None

    @staticmethod
    def _note_trigger(run: Run) -> None:
        memory, previous = run.memory, run.previous
        if memory.trigger == "Requested":
            return
        if not run.pending:
            memory.trigger = "Drift" if memory.detected else memory.trigger
            return
        moved = previous.get("observedGeneration") not in (None, run.generation)
        revision = run.target.revision if run.target else ""
        same = (previous.get("applied") or {}).get("revision") == revision
        memory.trigger = "Spec" if moved and same else "Commit"


def _unfetched(what: str, revision: str, trouble: Problem) -> Problem:
    text = f"{what}; {short(revision)} is not in the cache and must be fetched again first: {trouble.message}"
    return Problem(Reason.SourceNotReady, text)


async def _no_claim() -> None:
    """Claim nothing: what was applied is in the inventory already."""
