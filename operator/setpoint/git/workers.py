"""Manages the child processes that talk to Git servers, from the parent's side (async shell).

There is a lister for each namespace, trust set and origin, started when needed and ended when idle. It sees no mirror. A
fetcher sees the one mirror that it fills, and ends with its fetch. When a request takes too long, its
child gets no more requests, and is killed as soon as its other requests are done or too late themselves.
So a hung server costs other Sources at most a new child.

A limited number of them is shared by namespaces (`runtime.fairness`): a child counts for the namespace that it was started for.
Where another one is needed, an idle one ends (`surplus`).
"""

from __future__ import annotations

import asyncio
import math
import signal
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from setpoint.api.reasons import Problem, Reason
from setpoint.fences.landlock import Access, Grant
from setpoint.fences.launching import Connection, LaunchError
from setpoint.fences.policy import Policy
from setpoint.git.child import Child, ChildDied, Process, launch
from setpoint.git.remotes import Remote, Repository
from setpoint.git.worker import main
from setpoint.runtime.disk import cache_problem
from setpoint.runtime.fairness import Limits
from setpoint.runtime.slots import Slots, Ticket

N = TypeVar("N")
# What a child may know of our environment: proxies, and the machine's own certificate authorities.
PASSED = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
ATTEMPTS = 2
LAUNCHER = ("-P", "-s", "-m", main.__name__)


class Key(NamedTuple):
    """Which requests one child serves: those of one namespace with one trust set to one origin, and for one mirror or none."""

    namespace: str
    trust: str
    origin: tuple[str, str, int]
    mirror: str


