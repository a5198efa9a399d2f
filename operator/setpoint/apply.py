"""Act: checks objects by dry run, then writes stage by stage (shell).

Nothing here waits for a rollout: a stage whose ground is not there yet ends the run with `waiting`, and the
watch event that changes it starts the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from setpoint import fields, plan, redact
from setpoint.adoption import may_take
from setpoint.api_sync import IgnoreRule
from setpoint.change import Action, Change
from setpoint.cluster import Cluster
from setpoint.cluster_errors import ApiError, problem_of
from setpoint.desired import Desired
from setpoint.diff import foreign_additions
from setpoint.discovery import Kind
from setpoint.health import Health
from setpoint.ignoring import matches, with_ignored
from setpoint.live import Live
from setpoint.memory import Applied, Baseline
from setpoint.objects import Manifest, ObjectId, Observed, SyncKey, stamp_of
from setpoint.order import Stage, is_blocking, is_crd, is_namespace, servers_of, stages
from setpoint.reasons import Problem, Reason


@dataclass(frozen=True, slots=True)
class Identity:
    """On whose behalf, and by which rules, objects are read and written."""

    key: SyncKey
    label: str
    user: str
    rules: tuple[IgnoreRule, ...]
    people: frozenset[str]
    takeover: frozenset[str]
    owner_of: Callable[[ObjectId], SyncKey | None]
    """The table of claims: an annotation alone may name a Sync that has let go."""
    is_lent: Callable[[ObjectId], bool]
    """Whether an object is being handed over from one Sync to another."""
    abort: bool
    create_namespace: str | None
    secret_key: bytes
    keep_ours: bool = False
    """Whether what we wrote ourselves stays: a newer commit that a crash cut short is not taken back for an older one."""


@dataclass(frozen=True, slots=True)
class Checked:
    """One desired object with its live state and the server's prediction, judged."""

    desired: Desired
    change: Change
    live: Manifest | None = None
    sent: Manifest | None = None
    predicted: Manifest | None = None
    warnings: tuple[str, ...] = ()


ClaimInventory = Callable[[], Awaitable[None]]


