"""Asks remotes for their refs and fetches commits into mirrors (async shell).

Network access happens in child processes (`workers`, `worker.main`), and reading what was fetched in others (`contents`):
this module parses nothing that a tenant or a server wrote. Every failure is a `Problem`.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self, TypeAlias

from setpoint.api.budgets import DEFAULTS, Budgets
from setpoint.api.hosts import RESERVED_ALONE, HostRules
from setpoint.api.reasons import Problem, Reason
from setpoint.fences.launching import Connection
from setpoint.git import mirror as git_mirror
from setpoint.git.files.session import cache_key, session
from setpoint.git.links import Commits, Pin, Pins
from setpoint.git.mirror import Mirror
from setpoint.git.pins import Levels, Node, Submodule, resolved
from setpoint.git.refs import Selected, moved
from setpoint.git.remotes import Remote, Repository, at_submodule
from setpoint.git.room import Release, Room
from setpoint.git.workers import USUAL, Children, Terms
from setpoint.runtime import disk
from setpoint.runtime.lru import Lru
from setpoint.wall.messages import GitRef

MAX_MIRRORS = 1024  # remembered names of mirrors
MAX_PINNED = 16 * 2**20  # bytes of remembered lists of submodules, about
PINNED = 500  # of a submodule beside its path and URL
TOUCH_SECONDS = 1.0
MAX_TOUCHED = 10_000  # commits of which it is remembered when they were marked last

Look = Callable[[Node], Awaitable[tuple[Submodule, ...]]]
"""Returns what a commit pins."""
_Pinned: TypeAlias = tuple[str, Remote, str]
"""A submodule as it is remembered, without the login: its path, where it is, and the id of the commit."""


async def release_none(_namespace: str) -> None:
    """Release nothing: nobody reads mirrors."""


class Fetching:
    """All fetching of this process: mirrors, and the children that fill them."""

    def __init__(
        self,
        cache: Path,
        *,
        limit: int,
        terms: Terms = USUAL,
        hosts: HostRules = RESERVED_ALONE,
        budgets: Budgets = DEFAULTS,
        release: Release = release_none,
    ) -> None:
        """`cache`: a folder for mirrors; `limit`: bytes they may take; `terms`: for the children.

        `hosts`: where they may connect to; `budgets`: what one fetch may bring; `release` is called with a namespace before
        one of its mirrors that is being read is dropped for room.
        """
        self._hosts = asdict(hosts)
        self._cache, self._limit, self._terms, self._budgets = cache, limit, terms, budgets
        self._room = Room(cache, limit, release, self._is_written)
        self._children: Children | None = None
        self._session: tuple[Path, int] | None = None
        self._key: bytes | None = None
        self._key_file = str(cache / "key")
        self._mirrors: Lru[Repository, Mirror] = Lru(MAX_MIRRORS)
        self._pinned: Lru[tuple[str, str], tuple[_Pinned, ...]] = Lru(MAX_PINNED)
        self._touched: Lru[tuple[str, str], float] = Lru(MAX_TOUCHED)

    async def resolve(self, repository: Repository, ref: GitRef, timeout: float) -> Selected:  # noqa: ASYNC109 - a limit in words for people
        """Ask the remote where `ref` is now (one ls-remote, nothing else); `timeout` in seconds. Raises Problem."""
        async with _Limit(timeout, repository) as limit:
            found = await self._located(repository, ref, limit)
        with suppress(OSError):
            self._mirror(repository).touch()
        return found

    async def fetch(
        self,
        repository: Repository,
        ref: GitRef,
        selected: Selected,
        timeout: float,  # noqa: ASYNC109 - a limit in words for people
        commits: Commits | None,
    ) -> Selected:
        """Bring a commit into its mirror; returns what was fetched, if the ref moved meanwhile. Raises Problem.

        `commits` tells what it pins as submodules, which are brought as well; None: without them. `timeout` in seconds is for
        the servers; what `commits` takes does not count.
        """
        async with _Limit(timeout, repository) as limit:
            got = await self._fetch(repository, ref, selected, limit)
            if commits is not None:
                await self._fetch_submodules(Node(repository, got.sha), commits, limit)
        mirror = self._mirror(repository)
        if self._children is not None:
            await self._children.rest(str(mirror.path))  # what somebody still writes to is not dropped
        await self._room.trim(mirror)
        return got

    async def pins(self, repository: Repository, sha: str, commits: Commits) -> Pins:
        """Return all that a commit pins, over all levels, by handles. Raises Problem, also where a commit is not there."""

        async def look(node: Node) -> tuple[Submodule, ...]:
            return await self._submodules(node, commits)

        found = await self._walked(Node(repository, sha), look)
        return {
            (self.handle(node.repository), node.sha): tuple(
                Pin(each.path, self.handle(each.repository), each.sha) for each in submodules
            )
            for node, submodules in found.items()
        }

    def handle(self, repository: Repository) -> str:
        """Return a name for a repository as its namespace has it, which gives no login away. Raises Problem(CacheFull)."""
        return self._mirror(repository).handle

    def mirror(self, handle: str) -> Mirror:
        """Return the mirror with a handle. ValueError for what is no handle."""
        return git_mirror.mirror_at(self._cache / git_mirror.MIRRORS, handle)

    def kept(self, handle: str, sha: str) -> bool:
        """Return whether a commit was fetched into the generation to read: then it is worth to look. ValueError as `used`."""
        generation = self.mirror(handle).current()
        return generation is not None and git_mirror.kept(generation, sha)

    def used(self, handle: str, sha: str) -> None:
        """Note that a commit is in use, at most once a second. ValueError for what is no handle, or no id of a commit."""
        now, key = time.monotonic(), (handle, sha)
        if now - (self._touched.get(key) or -TOUCH_SECONDS) < TOUCH_SECONDS:
            return
        if (generation := self.mirror(handle).current()) is not None:
            git_mirror.touch(generation, sha)
        self._touched.put(key, now)

    def damaged(self, handle: str) -> None:
        """Give the current generation of a mirror up, as it cannot be read: it is fetched again. ValueError for no handle."""
        mirror = self.mirror(handle)
        if (generation := mirror.current()) is not None:
            mirror.discard(generation)

    def forget(self, namespace: str) -> None:
        """Forget the logins of a namespace; those that are still in use come again with the next request."""
        self._mirrors.drop_if(lambda repository: repository.namespace == namespace)

    @property
    def launcher(self) -> Connection | None:
        """The launcher of the children, if there is one."""
        return self._children.launcher if self._children else None

    async def close(self) -> None:
        """End the children; the mirrors stay on disk."""
        if self._children:
            await self._children.close()
        if self._session:
            folder, descriptor = self._session
            os.close(descriptor)
            await asyncio.to_thread(disk.remove, folder)
        self._children = self._session = None

    def _is_written(self, mirror: Mirror) -> bool:
        return self._children is not None and self._children.writes(str(mirror.path))

    async def _located(self, repository: Repository, ref: GitRef, limit: _Limit) -> Selected:
        request = {"op": "list", **self._wire(repository), "ref": asdict(ref)}
        return Selected(**await self._call(repository, request, limit))

    async def _fetch(
        self, repository: Repository, ref: GitRef, selected: Selected, limit: _Limit
    ) -> Selected:
        mirror = self._mirror(repository)
        request = {
            "op": "fetch",
            **self._wire(repository),
            "ref": asdict(ref),
            "selected": asdict(selected),
            "mirror": str(mirror.path),
            "limit": self._limit,
            "budgets": asdict(self._budgets),
        }
        sha = (await self._fitting(repository, mirror, request, limit))["sha"]
        return selected if sha == selected.sha else moved(selected, sha)

    async def _fitting(
        self, repository: Repository, mirror: Mirror, request: Mapping[str, Any], limit: _Limit
    ) -> Any:
        """Fetch into the room that there is; where it is too small, drop mirrors that double it, but for whom that was in vain."""
        space, dropped = repository.namespace, False
        while True:
            room = self._room.left()
            try:
                return await self._call(repository, {**request, "maxBytes": room}, limit)
            except BaseException as error:  # also a server that stops in the middle, again and again
                full = isinstance(error, Problem) and error.reason is Reason.CacheFull
                if not full or not await self._room.make(space, mirror, room):
                    if dropped:
                        self._room.failed(space)
                    raise
                dropped = True

    async def _fetch_submodules(self, outermost: Node, commits: Commits, limit: _Limit) -> None:
        async def brought(node: Node) -> tuple[Submodule, ...]:
            if node is not outermost:
                await self._bring(node, commits, limit)
            with limit.paused():
                return await self._submodules(node, commits)

        await self._walked(outermost, brought)

    async def _walked(self, outermost: Node, look: Look) -> dict[Node, tuple[Submodule, ...]]:
        """Look at all that a commit leads to, level by level; returns what each commit pins."""
        found: dict[Node, tuple[Submodule, ...]] = {}
        levels = Levels(self._budgets)
        level: tuple[Node, ...] = (outermost,)
        while level:
            for node in level:
                try:
                    found[node] = await look(node)
                    levels.add(node, found[node])
                except Problem as problem:
                    raise problem.within(node.words) from None
            level = levels.descend()
        return found

    async def _bring(self, node: Node, commits: Commits, limit: _Limit) -> None:
        """Fetch the commit of a submodule, unless it is there."""
        with limit.paused():
            held = await commits.holds(node.repository, node.sha)
        if not held:
            ref = GitRef(commit=node.sha)
            selected = await self._located(node.repository, ref, limit)
            await self._fetch(node.repository, ref, selected, limit)

    async def _submodules(self, node: Node, commits: Commits) -> tuple[Submodule, ...]:
        """Return what a commit pins: for each commit it is the same for ever."""
        key = self.handle(node.repository), node.sha
        known = self._pinned.get(key)
        if known is None:
            found = resolved(node.repository, await commits.links(node.repository, node.sha), self._budgets)
            known = tuple((each.path, each.repository.remote, each.sha) for each in found)
            size = sum(len(path) + 3 * len(remote.url) + PINNED for path, remote, _ in known)
            self._pinned.put(key, known, size + PINNED)
        return tuple(
            Submodule(path, at_submodule(node.repository, remote), sha) for path, remote, sha in known
        )

    def _wire(self, repository: Repository) -> dict[str, Any]:
        """Return what a child needs to know; it goes over the child's socket and nowhere else."""
        told = {"remote": asdict(repository.remote), "credentials": asdict(repository.credentials)}
        return {"repository": told, "hosts": self._hosts}

    async def _call(self, repository: Repository, request: Mapping[str, Any], limit: _Limit) -> Any:
        if self._children is None:
            try:
                self._session = session(self._cache)
                git_mirror.drop_misplaced(self._cache)
            except OSError as error:
                raise disk.cache_problem(error) from None
            self._children = Children(self._session[0], self._terms)
        return await self._children.call(repository, request, limit.paused)

    def _mirror(self, repository: Repository) -> Mirror:
        if self._key is None or not os.path.exists(self._key_file):
            try:
                self._key = cache_key(self._cache)
            except OSError as error:
                raise disk.cache_problem(error) from None
            self._mirrors = Lru(MAX_MIRRORS)
        known = self._mirrors.get(repository)
        if known is None:
            known = self._mirrors.put(repository, git_mirror.mirror_of(self._cache, self._key, repository), 1)
        return known


class _Limit:
    """A time limit for what is asked of a remote, which says so in words for people."""

    def __init__(self, seconds: float, repository: Repository) -> None:
        self._seconds, self._place = seconds, repository.remote.place
        self._timeout = asyncio.timeout(seconds)

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        return self

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the clock inside: the wait for a turn of ours says nothing about the remote."""
        loop, due = asyncio.get_running_loop(), self._timeout.when()
        began = loop.time()
        self._timeout.reschedule(None)
        try:
            yield
        finally:
            self._timeout.reschedule(None if due is None else due + loop.time() - began)

    async def __aexit__(self, *exit_: Any) -> None:
        try:
            await self._timeout.__aexit__(*exit_)
        except TimeoutError:
            raise Problem(
                Reason.HostUnreachable,
                f"{self._place} gave no answer within {self._seconds:g} s (spec.timeout)",
            ) from None
