"""Manages the child processes that talk to Git servers, from the parent's side (async shell).

There is a lister for each namespace, trust set and origin, started when needed and ended when idle. It sees no mirror. A
fetcher sees the one mirror that it fills, and ends with its fetch. When a request takes too long, its
child gets no more requests, and is killed as soon as its other requests are done or too late themselves.
So a hung server costs other Sources at most a new child.

A limited number of them is shared by namespaces (`runtime.fairness`): a child counts for the namespace that it was started for.
Where another one is needed, an idle one ends (`runtime.pool`).
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from setpoint.api.budgets import MIB, setting
from setpoint.api.reasons import Problem, Reason
from setpoint.fences.allowances import Excess, Kind
from setpoint.fences.kept import Kept
from setpoint.fences.landlock import Access, Grant
from setpoint.fences.launching import Connection, LaunchError, Nobody, Observer, cause
from setpoint.fences.policy import Policy
from setpoint.git.child import Child, ChildDied, launch
from setpoint.git.mirror import Mirror
from setpoint.git.remotes import Remote, Repository
from setpoint.runtime.disk import cache_problem
from setpoint.runtime.pool import Closed, Pool

# What a child may know of our environment: proxies, and the machine's own certificate authorities.
PASSED = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
ATTEMPTS = 2
MAIN: Final = "setpoint.git.worker.main"
"""What a child runs, by its name alone: it has libgit2, which must not get into this process."""
LAUNCHER = ("-P", "-s", "-m", MAIN)


@dataclass(frozen=True, slots=True)
class Terms:
    """How many children there are at most, after how many idle seconds one ends, of which environment they may know, and their fences."""

    most: int = 8
    idle: float = 30.0
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    policy: Policy = field(default_factory=Policy)
    observer: Observer = field(default_factory=Nobody)


USUAL: Final = Terms()


class Key(NamedTuple):
    """Which requests one child serves: those of one namespace with one trust set to one origin, and for one mirror or none."""

    namespace: str
    trust: str
    origin: tuple[str, str, int]
    mirror: str


class Children:
    """All children of this process, by `Key`."""

    def __init__(self, folder: Path, terms: Terms) -> None:
        """`folder`: private to this process, for the children's homes, which hold nothing secret."""
        self._folder, self._terms = folder, terms
        self._kept = Kept(terms.policy, LAUNCHER, self._environment(), "Git processes")
        self._pool: Pool[Key, Child] = Pool(terms.most, lambda key: key.namespace)
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._count = 0

    @property
    def all(self) -> Collection[Child]:
        """All whose process is there."""
        return self._pool.all

    def writes(self, mirror: str) -> bool:
        """Return whether a child that may write to a mirror is there."""
        return any(child.mirror == mirror for child in self._pool.all)

    async def rest(self, mirror: str) -> None:
        """Wait for the end of those that have nothing to do any more and may write to a mirror."""
        found = [
            child for child in self._pool.all if child.mirror == mirror and child.retired and not child.busy
        ]
        await asyncio.gather(*(asyncio.shield(child.ended) for child in found))

    @property
    def launcher(self) -> Connection | None:
        """The launcher, if there is one."""
        return self._kept.launcher

    async def call(
        self,
        repository: Repository,
        request: Mapping[str, Any],
        waiting: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> Any:
        """Run a request; if its child dies through no fault of the request, run it once more.

        Inside `waiting` it waits until there may be another child.
        """
        remote = repository.remote
        trust, mirror = repository.credentials.trust, request.get("mirror", "")
        key = Key(repository.namespace, trust, _origin(remote), mirror)
        died = ChildDied(0)
        for _ in range(ATTEMPTS):
            child = await self._child(key, remote, waiting)
            self._terms.observer.busy(child.process.pid)
            try:
                return await child.call(request)
            except ChildDied as error:
                died = error
                if child.excess is not None:
                    raise _taken(child.excess) from None
                if died.code == -signal.SIGBUS:  # libgit2 maps what it writes; a full tmpfs ends it so
                    raise Problem(Reason.CacheFull, "the cache volume is full") from None
            finally:
                self._terms.observer.idle(child.process.pid)
                self._after(key, child)
        raise Problem(Reason.GitFailed, f"the Git process died twice ({cause(died.code)})")

    async def close(self) -> None:
        """End all children; what they work on ends as a Problem."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        children = list(self._pool.all)
        self._pool.close()
        await asyncio.gather(*(asyncio.shield(child.ended) for child in children))
        self._kept.close()

    async def _child(
        self, key: Key, remote: Remote, waiting: Callable[[], AbstractContextManager[None]]
    ) -> Child:
        try:
            child = await self._pool.get(key, partial(self._start, key, remote), waiting)
        except Closed:
            raise Problem(Reason.GitFailed, "the worker is stopping") from None
        if timer := self._timers.pop(key, None):  # it is used, so it is not idle any more
            timer.cancel()
        return child

    def _after(self, key: Key, child: Child) -> None:
        """Let a child that has nothing to do live for a while; a fetcher ends with its fetch."""
        if key.mirror and self._pool.find(key) is child and not child.busy:
            self._pool.retire(key)
        self._pool.rest(key, child)
        if self._pool.find(key) is child and not child.busy and key not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[key] = loop.call_later(self._terms.idle, self._retire, key, child)

    def _retire(self, key: Key, child: Child) -> None:
        self._timers.pop(key, None)
        if self._pool.find(key) is child and not child.busy:
            self._pool.retire(key)

    async def _start(self, key: Key, remote: Remote, gone: Callable[[], None]) -> Child:
        self._count += 1
        home = self._folder / str(self._count)
        try:
            home.mkdir(parents=True, exist_ok=True, mode=0o700)
            if key.mirror:
                Mirror(Path(key.mirror)).prepare()
        except OSError as error:
            raise cache_problem(error) from None
        request = {"home": str(home), **self._terms.policy.wire(_grants(home, key.mirror, remote))}
        try:
            process = await self._kept.child(partial(launch, request=request))
        except LaunchError as error:
            raise Problem(Reason.GitFailed, f"no Git process can be started: {error}") from None
        observer = self._terms.observer
        observer.began(process.pid, "fetcher" if key.mirror else "lister", process.kill)

        def ended() -> None:
            child.excess = observer.why(process.pid)
            observer.remove(process.pid)
            gone()

        child = Child(process, home, key.namespace, ended, key.mirror)
        return child

    def _environment(self) -> dict[str, str]:
        """Return the launcher's environment: nothing of ours but what its children need."""
        passed = {
            name: value for name, value in self._terms.environ.items() if name.upper() in PASSED and value
        }
        return passed | {"HOME": str(self._folder), "LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "2"}


def _origin(remote: Remote) -> tuple[str, str, int]:
    """Return what one child may be asked for: a server, or one folder, as it is fenced to that."""
    return (remote.scheme, remote.path, 0) if remote.scheme == "file" else remote.origin


def _grants(home: Path, mirror: str, remote: Remote) -> list[Grant]:
    """Return what a child may see beside what all may (`git.worker.fence`): file:// is for tests and demos."""
    grants = [Grant(str(home), Access.LINK)]
    if mirror:
        grants += (Grant(mirror, Access.WRITE), Grant(str(Mirror(Path(mirror)).lock), Access.READ))
    if remote.scheme == "file":
        grants.append(Grant(remote.path, Access.READ))
    return grants


def _taken(excess: Excess) -> Problem:
    """Return why a child was ended that took too much. What others took beside it may be gone the next time."""
    if excess.kind is Kind.TOGETHER:
        text = (
            f"the processes that talk to Git servers took more than the {excess.limit / MIB:g} MiB of memory of "
            f"{setting('git_memory')} together, and this one took most of it; it is tried again, or raise the setting"
        )
        return Problem(Reason.TooLarge, text, retry=True)
    return Problem(Reason.TooLarge, f"to talk to the Git server takes {excess.words}")