class Applier:
    """Checks and writes the objects of one Sync, once."""

    def __init__(self, cluster: Cluster, live: Live, limit: asyncio.Semaphore, who: Identity) -> None:
        """`limit` bounds the requests of all Syncs together."""
        self._cluster, self._live, self._limit, self._who = cluster, live, limit, who

    # --- checking

    async def check(self, desired: Sequence[Desired]) -> list[Checked | tuple[Desired, Problem]]:
        """Check objects at once: read, dry run, judge. Gives for each the verdict or the problem."""
        return await asyncio.gather(*(self._check(d) for d in desired))

    async def _check(self, d: Desired) -> Checked | tuple[Desired, Problem]:
        async with self._limit:
            try:
                return await self._judged(d)
            except ApiError as error:
                return d, problem_at(d, error, "apply")
            except Problem as problem:
                return d, problem

    async def _judged(self, d: Desired) -> Checked:
        kind = _kind(d)
        who = self._who
        live: Manifest | None = None
        known = self._live.get(d.id) is not None or any(matches(r, d.id) for r in who.rules)
        if known:
            live = await self._cluster.get(kind, d.id.namespace, d.id.name, user=who.user)
        sent = with_ignored(d.manifest, live, who.rules, d.id)
        predicted = await self._cluster.apply(kind, sent, user=who.user, dry_run=True)
        if not predicted.created and live is None:
            live = await self._cluster.get(kind, d.id.namespace, d.id.name, user=who.user)
        if live is not None:
            if "deletionTimestamp" in live["metadata"]:
                raise Problem(
                    Reason.Waiting,
                    f"{d.id.label()} is being deleted; it is made anew when it is gone",
                    retry=True,
                )
            refusal = may_take(live, d, who.key, who.owner_of(d.id))
            if refusal is not None:
                raise Problem(refusal.reason, refusal.message)
        handed = who.is_lent(d.id)
        change = plan.judge(d, live, predicted.object, who.key, who.rules, who.people, handed=handed)
        if change.ours and who.keep_ours:
            change = Change(d.id, Action.KEEP)
        return Checked(d, change, live, sent, predicted.object, predicted.warnings)

    # --- writing

    async def write(self, checked: Checked) -> Baseline:
        """Write one object, and remove what persons added. Raises ApiError, and Problem if it is another's by now."""
        async with self._limit:
            d, kind, who = checked.desired, _kind(checked.desired), self._who
            if (owner := who.owner_of(d.id)) not in (None, who.key):
                raise Problem(Reason.Contested, f"{d.id.label()} belongs to Sync {owner}")
            if checked.change.action is Action.ADOPT and checked.live is not None:
                await self._keep_adopted(checked)
            sent = existing(checked.sent or d.manifest, checked.live)
            obj = (await self._cluster.apply(kind, sent, user=who.user)).object
            if checked.change.action is Action.PATCH:
                obj = await self._without_additions(d, obj)
            self._live.store(kind, obj)
            return baseline(d, obj, who.people)

    async def _keep_adopted(self, checked: Checked) -> None:
        """Move what persons and former owners set to a manager that no rule removes: see `fields.adopted`."""
        live, predicted = checked.live or {}, checked.predicted or {}
        own = fields.own_entry(predicted["metadata"].get("managedFields") or ()) or {}
        managed = live["metadata"].get("managedFields") or []
        rewritten = fields.adopted(managed, own.get("fieldsV1") or {}, self._who.takeover)
        if rewritten is None:
            return
        d = checked.desired
        operations = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]},
            {"op": "replace", "path": "/metadata/managedFields", "value": rewritten},
        ]
        await self._patch(d, operations)

    async def _without_additions(self, d: Desired, obj: Manifest) -> Manifest:
        """Remove what persons added, in one JSON Patch; if the server refuses that, one by one.

        Raises Problem for what cannot be removed, so that it is shown and not tried for ever.
        """
        who = self._who
        found = sorted(foreign_additions(obj, who.rules, d.id, who.people), key=_last_first)
        if not found:
            return obj
        try:
            return await self._patch(d, [op for path, value in found for op in fields.removal(path, value)])
        except ApiError as error:
            if error.status != 422 or len(found) == 1:
                raise
        for path, value in found:
            obj = await self._patch(d, fields.removal(path, value))
        return obj

    async def _patch(self, d: Desired, operations: list[dict[str, Any]]) -> Manifest:
        return await self._cluster.patch(_kind(d), d.id.namespace, d.id.name, operations, user=self._who.user)

    # --- the whole

    async def converge(
        self, todo: Sequence[Desired], everything: Sequence[Desired], claim: ClaimInventory
    ) -> Applied:
        """Bring `todo` to the cluster, in the order of stages among `everything`.

        `claim` writes the inventory; it runs after the dry runs and before the first write.
        """
        result = Applied()
        grounds = Grounds.of(everything, self._live)
        ready, later = self._split(todo, grounds, result)
        first = [d for d in ready if is_namespace(d.id) or is_crd(d.id)]
        checks = await self._checked(first, result)
        new = {c.desired.id.name for c in checks.values() if is_namespace(c.desired.id) and c.live is None}
        lacking = await self._lacking_namespace(todo, new, result)
        new |= {lacking} if lacking else set()
        second = [d for d in ready if not (is_namespace(d.id) or is_crd(d.id))]
        later += [d for d in second if d.id.namespace in new]
        checks |= await self._checked([d for d in second if d.id.namespace not in new], result)
        if result.failed and self._who.abort:
            result.deferred |= {
                d.id: "is not written while another object is rejected"
                for d in todo
                if d.id not in result.failed
            }
            return result
        if not any(c.change.action is not Action.KEEP for c in checks.values()) and not later:
            self._keep(checks.values(), result)
            return result
        await claim()
        if lacking:
            await self._make_namespace(lacking, result)
        await self._stages(todo, everything, checks, {d.id for d in later}, result)
        return result

    async def _lacking_namespace(self, todo: Sequence[Desired], new: set[str], result: Applied) -> str | None:
        """Give `targetNamespace` if it is to be made and is not there; it is never ours, so it is never pruned."""
        name = self._who.create_namespace
        kind = self._cluster.kind("v1", "Namespace")
        if name is None or kind is None or name in new or not any(d.id.namespace == name for d in todo):
            return None
        try:
            found = await self._cluster.get(kind, "", name, user=self._who.user)
        except ApiError as error:
            oid = ObjectId("", "Namespace", "", name)
            result.failed[oid] = problem_of(error, oid, "read")
            return None
        return name if found is None else None

    async def _make_namespace(self, name: str, result: Applied) -> None:
        kind, oid = self._cluster.kind("v1", "Namespace"), ObjectId("", "Namespace", "", name)
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        try:
            if kind is not None:
                await self._cluster.apply(kind, manifest, user=self._who.user)
        except ApiError as error:
            result.failed[oid] = problem_of(error, oid, "create")

    def _split(
        self, todo: Sequence[Desired], grounds: Grounds, result: Applied
    ) -> tuple[list[Desired], list[Desired]]:
        """Cut `todo` into what can be dry-run now, and what waits for a kind that this commit brings."""
        ready, later = [], []
        for d in todo:
            if d.kind is not None:
                ready.append(d)
            elif (d.id.group, d.id.kind) in grounds.kinds:
                later.append(d)
            else:
                text = f"{d.where}: the cluster has no kind {d.id.kind} in group {d.id.group or 'core'}"
                result.failed[d.id] = Problem(Reason.KindUnknown, text)
        return ready, later

    async def _checked(self, desired: Sequence[Desired], result: Applied) -> dict[ObjectId, Checked]:
        good: dict[ObjectId, Checked] = {}
        for item in await self.check(desired):
            if isinstance(item, Checked):
                good[item.desired.id] = item
                result.warnings += [
                    f"{item.desired.where}: {item.desired.id.label()}: {w}" for w in item.warnings
                ]
            else:
                result.failed[item[0].id] = item[1]
        return good

    def _keep(self, checks: Iterable[Checked], result: Applied) -> None:
        for c in checks:
            if c.change.action is Action.KEEP and c.live is not None:
                result.unchanged.append(c.desired.id)
                result.baselines[c.desired.id] = baseline(c.desired, c.live, self._who.people)
                if c.desired.kind is not None:
                    self._live.store(c.desired.kind, c.live)

    async def _stages(
        self,
        todo: Sequence[Desired],
        everything: Sequence[Desired],
        checks: dict[ObjectId, Checked],
        later: set[ObjectId],
        result: Applied,
    ) -> None:
        gates = Gates(everything, self._live)
        for stage in stages(todo):
            if result.failed and self._who.abort:
                self._defer(stage.objects, "waits for the objects before it", result)
                continue
            if blocked := gates.wave(stage):
                self._wait(stage.objects, blocked, result)
                continue
            pending = [d for d in stage.objects if d.id in later]
            if missing := [d for d in pending if d.kind is None]:
                self._wait(missing, f"its kind {missing[0].id.kind} is being established", result)
                pending = [d for d in pending if d.kind is not None]
            checks |= await self._checked(pending, result)
            if result.failed and self._who.abort:
                self._defer(
                    [d for d in stage.objects if d.id not in result.failed],
                    "waits for the objects before it",
                    result,
                )
                continue
            await self._stage([checks[d.id] for d in stage.objects if d.id in checks], gates, result)

    async def _stage(self, items: Sequence[Checked], gates: Gates, result: Applied) -> None:
        self._keep(items, result)
        writes = []
        for c in items:
            if c.change.action is Action.KEEP:
                continue
            if c.live is None and (blocked := gates.served(c.desired)):
                self._wait([c.desired], blocked, result)
            else:
                writes.append(c)
        answers = await asyncio.gather(*(self._written(c) for c in writes))
        for c, answer in zip(writes, answers, strict=True):
            if isinstance(answer, Problem):
                result.failed[c.desired.id] = answer
            else:
                result.written.append(c.change)
                result.baselines[c.desired.id] = answer

    async def _written(self, c: Checked) -> Baseline | Problem:
        try:
            return await self.write(c)
        except ApiError as error:
            return problem_at(c.desired, error, "apply")
        except Problem as problem:
            return problem

    @staticmethod
    def _defer(objects: Iterable[Desired], why: str, result: Applied) -> None:
        result.deferred |= {d.id: why for d in objects}

    def _wait(self, objects: Sequence[Desired], why: str, result: Applied) -> None:
        self._defer(objects, f"waits: {why}", result)
        if result.waiting is None and objects:
            label = objects[0].id.label(self._who.key.namespace)
            result.waiting = Problem(Reason.Waiting, f"{label} waits: {why}")


