"""Applies objects: checks them by dry run, then writes them stage by stage (shell).

Nothing here waits for a rollout. A stage that cannot begin yet ends the run with `waiting`, and the watch event
that changes this starts the next run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from setpoint.api.reasons import Problem, Reason
from setpoint.apply.claiming import ClaimInventory, Claims
from setpoint.apply.dry_run import DryRun, DryRunner, Session, problem_at
from setpoint.apply.gates import Gates
from setpoint.apply.result import ApplyResult, merged
from setpoint.apply.writer import Writer, baseline
from setpoint.kube.errors import ApiError
from setpoint.kube.explain import problem_of
from setpoint.objects.identity import ObjectId
from setpoint.plan.change import Action
from setpoint.plan.desired import Desired
from setpoint.plan.drift import Baseline
from setpoint.plan.order import Stage, admitted_after, brought_kinds, is_crd, is_namespace, stages
from setpoint.plan.served import FindServed, unserved

REJECTED = "is not written while another object is rejected"
EARLIER = "waits for the objects before it"
BY_DEFINITION = frozenset({Reason.Invalid, Reason.KindUnknown, Reason.WebhookFailed})
"""What an object may be refused for because of its CRD."""
NEW_CRD = "the API server serves its changed CRD in a moment"


class Applier:
    """Checks and writes the objects of one Sync, once."""

    def __init__(self, session: Session) -> None:
        self._cluster, self._live, self._who = session.cluster, session.informers, session.who
        self._storage = session.storage
        self._checker, self._writer = DryRunner(session), Writer(session)

    async def check(self, desired: Sequence[Desired]) -> list[DryRun | tuple[Desired, Problem]]:
        """Check objects and write nothing. Returns for each the verdict or the problem."""
        return await self._checker.check(desired)

    async def converge(
        self, todo: Sequence[Desired], everything: Sequence[Desired], claim: ClaimInventory
    ) -> ApplyResult:
        """Bring `todo` to the cluster, in the order of stages among `everything`.

        `claim` writes the inventory; it runs after the dry runs and before the first write, and again for what could
        not be tried before that.
        """
        ready, later, unknown = _split(todo, brought_kinds(everything), self._cluster.kinds_named)
        first, rest = _parted(ready, lambda d: is_namespace(d.id) or is_crd(d.id))
        checks = await self._checked(first)
        new = {
            c.desired.id.name for c in checks.good.values() if is_namespace(c.desired.id) and c.live is None
        }
        lacking, unread = await self._lacking_namespace(todo, new)
        new |= {lacking} if lacking else set()
        later_too, now = _parted(rest, lambda d: d.id.namespace in new)
        unseen = {d.id for d in todo if self._live.get(d.id) is None}
        pods, now = _parted(now, lambda d: not unseen.isdisjoint(admitted_after(d)))
        later_too += pods
        changed = brought_kinds(c.desired for c in checks.good.values() if c.change.action is not Action.KEEP)
        checks |= await self._checked(now)
        checks, unsure = _decided(checks, changed)
        later_too += [d for d in now if d.id in unsure]
        result = ApplyResult(failed={**unknown, **unread}) | checks.result
        if result.failed and self._who.abort:
            return result | _deferred([d for d in todo if d.id not in result.failed], REJECTED)
        waiting = frozenset(d.id for d in (*later, *later_too))
        if not waiting and all(c.change.action is Action.KEEP for c in checks.good.values()):
            return result | self.kept(checks.good.values())
        gates = Gates(self._who.key, everything, self._live, self._storage, self._who.ended)
        # What may have come to its own end was not tried.
        passed = frozenset(o for o, c in checks.good.items() if c.predicted is not None)
        claims = Claims(claim)
        # Where more has to be tried or made first, nothing is sure to begin yet.
        order = stages(todo)
        begin = [] if lacking else await self._first_writes(order[0], checks, gates, waiting)
        await claims.first(begin, passed, waiting)
        if lacking:
            result |= await self._make_namespace(lacking)
        return await self._stages(order, checks.good, waiting, result, gates, claims)

    async def _first_writes(
        self, first: Stage, checks: _Checks, gates: Gates, waiting: Set[ObjectId]
    ) -> list[DryRun]:
        """Return what of the first stage is written, if it begins now; `waiting`: what is tried later."""
        if any(d.id in waiting for d in first.objects):
            return []
        if await gates.wave(first, {*self._who.hidden, *_forbidden(checks.result)}):
            return []
        found = (checks.good.get(d.id) for d in first.objects)
        return [c for c in found if c is not None and c.change.action is not Action.KEEP]

    async def _lacking_namespace(
        self, todo: Sequence[Desired], new: Set[str]
    ) -> tuple[str | None, Mapping[ObjectId, Problem]]:
        """Return `targetNamespace` if it must be created, and the failures if it cannot be read.

        It is never ours, so it is never pruned.
        """
        name = self._who.create_namespace
        kind = self._cluster.kind("v1", "Namespace")
        if name is None or kind is None or name in new or not any(d.id.namespace == name for d in todo):
            return None, {}
        try:
            found = await self._cluster.get(kind, "", name, user=self._who.user)
        except ApiError as error:
            oid = ObjectId("", "Namespace", "", name)
            return None, {oid: problem_of(error, oid, "read")}
        return (name if found is None else None), {}

    async def _make_namespace(self, name: str) -> ApplyResult:
        kind, oid = self._cluster.kind("v1", "Namespace"), ObjectId("", "Namespace", "", name)
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        try:
            if kind is not None:
                await self._cluster.apply(kind, manifest, user=self._who.user)
        except ApiError as error:
            return ApplyResult(failed={oid: problem_of(error, oid, "create")})
        return ApplyResult()

    async def _checked(self, desired: Sequence[Desired]) -> _Checks:
        found = await self._checker.check(desired)
        good = [c for c in found if isinstance(c, DryRun)]
        warnings = tuple(f"{c.desired.where}: {c.desired.id.label()}: {w}" for c in good for w in c.warnings)
        return _Checks({c.desired.id: c for c in good}, replace(held_back(found), warnings=warnings))

    def kept(self, checks: Iterable[DryRun]) -> ApplyResult:
        """Record the objects that are as they should be."""
        baselines: dict[ObjectId, Baseline] = {}
        for c in checks:
            if c.change.action is Action.KEEP and c.live is not None:
                baselines[c.desired.id] = baseline(c.desired, c.live, self._who.people)
                if c.desired.kind is not None:
                    self._live.store(c.desired.kind, c.live)
        return ApplyResult(unchanged=tuple(baselines), baselines=baselines)

    async def _stages(
        self,
        order: Sequence[Stage],
        good: Mapping[ObjectId, DryRun],
        later: Set[ObjectId],
        before: ApplyResult,
        gates: Gates,
        claims: Claims,
    ) -> ApplyResult:
        """Write stage by stage; returns the result, joined with the one from `before`."""
        results, failed = [before], bool(before.failed)
        kinds = brought_kinds(d for stage in order for d in stage.objects)
        hidden, late = {*self._who.hidden, *_forbidden(before)}, dict[ObjectId, str]()
        for stage in order:
            if failed and self._who.abort:
                results.append(_deferred(stage.objects, EARLIER))
            elif blocked := await gates.wave(stage, hidden, late):
                results.append(self._wait(stage.objects, blocked))
            else:
                results.append(await self._stage(stage.objects, good, later, gates, claims, kinds))
                failed = failed or bool(results[-1].failed)
                hidden |= _forbidden(results[-1])
                late |= _late(results[-1])
        return merged(results)

    async def _stage(
        self,
        objects: Sequence[Desired],
        good: Mapping[ObjectId, DryRun],
        later: Set[ObjectId],
        gates: Gates,
        claims: Claims,
        kinds: Set[tuple[str, str]],
    ) -> ApplyResult:
        missing, pending = _parted([d for d in objects if d.id in later], lambda d: d.kind is None)
        waits = (
            self._wait(missing, f"its kind {missing[0].id.kind} is being established") if missing else None
        )
        late, unsure = _decided(_again_if_denied(await self._checked(pending)), kinds)
        await claims.passed(frozenset(o for o, c in late.good.items() if c.predicted is not None))
        result = merged([waits or ApplyResult(), late.result])
        if unsure:
            result |= self._wait([d for d in pending if d.id in unsure], NEW_CRD, retry=True)
        if late.result.failed and self._who.abort:
            return result | _deferred([d for d in objects if d.id not in late.result.failed], EARLIER)
        checks = [c for d in objects if (c := late.good.get(d.id) or good.get(d.id)) is not None]
        return result | await self._write(checks, gates, claims)

    async def _write(self, items: Sequence[DryRun], gates: Gates, claims: Claims) -> ApplyResult:
        results, writes = [self.kept(items)], []
        for c in items:
            if c.change.action is Action.KEEP:
                continue
            if c.live is None and (blocked := gates.served(c.desired)):
                results.append(self._wait([c.desired], blocked))
            else:
                writes.append(c)
        await claims.begin(writes)
        answers = await asyncio.gather(*(self._written(c) for c in writes))
        pairs = list(zip(writes, answers, strict=True))
        written = ApplyResult(
            written=tuple(c.change for c, answer in pairs if not isinstance(answer, Problem)),
            failed={c.desired.id: answer for c, answer in pairs if isinstance(answer, Problem)},
            baselines={c.desired.id: answer for c, answer in pairs if not isinstance(answer, Problem)},
        )
        return merged([*results, written])

    async def _written(self, c: DryRun) -> Baseline | Problem:
        try:
            return await self._writer.write(c)
        except ApiError as error:
            return problem_at(c.desired, error, "apply", self._cluster.kinds_named)
        except Problem as problem:
            return problem

    def _wait(self, objects: Sequence[Desired], why: str, *, retry: bool | None = None) -> ApplyResult:
        label = objects[0].id.label(self._who.key.namespace)
        waiting = Problem(Reason.Waiting, f"{label} waits: {why}", retry)
        return replace(_deferred(objects, f"waits: {why}"), waiting=waiting)


@dataclass(frozen=True, slots=True)
class _Checks:
    """What dry runs found: verdicts, and the result for objects that have none, with the warnings of the API server."""

    good: Mapping[ObjectId, DryRun]
    result: ApplyResult

    def __or__(self, later: _Checks) -> _Checks:
        return _Checks({**self.good, **later.good}, self.result | later.result)


def _decided(checks: _Checks, changed: Set[tuple[str, str]]) -> tuple[_Checks, Set[ObjectId]]:
    """Return checks without refusals of kinds whose CRD changes now, and the objects that they are about.

    Whether such an object is right is known once its CRD is written and served: the commit may bring the very field,
    version or conversion that is missing.
    """
    failed = checks.result.failed
    unsure = {
        oid for oid, p in failed.items() if (oid.group, oid.kind) in changed and p.reason in BY_DEFINITION
    }
    rest = {oid: p for oid, p in failed.items() if oid not in unsure}
    return replace(checks, result=replace(checks.result, failed=rest)), unsure


def _forbidden(result: ApplyResult) -> frozenset[ObjectId]:
    """Return what the identity may not write."""
    return frozenset(o for o, p in result.failed.items() if p.reason is Reason.Forbidden)


def _late(result: ApplyResult) -> Mapping[ObjectId, str]:
    """Return what could not be written as the API server serves its changed CRD in a moment, with words."""
    return {oid: why for oid, why in result.deferred.items() if why == f"waits: {NEW_CRD}"}


def held_back(found: Iterable[DryRun | tuple[Desired, Problem]]) -> ApplyResult:
    """Return what came of those objects without a verdict: they are rejected, or wait until an older one is gone."""
    bad = {c[0].id: c[1] for c in found if not isinstance(c, DryRun)}
    held = {oid: p for oid, p in bad.items() if p.reason is Reason.Waiting}
    failed = {oid: p for oid, p in bad.items() if oid not in held}
    deferred = {oid: str(p) for oid, p in held.items()}
    return ApplyResult(failed=failed, deferred=deferred, waiting=next(iter(held.values()), None))


def _again_if_denied(late: _Checks) -> _Checks:
    """Return checks whose denials are tried again: admission learns a moment later of what was written just now."""
    failed = {
        oid: Problem(p.reason, p.message, True) if p.reason is Reason.AdmissionDenied else p
        for oid, p in late.result.failed.items()
    }
    return replace(late, result=replace(late.result, failed=failed))


def _split(
    todo: Sequence[Desired], brought: Set[tuple[str, str]], served: FindServed
) -> tuple[list[Desired], list[Desired], Mapping[ObjectId, Problem]]:
    """Split `todo` into objects to dry-run now, objects that wait for a kind of this commit, and objects without a kind."""
    ready, unplaced = _parted(todo, lambda d: d.kind is not None)
    later, unknown = _parted(unplaced, lambda d: (d.id.group, d.id.kind) in brought)
    problems = {
        d.id: Problem(
            Reason.KindUnknown, f"{d.where}: {unserved(d.manifest['apiVersion'], d.id.kind, served)}"
        )
        for d in unknown
    }
    return ready, later, problems


def _parted(
    objects: Iterable[Desired], holds: Callable[[Desired], bool]
) -> tuple[list[Desired], list[Desired]]:
    """Return the objects for which something holds, and the others."""
    yes: list[Desired] = []
    no: list[Desired] = []
    for d in objects:
        (yes if holds(d) else no).append(d)
    return yes, no


def _deferred(objects: Iterable[Desired], why: str) -> ApplyResult:
    return ApplyResult(deferred={d.id: why for d in objects})
