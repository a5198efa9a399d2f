"""What one tenant notices of another who does all that may be done: bombs again and again, silent servers, many Sources."""

from __future__ import annotations

import asyncio
import itertools
import socket
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from pygit2.enums import FileMode
from tests.bench import workload
from tests.bench.actions import REQUESTED, Actions
from tests.bench.bombs import BOMBS
from tests.bench.client import Json, together
from tests.bench.fleet import HELD, LATE, one_app_commits
from tests.bench.report import Figure, Figures
from tests.bench.stage import repository, staged
from tests.kit.bombs import Bombs
from tests.kit.servers.githttp import GitHttp
from tests.kit.servers.repo import Repo

ATTACKER = "bench-attacker"
COMMITS = 40
SILENT = 40
MANY = 40
SETTLE_SECONDS = 20.0
ASK_SECONDS = 3.0


def figures(count: int) -> Sequence[Figure]:
    """What is measured. `count` is of the Syncs of the tenant who does nothing wrong."""
    return (
        Figure("alone_p50_s", f"{count} Syncs alone: a commit, asked to applied, p50", "s"),
        Figure("alone_p99_s", "  p99", "s"),
        Figure("bombs", "beside another tenant: bombs, each sent again all the time"),
        Figure("silent", "  Sources at a silent server"),
        Figure("many", "  other Sources, each with a Sync"),
        Figure("beside_p50_s", "  a commit, asked to applied, p50", "s"),
        Figure("beside_p99_s", "  p99", "s"),
        Figure("p50_ratio", "beside against alone: p50", "x"),
        Figure("p99_ratio", "  p99", "x", 1.5),
        HELD,
        LATE,
    )


async def run(count: int, *, say: Callable[[str], None]) -> Figures:
    """Measure; `say` hears how far it is."""
    found = Figures()
    names = [workload.name_of(n) for n in range(count)]
    async with staged() as stage:
        with repository(workload.repository(count)) as (repo, url), stage.operator() as operator:
            do = Actions(stage, operator, repo)
            await do.source(url)
            say(f"{count} Syncs alone")
            await do.install([workload.sync(name) for name in names])
            operator.quiet()
            await _latency(do, names, "alone", found)
            with siege() as attack:
                say("the other tenant's Sources and Syncs")
                await attack.begin(do)
                asking = asyncio.create_task(attack.again(do))
                await asyncio.sleep(SETTLE_SECONDS)
                say("commits beside them")
                await _latency(do, names, "beside", found)
                asking.cancel()
                with suppress(asyncio.CancelledError):
                    await asking
            found.update(operator.held())
    found.update(bombs=len(BOMBS), silent=SILENT, many=MANY)
    for part in ("p50", "p99"):
        found.put(f"{part}_ratio", found[f"beside_{part}_s"] / found[f"alone_{part}_s"])
    return found


async def _latency(do: Actions, names: Sequence[str], when: str, found: Figures) -> None:
    _, waits = await one_app_commits(do, names, COMMITS, tag=when, rest=False)
    took = sorted(asked for asked, _ in waits)
    found.put(f"{when}_p50_s", took[len(took) // 2])
    found.put(f"{when}_p99_s", took[int(len(took) * 0.99)])


@contextmanager
def siege() -> Iterator[Siege]:
    """Make repositories of bombs, of two commits each, and a server that never answers."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        server = stack.enter_context(GitHttp(Path(folder)))
        silent = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=1_000))
        repos = {name: server.repo(name) for name in BOMBS}
        commits = {name: _both(Bombs(repo.path), name) for name, repo in repos.items()}
        plain = server.repo("plain")
        plain.commit(workload.files("plain"), "First")
        urls = {name: server.url(name) for name in BOMBS}
        urls |= {f"silent-{n:03}": f"http://127.0.0.1:{silent.getsockname()[1]}/{n}" for n in range(SILENT)}
        urls |= {f"many-{n:03}": f"{server.url('plain')}" for n in range(MANY)}
        yield Siege(urls, repos, commits)


def _both(bombs: Bombs, name: str) -> tuple[str, str]:
    folders = [BOMBS[name].folder(bombs, text) for text in ("1", "2")]
    first, second = (bombs.commit(bombs.folder([("p", each, FileMode.TREE)])) for each in folders)
    return first, second


class Siege:
    """Sources and Syncs of one namespace, whose account may do everything there and nothing elsewhere."""

    def __init__(
        self, urls: dict[str, str], repos: dict[str, Repo], commits: dict[str, tuple[str, str]]
    ) -> None:
        self._urls, self._repos, self._commits = urls, repos, commits

    async def begin(self, do: Actions) -> None:
        """Make all of them, without waiting for what becomes of them."""
        for each in _tenant():
            await do.client.apply(each)
        await together(
            do.client.apply(_there(made))
            for name, url in self._urls.items()
            for made in (workload.source(url, name=name, interval="10s"), _sync(name))
        )

    async def again(self, do: Actions) -> None:
        """Move every branch between its two commits, and ask for a look at every Source, for ever."""
        for number in itertools.count():
            for name, repo in self._repos.items():
                await asyncio.to_thread(repo.reset, self._commits[name][number % 2])
            asked = {"metadata": {"annotations": {REQUESTED: str(number)}}}
            await together(
                do.client.merge(do.client.path("Source", ATTACKER, name), asked) for name in self._urls
            )
            await asyncio.sleep(ASK_SECONDS)


def _there(made: Json) -> Json:
    return {**made, "metadata": {**made["metadata"], "namespace": ATTACKER}}


def _sync(name: str) -> Json:
    path = "./p" if name in BOMBS else "./apps/plain"
    return workload.sync(name, source={"name": name}, path=path, targetNamespace=ATTACKER)


def _tenant() -> list[Json]:
    meta: dict[str, Any] = {"name": workload.ACCOUNT, "namespace": ATTACKER}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ATTACKER}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": role,
            "subjects": [{"kind": "ServiceAccount", **meta}],
        },
    ]
