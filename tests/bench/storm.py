"""Much at once: commits in a row, a thousand edits by hand, and an object whose status never rests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from tests.bench import workload
from tests.bench.actions import Actions, applied, is_ready, wait
from tests.bench.client import Json, together
from tests.bench.report import Figure, Figures
from tests.bench.stage import repository, staged

COMMITS = 100
CHATTER_PER_SECOND = 50
CHATTER_SECONDS = 20.0
KINDS = ("ServiceAccount", "Service", "Ingress", "Deployment")


def figures(count: int) -> Sequence[Figure]:
    """What is measured. `count` is of Syncs with 4 objects each."""
    return (
        Figure("chatty", "a chatty object: changes of its status a second"),
        Figure("chatty_requests", "  requests of the operator", "", 0),
        Figure("chatty_cpu_percent", "  CPU, of one core", "%"),
        Figure("row_s", f"{COMMITS} commits in a row: from the last push until it is applied", "s"),
        Figure("row_pushed_s", "  pushing them", "s"),
        Figure("row_applied", "  revisions applied on the way", "", COMMITS // 2),
        Figure("row_requests", "  requests"),
        Figure("edits", "objects edited by hand at once"),
        Figure("edits_s", "  until all are corrected", "s"),
        Figure("edits_requests", "  requests for each"),
        Figure("edits_cpu_ms", "  CPU for each", "ms"),
    )


async def run(count: int, *, say: Callable[[str], None]) -> Figures:
    """Measure; `say` hears how far it is."""
    found = Figures()
    async with staged() as stage:
        with repository(workload.repository(count)) as (repo, url), stage.operator() as operator:
            do = Actions(stage, operator, repo)
            await do.source(url)
            say(f"install of {count} Syncs")
            names = [workload.name_of(n) for n in range(count)]
            await do.install([workload.sync(name) for name in names])
            operator.quiet()
            say(f"a chatty object for {CHATTER_SECONDS:g} s")
            await _chatter(do, names[1], found)
            say(f"{COMMITS} commits in a row")
            await _row(do, names[0], found)
            say(f"{len(names) * len(KINDS)} edits at once")
            await _edits(do, names, found)
    return found


async def _row(do: Actions, name: str, found: Figures) -> None:
    """Push commit after commit, each with a request for a check, as a webhook would make it."""
    seen: set[str] = set()
    last = asyncio.get_running_loop().create_future()
    watching = asyncio.create_task(_revisions(do, name, seen, last))
    async with do.stage.cost(do.operator) as costs:
        began = time.monotonic()
        for number in range(COMMITS):
            files = workload.files(name, f"registry.example.org/app:3.{number}")
            sha = await asyncio.to_thread(do.repo.commit, files, f"Number {number}")
            await do.ask(sha)
        pushed = time.monotonic()
        last.set_result(sha)
        await wait(watching)
        ended = time.monotonic()
    found.put("row_s", ended - pushed)
    found.put("row_pushed_s", pushed - began)
    found.put("row_applied", len(seen))
    found.put("row_requests", costs[0].total)


async def _revisions(do: Actions, name: str, seen: set[str], last: asyncio.Future[str]) -> None:
    """Collect what a Sync applies, until that is the last commit."""
    first: str | None = None
    async for _, sync in do.client.watch(do.client.path("Sync", workload.HOME)):
        if sync["metadata"]["name"] == name and applied(sync):
            first = first or applied(sync)
            if applied(sync) != first:
                seen.add(applied(sync))
            if last.done() and last.result() in applied(sync) and is_ready(sync):
                return


async def _edits(do: Actions, names: Sequence[str], found: Figures) -> None:
    """Change one label of every object; it is Git's."""
    edited = {"metadata": {"labels": {workload.LABEL: "edited"}}}
    paths = [do.client.path(kind, workload.TARGET, name) for kind in KINDS for name in names]
    versions = {k: await _version(do, k) for k in KINDS}
    async with do.stage.cost(do.operator) as costs:
        began = time.monotonic()
        await together(do.client.merge(path, edited) for path in paths)
        await wait(asyncio.gather(*(_all_back(do, kind, names, versions[kind]) for kind in KINDS)))
        ended = time.monotonic()
    found.put("edits", len(paths))
    found.put("edits_s", ended - began)
    found.put("edits_requests", costs[0].total / len(paths))
    found.put("edits_cpu_ms", costs[0].cpu * 1000 / len(paths))


async def _version(do: Actions, kind: str) -> str:
    found = await do.client.get(f"{do.client.path(kind, workload.TARGET)}?limit=1")
    return str(found["metadata"]["resourceVersion"])


async def _all_back(do: Actions, kind: str, names: Sequence[str], version: str) -> None:
    """Follow one kind from before the edits, until each object was edited and is as before."""
    left, edited = set(names), set()
    async for _, obj in do.client.watch(do.client.path(kind, workload.TARGET), version):
        name, label = obj["metadata"]["name"], obj["metadata"].get("labels", {}).get(workload.LABEL)
        if label == "edited":
            edited.add(name)
        elif name in edited:
            left.discard(name)
            if not left:
                return


async def _chatter(do: Actions, name: str, found: Figures) -> None:
    """Change the status of an Ingress as a busy controller might."""
    path = do.client.path("Ingress", workload.TARGET, name)
    async with do.stage.window(do.operator) as costs:
        began, number = time.monotonic(), 0
        while (passed := time.monotonic() - began) < CHATTER_SECONDS:
            await do.client.merge(f"{path}/status", _address(number), "some-controller")
            number += 1
            await asyncio.sleep(max(0.0, number / CHATTER_PER_SECOND - passed))
    found.put("chatty", number / CHATTER_SECONDS)
    found.put("chatty_requests", costs[0].total)
    found.put("chatty_cpu_percent", 100 * costs[0].cpu / costs[0].seconds)


def _address(number: int) -> Json:
    address = f"10.0.{number // 250 % 250}.{number % 250 + 1}"
    return {"status": {"loadBalancer": {"ingress": [{"ip": address}]}}}
