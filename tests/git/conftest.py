"""Fixtures for tests of Git: the real thing on both sides, a cache of its own for each test."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.kit.cluster.pki import Authority, Pair
from tests.kit.gitboth import POLICY, Git
from tests.kit.servers.githttp import GitHttp, Rules

from setpoint.api.budgets import DEFAULTS, Budgets
from setpoint.api.hosts import HostRules
from setpoint.api.reasons import Problem
from setpoint.fences.policy import Policy
from setpoint.git.credentials import NO_CREDENTIALS, Credentials, credentials_from_secret
from setpoint.git.refs import Selected
from setpoint.git.remotes import Repository, parse_url
from setpoint.tree.protocol import Tree
from setpoint.wall.messages import GitRef

MIB = 2**20
TIMEOUT = 120.0
LOOPBACK_TOO = HostRules(allowed=("127.0.0.0/8", "::1/128", "*"))
MAIN = GitRef(branch="main")


class World:
    """One operator's Git on a cache folder, with the two steps that a Source takes."""

    def __init__(
        self,
        cache: Path,
        environ: Mapping[str, str],
        limit: int,
        idle: float,
        children: int,
        hosts: HostRules,
        budgets: Budgets,
        policy: Policy,
    ) -> None:
        self.cache = cache
        self.git = Git(
            cache,
            cache_limit=limit,
            children=children,
            idle=idle,
            environ=environ,
            hosts=hosts,
            budgets=budgets,
            policy=policy,
        )

    async def check(
        self,
        repository: Repository,
        ref: GitRef = MAIN,
        *,
        submodules: bool = False,
        timeout: float = TIMEOUT,
    ) -> Selected:
        """Do what a Source's reconcile does: ls-remote, and a fetch if the commit is not there."""
        selected = await self.git.resolve(repository, ref, timeout)
        if not self.git.has(repository, selected.sha, submodules=submodules):
            selected = await self.git.fetch(repository, ref, selected, timeout, submodules=submodules)
        return selected

    async def fails(self, repository: Repository, ref: GitRef = MAIN, **options: Any) -> Problem:
        """Return the Problem that a check ends with."""
        with pytest.raises(Problem) as caught:
            await self.check(repository, ref, **options)
        return caught.value

    def read(self, repository: Repository, sha: str, path: str, *, submodules: bool = False) -> bytes:
        """Read a file of a commit."""
        return self.git.tree(repository, sha, submodules=submodules).read(path)

    def pids(self) -> list[int]:
        """Return the running children, in no order; a fetcher ends with its fetch."""
        assert self.git.fetching._children
        return [child.process.pid for child in self.git.fetching._children.all if not child.retired]


MakeWorld = Callable[..., World]
StartHttps = Callable[[str, Pair], GitHttp]


@pytest_asyncio.fixture
async def make_world(tmp_path: Path) -> AsyncIterator[MakeWorld]:
    """Make operators: by default on the same cache, without a proxy and without the machine's environment."""
    made: list[World] = []

    def make(
        *,
        cache: Path | None = None,
        environ: Mapping[str, str] | None = None,
        limit: int = 512 * MIB,
        idle: float = 30.0,
        children: int = 8,
        hosts: HostRules = LOOPBACK_TOO,
        budgets: Budgets = DEFAULTS,
        policy: Policy = POLICY,
    ) -> World:
        place, limits = cache or tmp_path / "cache", (limit, idle, children)
        made.append(World(place, environ or {}, *limits, hosts, budgets, policy))
        return made[-1]

    yield make
    for world in made:
        await world.git.close()


@pytest_asyncio.fixture
async def world(make_world: MakeWorld) -> World:
    """Return one operator."""
    return make_world()


@pytest.fixture
def start_https(tmp_path: Path) -> Iterator[Callable[[str, Pair], GitHttp]]:
    """Start more HTTPS servers than the one of `git_https`."""
    with ExitStack() as stack:
        yield lambda name, pair: stack.enter_context(GitHttp(tmp_path / name, tls=pair))


class Stalled(Rules):
    """A server that takes a request and never answers; `arrived` is set when there is one."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        super().__init__()

    @property
    def delay(self) -> float:
        self.arrived.set()
        return 3600.0

    @delay.setter
    def delay(self, _value: float) -> None:
        self.arrived.clear()


def stall(server: GitHttp, name: str) -> threading.Event:
    """Let a repository's server fall silent; the event is set when a request waits."""
    rules = Stalled()
    server._rules[name] = rules
    return rules.arrived


def at(url: str, credentials: Credentials = NO_CREDENTIALS) -> Repository:
    """Return a repository by its URL."""
    return Repository(parse_url(url, allow_file=True), credentials)


def with_secret(url: str, **data: str | bytes | Path) -> Repository:
    """Return a repository with a Secret; `ca_crt` stands for `ca.crt`, a Path for what the file holds."""
    remote = parse_url(url)
    return Repository(remote, credentials_from_secret(remote, {_key(k): _bytes(v) for k, v in data.items()}))


def trusting(url: str, authority: Authority) -> Repository:
    """Return a repository whose Secret holds nothing but a CA."""
    return with_secret(url, ca_crt=authority.certificate)


def paths(tree: Tree, folder: str = "") -> list[str]:
    """List all files of a tree."""
    found: list[str] = []
    for entry in tree.children(folder):
        found += paths(tree, entry.path) if entry.kind == "tree" else [entry.path]
    return found


def _key(name: str) -> str:
    return {"ca_crt": "ca.crt", "tls_crt": "tls.crt"}.get(name, name)


def _bytes(value: str | bytes | Path) -> bytes:
    if isinstance(value, Path):
        return value.read_bytes()
    return value.encode() if isinstance(value, str) else value
