"""The figures of the design's budget table: a fleet of N Syncs is installed, changed, left alone, edited and restarted."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.bench import floor, workload
from tests.bench.actions import Actions
from tests.bench.client import Json
from tests.bench.report import Figure, Figures
from tests.bench.stage import Cost, repository, staged
from tests.bench.tree import Sampler

MIB = 1 << 20
COMMITS = 5
EDITS = 50
HELD = Figure("held_ms", "the operator's event loop held, at most", "ms", 100)
LATE = Figure("late_ms", "  with what it waited for the CPU", "ms")

FIGURES = (
    Figure("floor_s", "floor: a bare client, until all are healthy", "s"),
    Figure("install_s", "install, until all are Ready", "s"),
    Figure("install_ratio", "  as a ratio to the floor", "x", 2),
    Figure("install_requests", "  API requests for each Sync, Events included", "", 14),
    Figure("install_write", "    writes"),
    Figure("install_dry-run", "    dry runs"),
    Figure("install_get", "    reads"),
    Figure("install_list", "    lists"),
    Figure("install_event", "    Events"),
    Figure("install_cpu_ms", "  CPU of operator and worker for each Sync", "ms", 25),
    Figure("install_worker_ms", "    of that the worker's", "ms"),
    Figure("commit_requests", "a commit that touches 1 of N: requests, most of 5", "", 25),
    Figure("commit_cpu_ms", "  CPU, median", "ms"),
    Figure("commit_worker_ms", "    of that the worker's", "ms"),
    Figure("commit_seen_s", "  from the revision seen to applied, slowest", "s", 1),
    Figure("commit_asked_s", "  from the request for a check to applied, median", "s"),
    Figure("idle_requests", "idle: requests a minute but lease and watches", "", 0),
    Figure("idle_cpu_percent", "  CPU, of one core", "%", 1),
    Figure("edit_p50_ms", "edit or deletion by hand until corrected, p50", "ms"),
    Figure("edit_p99_ms", "  p99", "ms", 500),
    Figure("edit_requests", "  requests for each"),
    Figure("restart_writes", "restart: writes", "", 0),
    Figure("restart_dry_runs", "  dry runs", "", 0),
    Figure("restart_requests", "  requests in all"),
    Figure("restart_quiet_s", "  until quiet", "s", 30),
    Figure("restart_cpu_ms", "  CPU for each Sync", "ms"),
    Figure("restart_worker_ms", "    of that the worker's", "ms"),
    Figure("restart_memory_mib", "  memory afterwards", "MiB", 300),
    Figure("memory_steady_mib", "memory of operator and worker (PSS), idle", "MiB", 300),
    Figure("memory_worker_mib", "    of that the worker's", "MiB"),
    Figure("memory_peak_mib", "  peak", "MiB", 350),
    Figure("memory_peak_worker_mib", "    of the worker alone", "MiB"),
    HELD,
    LATE,
)


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
            await Fleet(Actions(stage, operator, repo), count, figures, say).measure(url, idle_seconds)
    return figures


class Fleet:
    """One run over one fleet."""

    def __init__(self, actions: Actions, count: int, figures: Figures, say: Callable[[str], None]) -> None:
        self._do, self._count, self._figures, self._say = actions, count, figures, say
        self._stage, self._operator, self._client = actions.stage, actions.operator, actions.client
        self._names = [workload.name_of(n) for n in range(count)]

    async def measure(self, url: str, idle_seconds: float) -> None:
        """All phases, in order."""
        await self._do.source(url)
        sampler = Sampler(self._operator.pid)
        for phase in (self._install, self._commit, lambda: self._idle(idle_seconds), self._edit):
            await phase()
        self._figures.put("memory_peak_mib", sampler.stop() / MIB)
        self._figures.put("memory_peak_worker_mib", sampler.parts.worker / MIB)
        self._figures.update(self._operator.held())
        await self._restart()

    async def _install(self) -> None:
        self._say(f"install of {self._count} Syncs")
        async with self._stage.cost(self._operator) as costs:
            seconds = await self._do.install([workload.sync(name) for name in self._names])
        put, n = self._figures.put, self._count
        put("install_s", seconds)
        put("install_ratio", seconds / self._figures["floor_s"])
        put("install_requests", costs[0].total / n)
        for kind in ("write", "dry-run", "get", "list", "event"):
            put(f"install_{kind}", costs[0].requests[kind] / n)
        put("install_cpu_ms", costs[0].cpu * 1000 / n)
        put("install_worker_ms", costs[0].worker * 1000 / n)

    async def _commit(self) -> None:
        self._say("commits that touch one application")
        costs, waits = await one_app_commits(self._do, self._names, COMMITS)
        put = self._figures.put
        put("commit_requests", max(c.total for c in costs))
        put("commit_cpu_ms", statistics.median(c.cpu for c in costs) * 1000)
        put("commit_worker_ms", statistics.median(c.worker for c in costs) * 1000)
        put("commit_asked_s", statistics.median(asked for asked, _ in waits))
        put("commit_seen_s", max(seen for _, seen in waits))

    async def _idle(self, seconds: float) -> None:
        self._say(f"idle for {seconds:g} s")
        requests, percent = await self._do.idle(seconds)
        self._figures.put("idle_requests", requests)
        self._figures.put("idle_cpu_percent", percent)
        memory = self._operator.memory()
        self._figures.put("memory_steady_mib", memory.both / MIB)
        self._figures.put("memory_worker_mib", memory.worker / MIB)

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
        if delete:
            path = self._client.path("Service", workload.TARGET, name)
            return await self._do.reverted(path, self._client.send("DELETE", path), made_anew)
        path = self._client.path("Deployment", workload.TARGET, name)
        return await self._do.reverted(path, self._client.edit(path, image("edited")), image_is_back)

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
        put("restart_worker_ms", cost.worker * 1000 / self._count)
        put("restart_memory_mib", self._operator.memory().both / MIB)


async def one_app_commits(
    do: Actions, names: Sequence[str], count: int, tag: str = "2", *, rest: bool = True
) -> tuple[list[Cost], list[tuple[float, float]]]:
    """Commits that touch one application each: what each cost, and how long it took (asked, seen).

    `rest`: the operator is quiet before the next one.
    """
    costs, waits = [], []
    measure = do.stage.cost if rest else do.stage.window
    for number in range(count):
        name = names[number % len(names)]
        async with measure(do.operator) as found:
            waits.append(
                await do.commit(workload.files(name, f"registry.example.org/app:{tag}.{number}"), name)
            )
        costs += found
    return costs, waits


def image(tag: str) -> Json:
    """What changes the image of an application's Deployment."""
    container = {"name": "app", "image": f"registry.example.org/app:{tag}"}
    return {"spec": {"template": {"spec": {"containers": [container]}}}}


def made_anew(kind: str, obj: Json, before: Json) -> bool:
    """Whether a deleted object is back."""
    return kind == "ADDED" and bool(obj["metadata"]["uid"] != before["metadata"]["uid"])


def image_is_back(kind: str, obj: Json, before: Json) -> bool:
    """Whether an edited Deployment has the image that it had."""
    wanted, found = (o["spec"]["template"]["spec"]["containers"][0]["image"] for o in (before, obj))
    generation = before["metadata"]["generation"]
    return bool(kind == "MODIFIED" and found == wanted and obj["metadata"]["generation"] > generation + 1)
