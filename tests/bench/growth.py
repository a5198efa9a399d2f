"""Cost grows with what changed, not with what exists: one fleet at three sizes, on one cluster."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.bench import workload
from tests.bench.actions import Actions
from tests.bench.fleet import one_app_commits
from tests.bench.report import Figure, Figures
from tests.bench.stage import repository, staged

COMMITS = 5
KIB, MIB = 1 << 10, 1 << 20
RECONCILES = "setpoint_reconciles_total"


def sizes(count: int) -> tuple[int, int, int]:
    """A tenth, three tenths, and all."""
    return max(1, count // 10), max(2, 3 * count // 10), count


def figures(count: int) -> Sequence[Figure]:
    """What is measured, at each size."""
    rows = []
    for size in sizes(count):
        rows += [
            Figure(
                f"requests_{size}", f"a commit that touches 1 of {size}: requests, most of {COMMITS}", "", 25
            ),
            Figure(f"reconciles_{size}", "  reconciles, most"),
            Figure(f"cpu_ms_{size}", "  CPU, median", "ms"),
            Figure(f"seen_s_{size}", "  from the revision seen to applied, slowest", "s", 1),
            Figure(f"memory_mib_{size}", "  memory of operator and worker (PSS)", "MiB"),
        ]
    return (
        *rows,
        Figure("requests_ratio", "requests, at the largest size against the smallest", "x", 2),
        Figure("cpu_ratio", "CPU, at the largest size against the smallest", "x", 2),
        Figure("memory_kib", "memory for each further Sync of 4 objects", "KiB", 150),
        Figure("idle_requests", "idle at the largest size: requests a minute", "", 0),
        Figure("idle_cpu_percent", "  CPU, of one core", "%", 1),
    )


@dataclass(frozen=True)
class Point:
    """What one commit costs at one size: the most of several, and of what is counted the least too.

    Whatever else goes on in the cluster only adds to a count: the least of several is of the commit alone.
    """

    requests: int
    reconciles: int
    cpu: float
    memory: float
    least_requests: int
    least_reconciles: int


async def run(count: int, *, idle_seconds: float, say: Callable[[str], None]) -> Figures:
    """Measure; `say` hears how far it is."""
    found = Figures()
    async with staged() as stage:
        with repository(workload.repository(count)) as (repo, url), stage.operator() as operator:
            do = Actions(stage, operator, repo)
            await do.source(url)
            points = await grown(do, sizes(count), found, say)
            say(f"idle for {idle_seconds:g} s")
            requests, percent = await do.idle(idle_seconds)
    first, last = points[0], points[-1]
    found.put("requests_ratio", last.requests / first.requests)
    found.put("cpu_ratio", last.cpu / first.cpu)
    found.put("memory_kib", (last.memory - first.memory) / (sizes(count)[-1] - sizes(count)[0]) / KIB)
    found.put("idle_requests", requests)
    found.put("idle_cpu_percent", percent)
    return found


async def grown(
    do: Actions, counts: Sequence[int], found: Figures, say: Callable[[str], None]
) -> list[Point]:
    """Let a fleet grow from size to size, and commit at each."""
    points, names = [], [workload.name_of(n) for n in range(max(counts))]
    there = 0
    for count in counts:
        say(f"{count} Syncs")
        await do.install([workload.sync(name) for name in names[there:count]])
        there = count
        do.operator.quiet()
        points.append(await _point(do, names[:count], found))
    return points


async def _point(do: Actions, names: Sequence[str], found: Figures) -> Point:
    size = len(names)
    costs, waits, reconciles = [], [], []
    for number in range(COMMITS):
        before = do.operator.metric(RECONCILES, 'kind="Sync"')
        cost, took = await one_app_commits(do, names[number % size :], 1, tag=f"{size}.{number}")
        reconciles.append(int(do.operator.metric(RECONCILES, 'kind="Sync"') - before))
        costs += cost
        waits += took
    totals = [c.total for c in costs]
    point = Point(
        max(totals),
        max(reconciles),
        statistics.median(c.cpu for c in costs),
        do.operator.memory().both,
        min(totals),
        min(reconciles),
    )
    found.put(f"requests_{size}", point.requests)
    found.put(f"reconciles_{size}", point.reconciles)
    found.put(f"cpu_ms_{size}", point.cpu * 1000)
    found.put(f"seen_s_{size}", max(seen for _, seen in waits))
    found.put(f"memory_mib_{size}", point.memory / MIB)
    return point