def existing(manifest: Manifest, live: Manifest | None) -> Manifest:
    """Give the manifest as it may be applied to the object that was looked at, and to no other that has its name.

    The server refuses it (409) if that object is gone, instead of making it anew: a write that comes late, whoever
    leads by then, brings nothing back.
    """
    if live is None:
        return manifest
    return {**manifest, "metadata": {**manifest["metadata"], "uid": live["metadata"]["uid"]}}


def _last_first(item: tuple[fields.Path, Any]) -> tuple[int, ...]:
    # Elements of one list go from the back, so that the indexes of those in front stay right.
    return tuple(-int(s.token) if s.token.isdigit() else 0 for s in item[0])


def _kind(d: Desired) -> Kind:
    if d.kind is None:
        raise Problem(Reason.KindUnknown, f"{d.where}: the cluster has no kind {d.id.kind}")
    return d.kind


def problem_at(d: Desired, error: ApiError, verb: str) -> Problem:
    """Give an API error as a problem that also says where the manifest stands."""
    problem = problem_of(error, d.id, verb)
    return Problem(problem.reason, f"{d.where}: {problem.message}", problem.retry)


def baseline(d: Desired, obj: Mapping[str, Any], people: frozenset[str]) -> Baseline:
    """Give the baseline of an object from the server's answer to our write (not from the watch, which may be newer)."""
    meta = obj["metadata"]
    annotations = meta.get("annotations") or {}
    return Baseline(
        d.digest, fields.ownership(meta.get("managedFields") or (), people), stamp_of(annotations)
    )


