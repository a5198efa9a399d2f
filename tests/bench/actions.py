"""What is done to an operator under measurement, and how long each takes until it shows."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from tests.bench import workload
from tests.bench.client import Client, Json, together
from tests.bench.stage import Operator, Stage
from tests.kit.servers.repo import Repo

T = TypeVar("T")
SECONDS = 900.0
REQUESTED = "setpoint.dev/requested"


def is_ready(resource: Json) -> bool:
    """Whether a Source or Sync is Ready at its newest generation."""
    conditions = (resource.get("status") or {}).get("conditions") or ()
    ready: Json = next((c for c in conditions if c["type"] == "Ready"), {})
    generation = resource["metadata"]["generation"]
    return ready.get("status") == "True" and ready.get("observedGeneration") == generation


def applied(sync: Json) -> str:
    """The revision that a Sync has applied; empty if none."""
    return str(((sync.get("status") or {}).get("applied") or {}).get("revision", ""))


async def wait(work: Awaitable[T]) -> T:
    """Wait, but not for ever."""
    return await asyncio.wait_for(work, SECONDS)


class Actions:
    """One stage, one operator and one repository; `client` is the bench's own."""

    def __init__(self, stage: Stage, operator: Operator, repo: Repo) -> None:
        self.stage, self.operator, self.repo = stage, operator, repo
        self.client: Client = stage.client

    async def source(self, url: str) -> None:
        """Make the Source and wait until it is Ready and the operator quiet."""
        await self.client.apply(workload.source(url))
        await wait(self.client.until_all(self.client.path("Source", workload.HOME), ["repo"], is_ready))
        self.operator.quiet()

    async def install(self, syncs: Sequence[Json]) -> float:
        """Make Syncs; seconds until all are Ready."""
        path, names = self.client.path("Sync", workload.HOME), [s["metadata"]["name"] for s in syncs]
        began = time.monotonic()
        done = asyncio.create_task(self.client.until_all(path, names, is_ready))
        await together(self.client.apply(sync) for sync in syncs)
        await wait(done)
        return time.monotonic() - began

    async def ask(self, value: str) -> None:
        """Have the Source check its remote at once."""
        annotation = {"metadata": {"annotations": {REQUESTED: value}}}
        await self.client.merge(self.client.path("Source", workload.HOME, "repo"), annotation)

    async def commit(
        self, files: Mapping[str, str | None], name: str, fits: Callable[[Json], bool] = lambda _: True
    ) -> tuple[float, float]:
        """Push, and ask for a check; seconds from that and from the Source's new revision until Sync `name` has it."""
        sha = self.repo.commit(files, f"for {name}")
        seen = asyncio.create_task(
            self._moment("Source", "repo", lambda o: sha in o.get("status", {}).get("revision", ""))
        )
        did = asyncio.create_task(self._moment("Sync", name, lambda o: sha in applied(o) and fits(o)))
        await asyncio.sleep(0.2)  # both watches are open by now
        asked = time.monotonic()
        await self.ask(sha)
        saw, done = await wait(asyncio.gather(seen, did))
        return done - asked, done - saw

    async def check(self, files: Mapping[str, str | None]) -> float:
        """Push, and ask for a check; seconds until the Source has it."""
        sha = self.repo.commit(files, "for nobody")
        seen = asyncio.create_task(
            self._moment("Source", "repo", lambda o: sha in o.get("status", {}).get("revision", ""))
        )
        await asyncio.sleep(0.2)  # the watch is open by now
        asked = time.monotonic()
        await self.ask(sha)
        return await wait(seen) - asked

    async def _moment(self, kind: str, name: str, fits: Callable[[Json], bool]) -> float:
        await self.client.until_all(self.client.path(kind, workload.HOME), [name], fits)
        return time.monotonic()

    async def reverted(
        self, path: str, edit: Awaitable[object], back: Callable[[str, Json, Json], bool]
    ) -> float:
        """Do something to an object by hand; seconds until `back(event, object, object before)`."""
        before = await self.client.get(path)
        base, _, name = path.rpartition("/")
        # Not from the object's own version, which may be too old by now.
        now = await self.client.get(f"{base}?limit=1")
        watch = self.client.watch(base, now["metadata"]["resourceVersion"])
        async with contextlib.aclosing(watch) as events:
            await edit
            began = time.monotonic()
            async for kind, obj in events:
                if obj["metadata"]["name"] == name and back(kind, obj, before):
                    break
            return time.monotonic() - began

    async def idle(self, seconds: float) -> tuple[float, float]:
        """Do nothing; requests a minute but lease and watches, and CPU in percent of a core."""
        async with self.stage.window(self.operator) as costs:
            await asyncio.sleep(seconds)
        cost = costs[0]
        return cost.total * 60 / cost.seconds, 100 * cost.cpu / cost.seconds
