"""Act: checks objects by dry run, then writes stage by stage (shell).

Nothing here waits for a rollout: a stage whose ground is not there yet ends the run with `waiting`, and the
watch event that changes it starts the next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence

from setpoint.change import Action
from setpoint.checking import Checked, Checker, Identity, problem_at
from setpoint.cluster import Cluster
from setpoint.cluster_errors import ApiError, problem_of
from setpoint.desired import Desired
from setpoint.gates import Gates, Grounds
from setpoint.live import Live
from setpoint.memory import Applied, Baseline
from setpoint.objects import ObjectId
from setpoint.order import is_crd, is_namespace, stages
from setpoint.reasons import Problem, Reason
from setpoint.writing import Writer, baseline

ClaimInventory = Callable[[], Awaitable[None]]


class Applier:
    """Checks and writes the objects of one Sync, once."""

    def __init__(self, cluster: Cluster, live: Live, limit: asyncio.Semaphore, who: Identity) -> None:
        """`limit` bounds the requests of all Syncs together."""
        self._cluster, self._live, self._who = cluster, live, who
        self._checker = Checker(cluster, live, limit, who)
        self._writer = Writer(cluster, live, limit, who)

    async def check(self, desired: Sequence[Desired]) -> list[Checked | tuple[Desired, Problem]]:
        """Check objects and write nothing. Gives for each the verdict or the problem."""
        return await self._checker.check(desired)

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
        for item in await self._checker.check(desired):
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
            return await self._writer.write(c)
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