def shown_patch(change: Change, key: bytes) -> tuple[redact.Operation, ...]:
    """Give a change's patch as it may be shown."""
    return redact.shown(change.patch, change.id, key)


def shown_value(value: Any, change: Change, key: bytes) -> Any:
    """Give a value of an object as it may be shown: that of a Secret only as a hash."""
    if value is None or not change.patch:
        return None
    operation = {"op": "replace", "path": change.patch[0]["path"], "value": value}
    return redact.shown([operation], change.id, key)[0]["value"]


@dataclass(frozen=True, slots=True)
class Grounds:
    """What a commit brings itself: kinds, so that objects of them can wait for it."""

    kinds: frozenset[tuple[str, str]]

    @classmethod
    def of(cls, everything: Iterable[Desired], live: Live) -> Grounds:
        """Collect the kinds of the CRDs among the objects."""
        kinds = set()
        for d in everything:
            if is_crd(d.id):
                spec = d.manifest.get("spec") or {}
                kinds.add((str(spec.get("group")), str((spec.get("names") or {}).get("kind"))))
        return cls(frozenset(kinds))


class Gates:
    """What a stage waits for: earlier waves healthy, and what serves a webhook before the webhook."""

    def __init__(self, everything: Sequence[Desired], live: Live) -> None:
        """`everything` is the whole commit, in sync or not."""
        self._everything, self._live = everything, live
        self._stages = stages(everything)

    def wave(self, stage: Stage) -> str | None:
        """Say which object of an earlier wave is not healthy; None if the stage may go."""
        if stage.key[0] != 3:
            return None
        for earlier in self._stages:
            if earlier.key[0] == 3 and earlier.wave < stage.wave:
                for d in earlier.objects:
                    if words := unready(d.id, self._live.get(d.id)):
                        return f"wave {earlier.wave}: {words}"
        return None

    def served(self, d: Desired) -> str | None:
        """Say which workload of this commit must be healthy before a webhook or APIService is made."""
        if not is_blocking(d.id):
            return None
        for oid in servers_of(d.manifest, self._everything):
            if words := unready(oid, self._live.get(oid)):
                return words
        return None


def unready(oid: ObjectId, seen: Observed | None) -> str | None:
    """Say in words that an object is not healthy; None if it is."""
    if seen is None:
        return f"{oid.label()} is not there yet"
    if seen.verdict.health in (Health.Healthy, Health.Suspended):
        return None
    return f"{oid.label()} ({seen.verdict.message or seen.verdict.reason})"
