"""A worker without processes: the same answers, over whatever stands for the mirrors (for tests of what asks it).

Production has a broker and readers in its place (`setpoint.worker.broker`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, Protocol

from setpoint.api.reasons import Problem, Reason
from setpoint.git.credentials import Credentials
from setpoint.git.refs import Selected
from setpoint.git.remotes import Repository, parse_url
from setpoint.render.renderer import Renderer
from setpoint.runtime.lru import Lru
from setpoint.tree.protocol import Tree
from setpoint.wall.messages import (
    Build,
    Built,
    Check,
    Checked,
    Compare,
    Compared,
    Drop,
    Failed,
    Fetch,
    Fetched,
    GitRef,
    Lost,
    Objects,
    Place,
    Placed,
    Places,
    Same,
)
from setpoint.worker.commits import MAX_HANDLES
from setpoint.worker.reader.answers import Answers
from setpoint.worker.reader.read_sets import ReadSets


class Git(Protocol):
    """What stands for the mirrors."""

    async def resolve(self, repository: Repository, ref: GitRef, timeout: float, /) -> Selected: ...
    async def fetch(
        self, repository: Repository, ref: GitRef, selected: Selected, timeout: float, /, *, submodules: bool
    ) -> Selected: ...
    def has(self, repository: Repository, sha: str, /, *, submodules: bool) -> bool: ...
    def tree(self, repository: Repository, sha: str, /, *, submodules: bool) -> Tree: ...
    def commit(self, repository: Repository, sha: str, /) -> Any: ...
    def handle(self, repository: Repository, /) -> str: ...


class OneProcess:
    """Answers requests (`wall.protocol.Worker`). Use it from one event loop."""

    def __init__(self, mirrors: Any, renderer: Renderer) -> None:
        """`mirrors`: with what it is asked of `git` in `_Commits`."""
        self.commits = _Commits(mirrors, allow_file=False)
        self._answers = Answers(self.commits, renderer, ReadSets("one"))

    async def check(self, request: Check) -> Checked | Failed:
        return await self.commits.check(request)

    async def fetch(self, request: Fetch) -> Fetched | Lost | Failed:
        return await self.commits.fetch(request)

    async def compare(self, request: Compare) -> Compared:
        return await self._answers.compare(request)

    async def build(self, request: Build) -> Built | Same | Lost | Failed:
        return await self._answers.build(request)

    async def objects(self, request: Objects) -> Built | Lost | Failed:
        return await self._answers.objects(request)

    async def places(self, request: Places) -> Placed:
        return await self._answers.places(request)

    def drop(self, request: Drop) -> None:
        self._answers.drop(request)
        self.commits.forget(request.namespace, request.handles)


class _Commits:
    """Knows which repository a handle stands for, with its login, which the operator gives with each check alone."""

    def __init__(self, git: Git, *, allow_file: bool) -> None:
        """`allow_file`: whether a URL may be that of a local folder."""
        self._git, self._allow_file = git, allow_file
        self._repositories: Lru[str, Repository] = Lru(MAX_HANDLES)
        self._over: Lru[tuple[str, str, bool], str] = Lru(MAX_HANDLES)

    async def check(self, request: Check) -> Checked | Failed:
        """Ask the remote where the ref is, and fetch that commit if the cache does not have it."""
        place, ref = request.place, request.ref
        try:
            repository = self._repository(place)
            selected = await self._git.resolve(repository, ref, place.timeout)
            if not await self._has(repository, selected.sha, place):
                selected = await self._fetch(repository, ref, selected, place)
            commit = self._git.commit(repository, selected.sha)
            held = await self._has(repository, selected.sha, place)
            handle = self.handle(repository)
        except Problem as problem:
            return Failed.of(problem)
        shown = commit.subject, commit.author, commit.time
        return Checked(handle, selected.sha, selected.revision, *shown, held)

    async def fetch(self, request: Fetch) -> Fetched | Lost | Failed:
        """Find a commit in the cache, or at the server if that may be asked."""
        place, sha = request.place, request.sha
        try:
            repository = self._repository(place)
            if not await self._has(repository, sha, place):
                if not request.remote:
                    return Lost()
                ref = GitRef(commit=sha)
                selected = await self._git.resolve(repository, ref, place.timeout)
                await self._fetch(repository, ref, selected, place)
                if not await self._has(repository, sha, place):
                    return Failed(Reason.CacheFull, f"the cache does not keep commit {sha[:12]}")
            return Fetched(self.handle(repository))
        except Problem as problem:
            return Failed.of(problem)

    async def _fetch(self, repository: Repository, ref: GitRef, selected: Selected, place: Place) -> Selected:
        """Fetch a commit, unless it was over a budget before: then it would be again."""
        key = self._git.handle(repository), selected.sha, place.submodules
        if (known := self._over.get(key)) is not None:
            raise Problem(Reason.TooLarge, known)
        try:
            return await self._git.fetch(
                repository, ref, selected, place.timeout, submodules=place.submodules
            )
        except Problem as problem:
            if problem.reason is Reason.TooLarge:
                self._over.put(key, problem.message, 1)
            raise

    def handle(self, repository: Repository) -> str:
        """Return the handle of a repository, and remember it. Raises Problem if the cache cannot be used."""
        handle = self._git.handle(repository)
        self._repositories.put(handle, repository)
        return handle

    def forget(self, namespace: str, handles: Iterable[str]) -> None:
        """Forget repositories of a namespace, with their logins: a Source is gone, or has another login."""
        for handle in handles:
            if handle.startswith(f"{namespace}/"):
                self._repositories.drop(handle)

    def holds(self, handle: str, sha: str, *, submodules: bool) -> bool:
        """Return whether a commit can be read (still); safe for threads."""
        repository = self._repositories.get(handle)
        return repository is not None and self._git.has(repository, sha, submodules=submodules)

    def tree(self, handle: str, sha: str, *, submodules: bool) -> Tree | None:
        """Return the files of a commit, or None if the cache does not hold it; safe for threads. Raises Problem."""
        repository = self._repositories.get(handle)
        if repository is None or not self._git.has(repository, sha, submodules=submodules):
            return None
        try:
            return self._git.tree(repository, sha, submodules=submodules)
        except Problem:
            if self._git.has(repository, sha, submodules=submodules):
                raise
            return None  # it went just now

    async def _has(self, repository: Repository, sha: str, place: Place) -> bool:
        """Return whether a commit can be read, asked in a thread: lists of submodules may be long."""
        return await asyncio.to_thread(self._git.has, repository, sha, submodules=place.submodules)

    def _repository(self, place: Place) -> Repository:
        remote = parse_url(place.url, allow_file=self._allow_file)
        return Repository(remote, Credentials(**asdict(place.login)), place.namespace)