class Children:
    """All children of this process, by `Key`."""

    def __init__(
        self, folder: Path, most: int, idle: float, environ: Mapping[str, str], policy: Policy
    ) -> None:
        """`folder`: private to this process, for the children's homes, which hold nothing secret.

        At most `most` children are there at once, and a lister that is `idle` for so many seconds ends. `policy`: how
        strict their fences are.
        """
        self._folder, self._idle, self._environ, self._policy = folder, idle, environ, policy
        self._launcher: Connection | None = None
        # They may live for long without being slow.
        self._slots = Slots(Limits(most, strict=True, slow=math.inf))
        self._asking: dict[Ticket, Key] = {}
        self._children: dict[Key, Child] = {}
        self._all: set[Child] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._starting = asyncio.Lock()
        self._count = 0
        self._closed = False

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
            try:
                return await child.call(request)
            except ChildDied as error:
                died = error
                if died.code == -signal.SIGBUS:  # libgit2 maps what it writes; a full tmpfs ends it so
                    raise Problem(Reason.CacheFull, "the cache volume is full") from None
            finally:
                self._after(key, child)
        raise Problem(Reason.GitFailed, f"the Git worker died twice ({_signal(died.code)})")

    async def close(self) -> None:
        """End all children; what they work on ends as a Problem."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._children.clear()
        for child in self._all:
            child.kill()
        await asyncio.gather(*(child.ended for child in self._all))
        if self._launcher is not None:
            self._launcher.close()

    async def _child(
        self, key: Key, remote: Remote, waiting: Callable[[], AbstractContextManager[None]]
    ) -> Child:
        while (child := self._usable(key)) is None:
            if self._closed:
                raise Problem(Reason.GitFailed, "the operator is stopping")
            ticket = self._slots.ask(key.namespace)
            self._asking[ticket] = key
            try:
                self._make_room()
                with waiting():
                    await self._slots.called(ticket)
            except BaseException:
                self._slots.give_back(ticket)
                raise
            finally:
                del self._asking[ticket]
            if self._slots.holds(ticket):
                await self._start_once(key, remote, ticket)
        return child

    def _usable(self, key: Key) -> Child | None:
        """Return the child for a key if there is one that takes requests; it is used, so it is not idle any more."""
        child = self._children.get(key)
        if child is None or not child.usable:
            return None
        if timer := self._timers.pop(key, None):
            timer.cancel()
        return child

    async def _start_once(self, key: Key, remote: Remote, ticket: Ticket) -> None:
        """Start a child in the slot of a ticket, unless there is one by now. Who waits to start the same need not wait."""
        child = None
        try:
            async with self._starting:
                if self._closed:  # each child that ended gave its slot to one that waited
                    raise Problem(Reason.GitFailed, "the operator is stopping")
                if self._usable(key) is None:
                    child = self._children[key] = await self._start(key, remote, ticket)
                    self._all.add(child)
                    child.ended.add_done_callback(partial(self._forget, child))
        finally:
            if child is None:
                self._slots.give_back(ticket)
        for other in [each for each, wanted in self._asking.items() if wanted == key]:
            self._slots.withdraw(other)

    def _forget(self, child: Child, _ended: asyncio.Task[None]) -> None:
        self._all.discard(child)

    def _make_room(self) -> None:
        """End idle children where others may be started in their place."""
        asking = {ticket: key for ticket, key in self._asking.items() if not ticket.called.done()}
        there = [child for child in self._all if child.died is None]
        going = sum(child.retired and not child.busy for child in there)
        for _ in range(len(set(asking.values())) - going):
            idle = {
                key: (child.namespace, child.idle)
                for key, child in self._children.items()
                if child.usable and not child.busy
            }
            held = Counter(child.namespace for child in there)
            waiting = {ticket.namespace for ticket in asking}
            if (key := surplus(held, idle, waiting, self._slots.limits.each)) is None:
                return
            self._drop(key).kill()

    def _drop(self, key: Key) -> Child:
        """Give a child no more requests."""
        if timer := self._timers.pop(key, None):
            timer.cancel()
        child = self._children.pop(key)
        child.retired = True
        return child

    def _after(self, key: Key, child: Child) -> None:
        """Forget a child that is no good any more; let one that has nothing to do live for a while."""
        if self._children.get(key) is not child:
            return
        if not child.usable:
            self._drop(key)
        elif not child.busy and key.mirror:
            self._drop(key).retire()
        elif not child.busy:
            loop = asyncio.get_running_loop()
            child.idle = loop.time()
            if key not in self._timers:
                self._timers[key] = loop.call_later(self._idle, self._retire, key, child)
            self._make_room()

    def _retire(self, key: Key, child: Child) -> None:
        if self._children.get(key) is child and not child.busy:
            self._drop(key).retire()

    async def _start(self, key: Key, remote: Remote, ticket: Ticket) -> Child:
        self._count += 1
        home = self._folder / str(self._count)
        try:
            _make_folders(home, key.mirror)
        except OSError as error:
            raise cache_problem(error) from None
        request = {"home": str(home), **self._policy.wire(_grants(home, key.mirror, remote))}
        try:
            process = await self._launch(request)
        except LaunchError as error:
            raise Problem(Reason.GitFailed, f"no Git worker can be started: {error}") from None
        return Child(process, home, key.namespace, partial(self._slots.give_back, ticket))

    async def _launch(self, request: Mapping[str, Any]) -> Process:
        with suppress(LaunchError):  # it died; the next one may live
            return await launch(self._connection(), request)
        return await launch(self._connection(), request)

    def _connection(self) -> Connection:
        """Return the launcher, started if there is none that runs; LaunchError where no child can be fenced."""
        if refusal := self._policy.refusal():
            raise LaunchError(refusal)
        loop = asyncio.get_running_loop()
        if self._launcher is None or not self._launcher.usable(loop):
            if self._launcher is not None:
                self._launcher.close()
            self._launcher = Connection(loop, LAUNCHER, self._environment(), "Git workers")
        return self._launcher

    def _environment(self) -> dict[str, str]:
        """Return the launcher's environment: nothing of ours but what its children need."""
        passed = {name: value for name, value in self._environ.items() if name.upper() in PASSED and value}
        return passed | {"HOME": str(self._folder), "LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "2"}


def _make_folders(home: Path, mirror: str) -> None:
    """Make what a child is fenced to: it cannot do so itself."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    if mirror:
        Path(mirror).mkdir(parents=True, exist_ok=True)


def _origin(remote: Remote) -> tuple[str, str, int]:
    """Return what one child may be asked for: a server, or one folder, as it is fenced to that."""
    return (remote.scheme, remote.path, 0) if remote.scheme == "file" else remote.origin


def _grants(home: Path, mirror: str, remote: Remote) -> list[Grant]:
    """Return what a child may see beside what all may (`git.worker.fence`): file:// is for tests and demos."""
    grants = [Grant(str(home), Access.LINK)]
    if mirror:
        grants.append(Grant(mirror, Access.LINK))
    if remote.scheme == "file":
        grants.append(Grant(remote.path, Access.READ))
    return grants


def surplus(
    held: Mapping[str, int], idle: Mapping[N, tuple[str, float]], waiting: Collection[str], each: int
) -> N | None:
    """Return the idle child that must end so that a namespace that waits may have another one (pure).

    It is the one that is idle for longest, of the namespace that has most. Who has as many as one may have (`each`) gains
    from the end of its own alone. `held`: how many each namespace has; `idle`: whose each one is, and since when idle.
    """
    gains = any(held.get(name, 0) < each for name in waiting)
    fit = [name for name, (owner, _) in idle.items() if gains or owner in waiting]
    return max(fit, key=lambda name: (held[idle[name][0]], -idle[name][1]), default=None)


def _signal(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
