"""Manages the child processes that talk to Git servers, from the parent's side (async shell).

There is one for each trust set and origin, started when needed and ended when idle. When a request takes too long, its
child gets no more requests, and is killed as soon as its other requests are done or too late themselves.
So a hung server costs other Sources at most a new child.

A limited number of them is shared by namespaces (`runtime.fairness`): a child counts for the namespace that it was started for.
Where another one is needed, an idle one ends (`surplus`).
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import shutil
import signal
import struct
import sys
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import setpoint
from setpoint.api.reasons import Problem, Reason
from setpoint.git import protocol
from setpoint.git.remotes import Repository
from setpoint.git.worker import main
from setpoint.runtime.disk import cache_problem
from setpoint.runtime.fairness import Limits
from setpoint.runtime.slots import Slots, Ticket

Key = tuple[str, tuple[str, str, int]]
N = TypeVar("N")
# What a child may know of our environment: proxies, and the machine's own certificate authorities.
PASSED = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
ATTEMPTS = 2
REASONS: Mapping[str, Reason] = {str(each): each for each in Reason}


class ChildDied(Exception):
    """The child ended while it worked on a request; `code` is its exit status, negative for a signal."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Child:
    """One running child."""

    def __init__(
        self, process: asyncio.subprocess.Process, home: Path, namespace: str, tell: Callable[[], None]
    ) -> None:
        """`namespace`: whom it was started for. `tell` is called as soon as the process is gone."""
        self.process, self._home, self.namespace, self._tell = process, home, namespace, tell
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._next = 0
        self.retired = False
        self.idle = 0.0
        """Since when it has nothing to do, if it has nothing to do."""
        self.died: int | None = None
        """Its exit status; it is there before `ended` is done, which waits for the pipes."""
        self.ended = asyncio.create_task(self._listen())

    @property
    def usable(self) -> bool:
        """Whether it takes requests."""
        return not self.retired and self.died is None

    @property
    def busy(self) -> bool:
        """Whether it works on anything."""
        return bool(self._pending)

    async def call(self, request: Mapping[str, Any]) -> Any:
        """Send a request and give its result; Problem as the child says, ChildDied."""
        if self.died is not None:
            raise ChildDied(self.died)
        self._next += 1
        number, future = self._next, asyncio.get_running_loop().create_future()
        self._pending[number] = future
        try:
            assert self.process.stdin is not None  # noqa: S101 - started with a pipe
            with suppress(ConnectionError):  # then `_listen` says that it died
                self.process.stdin.write(protocol.frame({**request, "id": number}))
                await self.process.stdin.drain()
            return await future
        except asyncio.CancelledError:
            self.retired = True
            raise
        finally:
            self._pending.pop(number, None)
            if self.retired and not self._pending:
                self.kill()

    def kill(self) -> None:
        """End it at once."""
        if self.process.returncode is None:
            # Not process.kill(): that may reap the child, and asyncio would never learn how it ended.
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)

    def retire(self) -> None:
        """Close its input, so that it ends by itself: it gets no more requests."""
        self.retired = True
        if self.process.stdin is not None:
            self.process.stdin.close()

    async def _listen(self) -> None:
        """Hand out answers until the child ends, then clean up after it."""
        stream = self.process.stdout
        assert stream is not None  # noqa: S101 - started with a pipe
        try:
            while True:
                length = struct.unpack(">I", await stream.readexactly(4))[0]
                self._answer(json.loads(await stream.readexactly(length)))
        except asyncio.IncompleteReadError:
            pass  # the end
        finally:
            # Before anything else is awaited: who hears of its death tries again at once, with another child.
            self.died = await self.process.wait()
            self._tell()
            for future in self._pending.values():
                if not future.done():
                    future.set_exception(ChildDied(self.died))
            if self.process.stdin is not None:
                self.process.stdin.close()
                with suppress(ConnectionError):
                    await self.process.stdin.wait_closed()
            shutil.rmtree(self._home, ignore_errors=True)

    def _answer(self, message: Mapping[str, Any]) -> None:
        future = self._pending.get(message["id"])
        if future is None or future.done():
            return
        if "problem" in message:
            reason, text = message["problem"]
            future.set_exception(Problem(REASONS[reason], text))
        else:
            future.set_result(message["result"])


class Children:
    """All children of this process, by trust and origin."""

    def __init__(self, folder: Path, most: int, idle: float, environ: Mapping[str, str]) -> None:
        """`folder`: private to this process, for the children's homes, which hold nothing secret.

        At most `most` children are there at once, and one that is `idle` for so many seconds ends.
        """
        self._folder, self._idle, self._environ = folder, idle, environ
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
        key = (repository.credentials.trust, repository.remote.origin)
        died = ChildDied(0)
        for _ in range(ATTEMPTS):
            child = await self._child(key, repository.namespace, waiting)
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

    async def _child(
        self, key: Key, namespace: str, waiting: Callable[[], AbstractContextManager[None]]
    ) -> Child:
        while (child := self._usable(key)) is None:
            if self._closed:
                raise Problem(Reason.GitFailed, "the operator is stopping")
            ticket = self._slots.ask(namespace)
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
                await self._start_once(key, ticket)
        return child

    def _usable(self, key: Key) -> Child | None:
        """Return the child for a key if there is one that takes requests; it is used, so it is not idle any more."""
        child = self._children.get(key)
        if child is None or not child.usable:
            return None
        if timer := self._timers.pop(key, None):
            timer.cancel()
        return child

    async def _start_once(self, key: Key, ticket: Ticket) -> None:
        """Start a child in the slot of a ticket, unless there is one by now. Who waits to start the same need not wait."""
        child = None
        try:
            async with self._starting:
                if self._closed:  # each child that ended gave its slot to one that waited
                    raise Problem(Reason.GitFailed, "the operator is stopping")
                if self._usable(key) is None:
                    child = self._children[key] = await self._start(ticket)
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
        elif not child.busy:
            loop = asyncio.get_running_loop()
            child.idle = loop.time()
            if key not in self._timers:
                self._timers[key] = loop.call_later(self._idle, self._retire, key, child)
            self._make_room()

    def _retire(self, key: Key, child: Child) -> None:
        if self._children.get(key) is child and not child.busy:
            self._drop(key).retire()

    async def _start(self, ticket: Ticket) -> Child:
        self._count += 1
        home = self._folder / str(self._count)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-s", "-m", main.__name__, str(home),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=self._environment(home),
                cwd="/",
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise cache_problem(error) from None
        return Child(process, home, ticket.namespace, partial(self._slots.give_back, ticket))

    def _environment(self, home: Path) -> dict[str, str]:
        """Return the child's environment: nothing of ours but what it needs."""
        passed = {name: value for name, value in self._environ.items() if name.upper() in PASSED and value}
        return passed | {
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "MALLOC_ARENA_MAX": "2",
            "PYTHONPATH": os.pathsep.join(str(Path(each).parent) for each in setpoint.__path__),
        }


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
