"""Asks remotes for their refs, fetches commits into mirrors, and opens them for reading (async shell).

This module is the interface of the package. Network access happens in child processes (`workers`, `worker.main`); fetched
commits are read in this process from bare mirrors (`mirror`, `reader`). Every failure is a `Problem`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self
from weakref import WeakValueDictionary

import pygit2
from pygit2.enums import ConfigLevel

from setpoint.api.budgets import DEFAULTS, Budgets
from setpoint.api.hosts import RESERVED_ALONE, HostRules
from setpoint.api.reasons import Problem, Reason
from setpoint.fences.policy import Policy
from setpoint.git import mirror as git_mirror
from setpoint.git.mirror import Mirror
from setpoint.git.pins import Levels, Pin, Pinned, pinned_in
from setpoint.git.reader import Commit, MirrorTree, Reader
from setpoint.git.refs import Selected, moved
from setpoint.git.remotes import Repository
from setpoint.git.workers import Children
from setpoint.runtime.disk import cache_problem
from setpoint.runtime.lru import Lru
from setpoint.tree.protocol import Tree
from setpoint.wall.messages import GitRef

POLICY = Policy()
IDLE_SECONDS = 30.0
MAX_CHILDREN = 8
MAX_READERS = 64
MAX_MIRRORS = 1024  # remembered names of mirrors
MAX_LISTED = 16 * 2**20  # bytes of remembered lists of submodules, about
LISTED = 500  # of a submodule beside its path and URL
OBJECT_CACHE = 4 * 2**20  # bytes of libgit2's cache of parsed objects in this process
LEAST_ROOM = 2**20  # bytes that are made room for at least
VAIN_SECONDS = 3600.0  # for which a namespace has no mirrors dropped, after that was in vain
MAX_VAIN = 10_000  # namespaces of which that is remembered
HEADROOM = 0.9  # of the free space that a pack may fill; its index needs some too


class Git:
    """All Git work of this process."""

    def __init__(
        self,
        cache: Path,
        *,
        cache_limit: int,
        children: int = MAX_CHILDREN,
        idle: float = IDLE_SECONDS,
        environ: Mapping[str, str] = os.environ,
        hosts: HostRules = RESERVED_ALONE,
        budgets: Budgets = DEFAULTS,
        policy: Policy = POLICY,
    ) -> None:
        """`cache`: a folder for mirrors; `cache_limit`: bytes they may take; `idle`: seconds until a child ends.

        `hosts`: where it may connect to; `budgets`: what one fetch may bring; `policy`: how strict the fences of the
        children are.
        """
        self._hosts = asdict(hosts)
        self._cache, self._limit, self._idle, self._environ = cache, cache_limit, idle, environ
        self._most, self._budgets, self._policy = children, budgets, policy
        self._children: Children | None = None
        self._session: tuple[Path, int] | None = None
        self._key: bytes | None = None
        self._key_file = str(cache / "key")
        self._mirrors: Lru[Repository, Mirror] = Lru(MAX_MIRRORS)
        self._readers: OrderedDict[str, Reader] = OrderedDict()
        self._trees: WeakValueDictionary[tuple[str, str, bool], MirrorTree] = WeakValueDictionary()
        self._pinned: Lru[tuple[str, str, str], Pinned] = Lru(MAX_LISTED)
        self._vain: Lru[str, float] = Lru(MAX_VAIN)
        self._lock = threading.RLock()
        _quiet()

    async def resolve(self, repository: Repository, ref: GitRef, timeout: float) -> Selected:  # noqa: ASYNC109 - a limit in words for people
        """Ask the remote where `ref` is now (one ls-remote, nothing else); `timeout` in seconds."""
        request = {"op": "list", **self._wire(repository), "ref": asdict(ref)}
        async with _Limit(timeout, repository) as limit:
            found = Selected(**await self._call(repository, request, limit))
        with suppress(OSError):
            self._mirror(repository).touch()
        return found

    async def fetch(
        self,
        repository: Repository,
        ref: GitRef,
        selected: Selected,
        timeout: float,  # noqa: ASYNC109 - a limit in words for people
        *,
        submodules: bool,
    ) -> Selected:
        """Bring a commit (and its submodules) into the mirror; give what was fetched, if the ref moved meanwhile."""
        async with _Limit(timeout, repository) as limit:
            got = await self._fetch(repository, ref, selected, limit)
            if submodules:
                await self._fetch_submodules(repository, got.sha, limit)
        await asyncio.to_thread(self._trim, self._mirror(repository), lambda total: total <= self._limit)
        return got

    def handle(self, repository: Repository) -> str:
        """Return a name for a repository as its namespace has it, which gives no login away. Raises Problem(CacheFull)."""
        return f"{repository.namespace}/{self._mirror(repository).id}"

    def has(self, repository: Repository, sha: str, *, submodules: bool = False) -> bool:
        """Return whether a commit (and its submodules) can be read.

        With submodules it may read many folders, so ask in a thread; others wait for none of that.
        """
        try:
            levels = Levels(self._budgets)
            level: tuple[Pin, ...] = (Pin(repository, sha),)
            while level:
                for pin in level:
                    if not self._has(pin.repository, pin.sha):
                        return False
                    if submodules:
                        levels.add(pin, self._submodules(pin.repository, pin.sha))
                level = levels.descend()
        except (OSError, Problem):
            return False
        return True

    def commit(self, repository: Repository, sha: str) -> Commit:
        """Describe a commit that `has` says is there; Problem(GitFailed)."""
        with self._lock:
            return self._reading(repository, sha).commit(sha)

    def tree(self, repository: Repository, sha: str, *, submodules: bool = False) -> Tree:
        """Return the files of a commit that `has` says is there, safe for threads; Problem(GitFailed)."""
        return self._tree(repository, sha, submodules=submodules).look()

    async def close(self) -> None:
        """End the children and close the mirrors, which stay on disk."""
        if self._children:
            await self._children.close()
        with self._lock:
            for reader in self._readers.values():
                reader.close()
            self._readers.clear()
            if self._session:
                folder, descriptor = self._session
                os.close(descriptor)
                shutil.rmtree(folder, ignore_errors=True)
            self._children = self._session = None

    # --- fetching

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
            room = self._room()
            try:
                return await self._call(repository, {**request, "maxBytes": room}, limit)
            except BaseException as error:  # also a server that stops in the middle, again and again
                now = asyncio.get_running_loop().time()
                full = isinstance(error, Problem) and error.reason is Reason.CacheFull
                tries = full and now >= (self._vain.get(space) or 0.0)
                if not tries or not await asyncio.to_thread(self._make_room, mirror, room):
                    if dropped:
                        self._vain.put(space, now + VAIN_SECONDS)
                    raise
                dropped = True

    async def _fetch_submodules(self, repository: Repository, sha: str, limit: _Limit) -> None:
        levels = Levels(self._budgets)
        level: tuple[Pin, ...] = (Pin(repository, sha),)
        while level:
            for pin in level:
                try:
                    levels.add(pin, await self._brought(pin, limit))
                except Problem as problem:
                    raise Problem(problem.reason, f"{pin.words}{problem.message}", problem.retry) from None
            level = levels.descend()

    async def _brought(self, pin: Pin, limit: _Limit) -> Pinned:
        """Return what a commit pins, after it was fetched itself if it is a submodule that is missing."""
        inner, sha = pin.repository, pin.sha
        if pin.words and not await asyncio.to_thread(self.has, inner, sha):
            ref = GitRef(commit=sha)
            await self._fetch(inner, ref, await self._located(inner, ref, limit), limit)
        return await asyncio.to_thread(self._submodules, inner, sha)

    async def _located(self, repository: Repository, ref: GitRef, limit: _Limit) -> Selected:
        request = {"op": "list", **self._wire(repository), "ref": asdict(ref)}
        return Selected(**await self._call(repository, request, limit))

    def _wire(self, repository: Repository) -> dict[str, Any]:
        """Return what a child needs to know; it goes over a pipe and nowhere else."""
        told = {"remote": asdict(repository.remote), "credentials": asdict(repository.credentials)}
        return {"repository": told, "hosts": self._hosts}

    async def _call(self, repository: Repository, request: Mapping[str, Any], limit: _Limit) -> Any:
        if self._children is None:
            try:
                self._session = git_mirror.session(self._cache)
            except OSError as error:
                raise cache_problem(error) from None
            self._children = Children(self._session[0], self._most, self._idle, self._environ, self._policy)
        return await self._children.call(repository, request, limit.paused)

    def _room(self) -> int:
        """Return the bytes that one pack may take."""
        try:
            return min(self._limit, int(shutil.disk_usage(self._cache).free * HEADROOM))
        except OSError:
            return self._limit

    # --- reading

    def _mirror(self, repository: Repository) -> Mirror:
        if self._key is None or not os.path.exists(self._key_file):
            try:
                self._key = git_mirror.cache_key(self._cache)
            except OSError as error:
                raise cache_problem(error) from None
            self._mirrors = Lru(MAX_MIRRORS)
        known = self._mirrors.get(repository)
        if known is None:
            known = self._mirrors.put(repository, git_mirror.mirror_of(self._cache, self._key, repository), 1)
        return known

    def _reader(self, repository: Repository) -> Reader | None:
        """Return the open mirror, opened again if it was replaced or wiped."""
        mirror = self._mirror(repository)
        reader = self._readers.get(mirror.id)
        if reader is not None and reader.fresh:
            self._readers.move_to_end(mirror.id)
            return reader
        self._readers.pop(mirror.id, None)
        found = Reader.open(mirror, self._budgets)
        if found is not None:
            self._readers[mirror.id] = found
            self._close_idle(self._readers, keep=MAX_READERS)
        return found

    def _has(self, repository: Repository, sha: str) -> bool:
        with self._lock:
            reader = self._reader(repository)
            if reader is None or not reader.holds(sha):
                return False
            reader.touch(sha)
            return True

    def _reading(self, repository: Repository, sha: str) -> Reader:
        with self._lock:
            reader = self._reader(repository)
            if reader is None or not reader.holds(sha):
                raise Problem(
                    Reason.GitFailed, f"commit {sha[:7]} is not in the cache; it is fetched again", retry=True
                )
            return reader

    def _tree(self, repository: Repository, sha: str, *, submodules: bool) -> MirrorTree:
        with self._lock:
            known = self._trees.get(self._tree_key(repository, sha, submodules))
        if known is not None:
            return known
        parts = self._submodules(repository, sha) if submodules else ()
        inner = {path: self._tree(each, pinned, submodules=True) for path, each, pinned in parts}
        with self._lock:
            key = self._tree_key(repository, sha, submodules)
            tree = self._trees.get(key)
            if tree is None:
                tree = self._trees[key] = MirrorTree(self._reading(repository, sha), sha, inner)
            return tree

    def _tree_key(self, repository: Repository, sha: str, submodules: bool) -> tuple[str, str, bool]:
        return str(self._reading(repository, sha).generation), sha, submodules

    def _submodules(self, repository: Repository, sha: str) -> Pinned:
        """List the submodules of a commit. Nobody else waits while it is read: it may be long."""
        key = (self._mirror(repository).id, sha, repository.namespace)
        known = self._pinned.get(key)
        if known is None:
            tree = self._tree(repository, sha, submodules=False)
            known = pinned_in(tree, repository, self._budgets)
            size = sum(len(path) + 3 * len(each.remote.url) + LISTED for path, each, _ in known)
            self._pinned.put(key, known, size + LISTED)
        return known

    # --- the cache's size

    def _make_room(self, used: Mirror, room: int) -> bool:
        """Drop mirrors for a fetch that needs more than `room`; tells whether there is more now."""
        try:
            others = sum(git_mirror.size(m.path) for m in git_mirror.mirrors(self._cache) if m != used)
            free = shutil.disk_usage(self._cache).free
        except OSError:
            return False  # the cache went away: nothing is there that could be too much
        most = min(self._limit, int((free + others) * HEADROOM))
        if most <= room:
            return False  # not even the empty cache would do
        wanted = min(most, max(2 * room, LEAST_ROOM))
        return self._trim(used, lambda _: self._room() >= wanted)

    def _trim(self, used: Mirror, enough: Callable[[int], bool]) -> bool:
        """Drop the mirrors that were used longest ago, but for `used`, until the bytes of all are few enough.

        Tells whether any was dropped; one that is being read stays.
        """
        try:
            sizes = {mirror: git_mirror.size(mirror.path) for mirror in git_mirror.mirrors(self._cache)}
        except OSError:
            return False
        total, dropped = sum(sizes.values()), False
        for mirror, size in sizes.items():
            if mirror == used:
                continue
            if enough(total):
                break
            with self._lock:
                self._close_idle({mirror.id: self._readers.get(mirror.id)}, keep=0)
            if mirror.drop():
                total, dropped = total - size, True
        return dropped

    def _close_idle(self, readers: Mapping[str, Reader | None], *, keep: int) -> None:
        """Close readers without trees in use, the one used longest ago first, until `keep` are left."""
        surplus = len(readers) - keep
        for name, reader in list(readers.items()):
            if surplus > 0 and reader is not None and not len(reader.trees):
                reader.close()
                self._readers.pop(name, None)
                surplus -= 1


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


def _quiet() -> None:
    """Keep libgit2 in this process from reading the machine's configuration, its cache small and its files few."""
    for level in (ConfigLevel.PROGRAMDATA, ConfigLevel.SYSTEM, ConfigLevel.XDG, ConfigLevel.GLOBAL):
        pygit2.settings.search_path[level] = ""
    pygit2.settings.cache_max_size(OBJECT_CACHE)
    pygit2.settings.mwindow_file_limit = git_mirror.PACK_FILES
