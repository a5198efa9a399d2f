"""One Sync with very many objects: install, a change of one, drift, prune."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence

from tests.bench import workload
from tests.bench.actions import Actions, applied, is_ready, wait
from tests.bench.client import Json
from tests.bench.fleet import HELD, LATE, image, image_is_back
from tests.bench.report import Figure, Figures
from tests.bench.stage import repository, staged
from tests.bench.tree import Sampler

MIB = 1 << 20
PER_FILE = 100
IDLE_SECONDS = 20.0
# What Config Sync publishes for as many, in seconds, as the issue that asked for this gives it.
THEIRS = {"ConfigMap": 120.0, "Deployment": 50.0}
COUNTS = {"ConfigMap": 10_000, "Deployment": 3_000}


def figures(kind: str, number: int) -> Sequence[Figure]:
    """What is measured for so many of a kind."""
    whole = number == COUNTS[kind]
    return (
        Figure("install_s", f"{number} {kind}s in one Sync: install", "s", THEIRS[kind] if whole else None),
        Figure("install_requests", "  requests for each object"),
        Figure("install_cpu_ms", "  CPU of operator and worker for each object", "ms"),
        Figure("install_worker_ms", "    of that the worker's", "ms"),
        Figure("change_s", "a commit that changes one object, until applied", "s"),
        Figure("change_requests", "  requests", "", 25),
        Figure("change_cpu_ms", "  CPU", "ms"),
        Figure("change_worker_ms", "    of that the worker's", "ms"),
        Figure("drift_ms", "an edit by hand until corrected", "ms", 500),
        Figure("drift_requests", "  requests"),
        Figure("prune_s", f"a commit that removes {number // 2 // PER_FILE * PER_FILE}", "s"),
        Figure("prune_requests", "  requests for each of them"),
        Figure("idle_requests", "idle: requests a minute", "", 0),
        Figure("status_kb", "status of the Sync, largest", "kB", 500),
        Figure("peak_mib", "memory of operator and worker (PSS), peak", "MiB"),
        Figure("peak_worker_mib", "    of the worker alone", "MiB"),
        HELD,
        LATE,
    )


def name_of(number: int) -> str:
    """The name of one object."""
    return f"many-{number:05}"


def manifest(kind: str, name: str, value: str) -> Json:
    """One object; `value` is what changes."""
    if kind == "Deployment":
        image = f"registry.example.org/app:{value}"
        return next(o for o in workload.objects(name, image) if o["kind"] == kind)
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "data": {"value": value}}


def shelf(kind: str, number: int, value: str, special: str = "") -> dict[str, str]:
    """One file; the first object of it has the value `special`, if there is one."""
    names = [name_of(n) for n in range(number * PER_FILE, (number + 1) * PER_FILE)]
    made = [manifest(kind, name, value) for name in names]
    if special:
        made[0] = manifest(kind, names[0], special)
    return {f"many/{number:04}.yaml": "\n---\n".join(json.dumps(each) for each in made)}


async def run(kind: str, number: int, *, say: Callable[[str], None]) -> Figures:
    """Measure one kind; `say` hears how far it is."""
    found = Figures()
    files = {p: t for n in range(number // PER_FILE) for p, t in shelf(kind, n, "1").items()}
    async with staged() as stage:
        with repository(files) as (repo, url), stage.operator() as operator:
            await Size(Actions(stage, operator, repo), kind, number, found, say).measure(url)
    return found


class Size:
    """One Sync of one kind."""

    def __init__(
        self, actions: Actions, kind: str, number: int, found: Figures, say: Callable[[str], None]
    ) -> None:
        self._do, self._kind, self._number, self._found, self._say = actions, kind, number, found, say
        self._files = number // PER_FILE
        self._largest = 0

    async def measure(self, url: str) -> None:
        """All phases, in order."""
        await self._do.source(url)
        sampler = Sampler(self._do.operator.pid)
        for phase in (self._install, self._change, self._drift, self._prune, self._idle):
            await phase()
        self._put("peak_mib", sampler.stop() / MIB)
        self._put("peak_worker_mib", sampler.parts.worker / MIB)
        self._found.update(self._do.operator.held())
        self._put("status_kb", self._largest / 1000)

    def _put(self, key: str, value: float) -> None:
        self._found.put(key, value)

    async def _look(self) -> None:
        sync = await self._do.client.get(self._do.client.path("Sync", workload.HOME, "many"))
        self._largest = max(self._largest, len(json.dumps(sync["status"])))

    async def _install(self) -> None:
        self._say(f"install of {self._number} {self._kind}s")
        async with self._do.stage.cost(self._do.operator) as costs:
            took = await self._do.install([workload.sync("many", path="./many", pruneLimit="100%")])
        self._put("install_s", took)
        self._put("install_requests", costs[0].total / self._number)
        self._put("install_cpu_ms", costs[0].cpu * 1000 / self._number)
        self._put("install_worker_ms", costs[0].worker * 1000 / self._number)
        await self._look()

    async def _change(self) -> None:
        self._say("a commit that changes one object")
        async with self._do.stage.cost(self._do.operator) as costs:
            asked, _ = await self._do.commit(shelf(self._kind, self._files // 2, "1", "2"), "many")
        self._put("change_s", asked)
        self._put("change_requests", costs[0].total)
        self._put("change_cpu_ms", costs[0].cpu * 1000)
        self._put("change_worker_ms", costs[0].worker * 1000)

    async def _drift(self) -> None:
        self._say("an edit by hand")
        client = self._do.client
        path = client.path(self._kind, workload.TARGET, name_of(1))
        async with self._do.stage.cost(self._do.operator) as costs:
            if self._kind == "ConfigMap":
                edit = client.merge(path, {"data": {"value": "edited"}})
                took = await self._do.reverted(path, edit, _data_is_back)
            else:
                took = await self._do.reverted(path, client.edit(path, image("edited")), image_is_back)
        self._put("drift_ms", took * 1000)
        self._put("drift_requests", costs[0].total)
        await self._look()

    async def _prune(self) -> None:
        half = self._files // 2
        self._say(f"a commit that removes {half * PER_FILE} objects")
        began = time.monotonic()
        async with self._do.stage.cost(self._do.operator) as costs:
            sha = self._do.repo.commit({f"many/{n:04}.yaml": None for n in range(half)}, "Half of them")
            await self._do.ask(sha)
            path = self._do.client.path("Sync", workload.HOME)
            fits = self._do.client.until_all(path, ["many"], lambda o: sha in applied(o) and is_ready(o))
            await wait(fits)
            took = time.monotonic() - began
        self._put("prune_s", took)
        self._put("prune_requests", costs[0].total / (half * PER_FILE))
        left = await self._do.client.get(self._do.client.path(self._kind, workload.TARGET))
        ours = [o for o in left["items"] if o["metadata"]["name"].startswith("many-")]
        if len(ours) != self._number - half * PER_FILE:
            raise RuntimeError(f"{len(ours)} objects are left after the prune")

    async def _idle(self) -> None:
        requests, _ = await self._do.idle(IDLE_SECONDS)
        self._put("idle_requests", requests)


def _data_is_back(kind: str, obj: Json, before: Json) -> bool:
    newer = obj["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
    return kind == "MODIFIED" and newer and bool(obj["data"] == before["data"])
