"""A large repository: 50,000 files and 10,000 commits, of which a Sync needs one folder."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bench import workload
from tests.bench.actions import Actions
from tests.bench.fleet import HELD, LATE
from tests.bench.report import Figure, Figures
from tests.bench.stage import staged
from tests.bench.tree import Sampler
from tests.kit.servers.githttp import GitHttp
from tests.kit.servers.repo import Repo

MIB = 1 << 20
PER_FOLDER = 50
COMMITTER = "Bench <bench@example.org>"


def figures(count: int) -> Sequence[Figure]:
    """What is measured. `count` is of files; commits are a fifth of that."""
    return (
        Figure("files", "files in the repository"),
        Figure("commits", "commits in the repository"),
        Figure("made_s", "  making it (git fast-import)", "s"),
        Figure("first_s", "from the Source made to the Sync Ready, nothing cached", "s"),
        Figure("first_cpu_ms", "  CPU of operator and worker", "ms"),
        Figure("first_worker_ms", "    of that the worker's", "ms"),
        Figure("cache_mib", "  Git cache on disk", "MiB"),
        Figure("commit_s", "a commit of one file: from the request for a check to applied", "s"),
        Figure("commit_seen_s", "  from the revision seen to applied", "s", 1),
        Figure("commit_requests", "  requests", "", 25),
        Figure("commit_cpu_ms", "  CPU", "ms"),
        Figure("commit_worker_ms", "    of that the worker's", "ms"),
        Figure("elsewhere_requests", "a commit of one file elsewhere: requests", "", 25),
        Figure("elsewhere_reconciles", "  reconciles of the Sync", "", 0),
        Figure("elsewhere_cpu_ms", "  CPU", "ms"),
        Figure("elsewhere_worker_ms", "    of that the worker's", "ms"),
        Figure("peak_mib", "memory of operator and worker (PSS), peak", "MiB", 350),
        Figure("peak_worker_mib", "    of the worker alone", "MiB"),
        HELD,
        LATE,
    )


def content(number: int, value: str) -> str:
    """One file: a ConfigMap."""
    name = f"file-{number:06}"
    return json.dumps(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value}}
    )


def path_of(number: int) -> str:
    """Where one file lies."""
    return f"folders/{number // PER_FOLDER:05}/{number % PER_FOLDER:02}.yaml"


def stream(files: int, commits: int) -> Iterator[bytes]:
    """What git fast-import reads: all files in the first commit, and one in each that follows."""
    for number in range(commits):
        yield f"commit refs/heads/main\ncommitter {COMMITTER} {1_700_000_000 + number} +0000\n".encode()
        yield _data(f"Commit {number}")
        changed = range(files) if number == 0 else [number * 7919 % files]
        for each in changed:
            yield f"M 100644 inline {path_of(each)}\n".encode() + _data(content(each, str(number)))
    yield b"done\n"


def _data(text: str) -> bytes:
    raw = text.encode()
    return b"data %d\n%s\n" % (len(raw), raw)


@contextmanager
def large(files: int, commits: int) -> Iterator[tuple[Repo, str]]:
    """A repository of so many files and commits, served by git http-backend; the repository and its URL."""
    with tempfile.TemporaryDirectory() as folder, GitHttp(Path(folder)) as server:
        repo = server.repo("large")
        repo.load(stream(files, commits))
        yield repo, server.url("large")


async def run(count: int, *, say: Callable[[str], None]) -> Figures:
    """Measure; `say` hears how far it is."""
    found, commits = Figures(), max(1, count // 5)
    found.put("files", count)
    found.put("commits", commits)
    async with staged() as stage:
        say(f"a repository of {count} files and {commits} commits")
        began = time.monotonic()
        with large(count, commits) as (repo, url), stage.operator() as operator:
            found.put("made_s", time.monotonic() - began)
            operator.quiet()
            sampler = Sampler(operator.pid)
            await _measure(Actions(stage, operator, repo), url, found, say)
            found.put("peak_mib", sampler.stop() / MIB)
            found.put("peak_worker_mib", sampler.parts.worker / MIB)
            found.update(operator.held())
    return found


async def _measure(do: Actions, url: str, found: Figures, say: Callable[[str], None]) -> None:
    say("the first sync")
    async with do.stage.cost(do.operator) as costs:
        began = time.monotonic()
        await do.client.apply(workload.source(url))
        await do.install([workload.sync("one", path="./folders/00003")])
        found.put("first_s", time.monotonic() - began)
    found.put("first_cpu_ms", costs[0].cpu * 1000)
    found.put("first_worker_ms", costs[0].worker * 1000)
    found.put("cache_mib", do.operator.cached() / MIB)
    say("a commit of one file")
    inside, elsewhere = 3 * PER_FOLDER + 1, 9 * PER_FOLDER
    async with do.stage.cost(do.operator) as costs:
        asked, seen = await do.commit({path_of(inside): content(inside, "changed")}, "one")
    found.put("commit_s", asked)
    found.put("commit_seen_s", seen)
    found.put("commit_requests", costs[0].total)
    found.put("commit_cpu_ms", costs[0].cpu * 1000)
    found.put("commit_worker_ms", costs[0].worker * 1000)
    before = do.operator.metric("setpoint_reconciles_total", 'kind="Sync"')
    async with do.stage.cost(do.operator) as costs:
        await do.check({path_of(elsewhere): content(elsewhere, "changed")})
    found.put("elsewhere_requests", costs[0].total)
    found.put("elsewhere_cpu_ms", costs[0].cpu * 1000)
    found.put("elsewhere_worker_ms", costs[0].worker * 1000)
    found.put("elsewhere_reconciles", do.operator.metric("setpoint_reconciles_total", 'kind="Sync"') - before)
