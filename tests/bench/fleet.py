"""The figures of the design's budget table: a fleet of N Syncs is installed, changed, left alone, edited and restarted."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from tests.bench import floor, workload
from tests.bench.client import Json, together
from tests.bench.report import Figures
from tests.bench.stage import Cost, Operator, Stage, repository, staged
from tests.bench.tree import Sampler
from tests.servers.repo import Repo

T = TypeVar("T")
MIB = 1 << 20
COMMITS = 5
EDITS = 50
SECONDS = 600.0


def is_ready(sync: Json) -> bool:
    """Whether a Source or Sync is Ready at its newest generation."""
    conditions = (sync.get("status") or {}).get("conditions") or ()
    ready: Json = next((c for c in conditions if c["type"] == "Ready"), {})
    return ready.get("status") == "True" and ready.get("observedGeneration") == sync["metadata"]["generation"]


async def run(
    count: int, *, idle_seconds: float, profile: Path | None, say: Callable[[str], None]
) -> Figures:
    """Measure; `say` hears how far it is."""
    figures = Figures()
    say("the floor, on a cluster of its own")
    async with staged() as stage:
        figures.put("floor_s", await floor.measure(stage.client, count))
    async with staged() as stage:
        with repository(workload.repository(count)) as (repo, url), stage.operator(profile) as operator:
            await Fleet(stage, operator, repo, count, figures, say).measure(url, idle_seconds)
    return figures


class Fleet:
    """One run over one fleet."""

    def __init__(
        self,
        stage: Stage,
        operator: Operator,
        repo: Repo,
        count: int,
        figures: Figures,
        say: Callable[[str], None],
    ) -> None:
        self._stage, self._client, self._operator, self._repo = stage, stage.client, operator, repo
        self._count, self._figures, self._say = count, figures, say
        self._names = [workload.name_of(n) for n in range(count)]

    async def measure(self, url: str, idle_seconds: float) -> None:
        """All phases, in order."""
        await self._client.apply(workload.source(url))
        await wait(self._client.until_all(self._client.path("Source", workload.HOME), ["repo"], is_ready))
        self._operator.quiet()
        sampler = Sampler(self._operator.pid)
        for phase in (self._install, self._commit, lambda: self._idle(idle_seconds), self._edit):
            await phase()
        self._figures.put("memory_peak_mib", sampler.stop() / MIB)
        await self._restart()

    async def _install(self) -> None:
        self._say(f"install of {self._count} Syncs")
        syncs = self._client.path("Sync", workload.HOME)
        async with self._stage.cost(self._operator) as costs:
            began = time.monotonic()
            done = asyncio.create_task(self._client.until_all(syncs, self._names, is_ready))
            await together(self._client.apply(workload.sync(name)) for name in self._names)
            await wait(done)
            seconds = time.monotonic() - began
        put, n = self._figures.put, self._count
        put("install_s", seconds)
        put("install_ratio", seconds / self._figures["floor_s"])
        put("install_requests", costs[0].total / n)
        for kind in ("write", "dry-run", "get", "list", "event"):
            put(f"install_{kind}", costs[0].requests[kind] / n)
        put("install_cpu_ms", costs[0].cpu * 1000 / n)

    async def _commit(self) -> None:
        self._say("commits that touch one application")
        costs, waits = [], []
        for number in range(COMMITS):
            name = self._names[number % self._count]
            async with self._stage.cost(self._operator) as found:
                waits.append(await self._one_commit(name, f"registry.example.org/app:2.{number}"))
            costs += found
        self._put_commit(costs, waits)

    async def _one_commit(self, name: str, image: str) -> tuple[float, float]:
        """Push, ask for a check; seconds from the request and from the Source's new revision until it is applied."""
        sha = self._repo.commit(workload.files(name, image), f"{name} to {image}")
        seen = asyncio.create_task(self._moment("Source", "repo", lambda o: sha in o["status"]["revision"]))
        applied = asyncio.create_task(
            self._moment(
                "Sync",
                name,
                lambda o: sha in ((o.get("status") or {}).get("applied") or {}).get("revision", ""),
            )
        )
        await asyncio.sleep(0.2)  # both watches are open by now
        asked = time.monotonic()
        annotation = {"metadata": {"annotations": {"setpoint.dev/requested": sha}}}
        await self._client.merge(self._client.path("Source", workload.HOME, "repo"), annotation)
        saw, did = await wait(asyncio.gather(seen, applied))
        return did - asked, did - saw

    async def _moment(self, kind: str, name: str, fits: Callable[[Json], bool]) -> float:
        await self._client.until_all(self._client.path(kind, workload.HOME), [name], fits)
        return time.monotonic()

    def _put_commit(self, costs: list[Cost], waits: list[tuple[float, float]]) -> None:
        put = self._figures.put
        put("commit_requests", max(c.total for c in costs))
        put("commit_cpu_ms", statistics.median(c.cpu for c in costs) * 1000)
        put("commit_asked_s", statistics.median(asked for asked, _ in waits))
        put("commit_seen_s", max(seen for _, seen in waits))

    async def _idle(self, seconds: float) -> None:
        self._say(f"idle for {seconds:g} s")
        before, cpu, began = await self._stage.counts(), self._operator.cpu(), time.monotonic()
        await asyncio.sleep(seconds)
        spent, took = self._operator.cpu() - cpu, time.monotonic() - began
        requests = await self._stage.counts()
        requests.subtract(before)
        self._figures.put("idle_requests", Cost(requests, spent, took).total * 60 / took)
        self._figures.put("idle_cpu_percent", 100 * spent / took)
        self._figures.put("memory_steady_mib", self._operator.memory() / MIB)

    async def _edit(self) -> None:
        self._say(f"{EDITS} edits and deletions by hand")
        took = []
        async with self._stage.cost(self._operator) as costs:
            for number in range(EDITS):
                name = self._names[number * 7 % self._count]
                took.append(await self._one_edit(name, delete=number % 2 == 1))
        took.sort()
        self._figures.put("edit_p50_ms", statistics.median(took) * 1000)
        self._figures.put("edit_p99_ms", took[int(len(took) * 0.99)] * 1000)
        self._figures.put("edit_requests", costs[0].total / EDITS)

    async def _one_edit(self, name: str, *, delete: bool) -> float:
        """Change the image of a Deployment, or delete a Service; seconds until it is as before."""
        path = self._client.path("Service" if delete else "Deployment", workload.TARGET, name)
        before = await self._client.get(path)
        base, _, _ = path.rpartition("/")
        watch = self._client.watch(f"{base}", before["metadata"]["resourceVersion"])
        async with contextlib.aclosing(watch) as events:
            if delete:
                await self._client.send("DELETE", path)
            else:
                await self._client.edit(path, _image("edited"))
            began = time.monotonic()
            async for kind, obj in events:
                if obj["metadata"]["name"] == name and _restored(kind, obj, before, delete=delete):
                    break
            return time.monotonic() - began

    async def _restart(self) -> None:
        self._say("restart")
        put = self._figures.put
        self._operator.stop()
        before, began = await self._stage.counts(), time.monotonic()
        self._operator.start()
        quiet = self._operator.evaluated(self._count)
        requests = await self._stage.counts()
        requests.subtract(before)
        cost = Cost(requests, self._operator.cpu(), quiet - began)
        put("restart_writes", cost.writes)
        put("restart_dry_runs", requests["dry-run"])
        put("restart_requests", cost.total)
        put("restart_quiet_s", cost.seconds)
        put("restart_cpu_ms", cost.cpu * 1000 / self._count)
        put("restart_memory_mib", self._operator.memory() / MIB)


def _image(tag: str) -> Json:
    container = {"name": "app", "image": f"registry.example.org/app:{tag}"}
    return {"spec": {"template": {"spec": {"containers": [container]}}}}


def _restored(kind: str, obj: Json, before: Json, *, delete: bool) -> bool:
    if delete:
        return kind == "ADDED" and obj["metadata"]["uid"] != before["metadata"]["uid"]
    wanted, found = (o["spec"]["template"]["spec"]["containers"][0]["image"] for o in (before, obj))
    generation = before["metadata"]["generation"]
    return bool(kind == "MODIFIED" and found == wanted and obj["metadata"]["generation"] > generation + 1)


async def wait(work: Awaitable[T]) -> T:
    """Wait, but not for ever."""
    return await asyncio.wait_for(work, SECONDS)
