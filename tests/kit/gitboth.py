"""Fetching and reading in one process: asks remotes for their refs, fetches commits, and opens them (for tests).

Production has a broker that fetches (`setpoint.git.fetching`), and readers (`setpoint.git.contents`).
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from setpoint.api.budgets import DEFAULTS, Budgets
from setpoint.api.hosts import RESERVED_ALONE, HostRules
from setpoint.api.reasons import Problem
from setpoint.fences.policy import Policy
from setpoint.git.contents.reader import Commit
from setpoint.git.contents.reading import Reading
from setpoint.git.fetching import Fetching
from setpoint.git.links import Link, Pins
from setpoint.git.mirror import MIRRORS
from setpoint.git.refs import Selected
from setpoint.git.remotes import Repository
from setpoint.git.workers import USUAL, Terms
from setpoint.tree.protocol import Tree
from setpoint.wall.messages import GitRef

T = TypeVar("T")
POLICY = Policy()


class Git:
    """All Git work of this process."""

    def __init__(
        self,
        cache: Path,
        *,
        cache_limit: int,
        children: int = USUAL.most,
        idle: float = USUAL.idle,
        environ: Mapping[str, str] = os.environ,
        hosts: HostRules = RESERVED_ALONE,
        budgets: Budgets = DEFAULTS,
        policy: Policy = POLICY,
    ) -> None:
        """`cache`: a folder for mirrors; `cache_limit`: bytes they may take; `idle`: seconds until a child ends.

        `hosts`: where it may connect to; `budgets`: what one fetch may bring; `policy`: how strict the fences of the
        children are.
        """
        self.fetching = Fetching(
            cache,
            limit=cache_limit,
            terms=Terms(children, idle, environ, policy),
            hosts=hosts,
            budgets=budgets,
            release=self._release,
        )
        self._read = partial(Reading, cache / MIRRORS, budgets, self.fetching.damaged)
        self.reading = self._read()

    async def resolve(self, repository: Repository, ref: GitRef, timeout: float) -> Selected:
        """Ask the remote where `ref` is now (one ls-remote, nothing else); `timeout` in seconds."""
        return await self.fetching.resolve(repository, ref, timeout)

    async def fetch(
        self,
        repository: Repository,
        ref: GitRef,
        selected: Selected,
        timeout: float,
        *,
        submodules: bool,
    ) -> Selected:
        """Bring a commit (and its submodules) into the mirror; give what was fetched, if the ref moved meanwhile."""
        commits = _InThreads(self) if submodules else None
        return await self.fetching.fetch(repository, ref, selected, timeout, commits)

    def handle(self, repository: Repository) -> str:
        """Return a name for a repository as its namespace has it, which gives no login away. Raises Problem(CacheFull)."""
        return self.fetching.handle(repository)

    def has(self, repository: Repository, sha: str, *, submodules: bool = False) -> bool:
        """Return whether a commit (and its submodules) can be read.

        With submodules it may read many folders, so ask in a thread; others wait for none of that.
        """
        try:
            handle, pins = self._named(repository, sha, submodules=submodules)
            if not self.reading.holds(handle, sha, pins):
                return False
        except (OSError, Problem):
            return False
        for each in pins or ((handle, sha),):
            self.fetching.used(*each)
        return True

    def commit(self, repository: Repository, sha: str) -> Commit:
        """Describe a commit that `has` says is there; Problem(GitFailed)."""
        return self.reading.commit(self.handle(repository), sha)

    def tree(self, repository: Repository, sha: str, *, submodules: bool = False) -> Tree:
        """Return the files of a commit that `has` says is there, safe for threads; Problem(GitFailed)."""
        handle, pins = self._named(repository, sha, submodules=submodules)
        return self.reading.tree(handle, sha, pins)

    async def close(self) -> None:
        """End the children and close the mirrors, which stay on disk."""
        await self.fetching.close()
        self.reading.close()

    def _named(self, repository: Repository, sha: str, *, submodules: bool) -> tuple[str, Pins | None]:
        handle = self.handle(repository)
        return handle, _done(self.fetching.pins(repository, sha, _AtOnce(self))) if submodules else None

    async def _release(self, _namespace: str) -> None:
        """Have another read, as a reader ends for it; what is in use stays open until it is not."""
        self.reading = self._read()
        gc.collect()


class _AtOnce:
    """What is asked of the mirrors, answered without a wait."""

    def __init__(self, git: Git) -> None:
        self._git = git

    async def holds(self, repository: Repository, sha: str) -> bool:
        """Return whether a commit can be read."""
        return self._git.has(repository, sha)

    async def links(self, repository: Repository, sha: str) -> tuple[Link, ...]:
        """Return what a commit pins."""
        return self._git.reading.links(self._git.handle(repository), sha)


class _InThreads:
    """The same, answered in threads."""

    def __init__(self, git: Git) -> None:
        self._git = git

    async def holds(self, repository: Repository, sha: str) -> bool:
        """Return whether a commit can be read."""
        return await asyncio.to_thread(self._git.has, repository, sha)

    async def links(self, repository: Repository, sha: str) -> tuple[Link, ...]:
        """Return what a commit pins."""
        return await asyncio.to_thread(self._git.reading.links, self._git.handle(repository), sha)


def _done(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns that waits for nothing; RuntimeError for one that does wait."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    raise RuntimeError("it waits for something")
