"""Manages the child processes that talk to Git servers, from the parent's side (async shell).

There is one for each trust set and origin, started when needed and ended when idle. When a request takes too long, its
child gets no more requests, and is killed as soon as its other requests are done or too late themselves.
So a hung server costs other Sources at most a new child.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import struct
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import setpoint
from setpoint.api.reasons import Problem, Reason
from setpoint.git import protocol
from setpoint.git.remotes import Repository
from setpoint.git.worker import main
from setpoint.runtime.disk import cache_problem

Key = tuple[str, tuple[str, str, int]]
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

    def __init__(self, process: asyncio.subprocess.Process, home: Path) -> None:
        self.process, self._home = process, home
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._next = 0
        self.retired = False
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

    def __init__(self, folder: Path, idle: float, environ: Mapping[str, str]) -> None:
        """`folder`: private to this process, for the children's homes, which hold nothing secret; `idle` in seconds."""
        self._folder, self._idle, self._environ = folder, idle, environ
        self._children: dict[Key, Child] = {}
        self._all: set[Child] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._starting = asyncio.Lock()
        self._count = 0
        self._closed = False

    async def call(self, repository: Repository, request: Mapping[str, Any]) -> Any:
        """Run a request; if its child dies through no fault of the request, run it once more."""
        key = (repository.credentials.trust, repository.remote.origin)
        died = ChildDied(0)
        for _ in range(ATTEMPTS):
            if self._closed:
                raise Problem(Reason.GitFailed, "the operator is stopping")
            child = await self._child(key)
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

    async def _child(self, key: Key) -> Child:
        if timer := self._timers.pop(key, None):
            timer.cancel()
        async with self._starting:
            child = self._children.get(key)
            if child is None or not child.usable:
                child = self._children[key] = await self._start()
                self._all.add(child)
                child.ended.add_done_callback(partial(self._forget, child))
            return child

    def _forget(self, child: Child, _ended: asyncio.Task[None]) -> None:
        self._all.discard(child)

    def _after(self, key: Key, child: Child) -> None:
        """Forget a child that is no good any more; let one that has nothing to do live for a while."""
        if self._children.get(key) is not child:
            return
        if not child.usable:
            del self._children[key]
        elif not child.busy and key not in self._timers:
            loop = asyncio.get_running_loop()
            self._timers[key] = loop.call_later(self._idle, self._retire, key, child)

    def _retire(self, key: Key, child: Child) -> None:
        self._timers.pop(key, None)
        if self._children.get(key) is child and not child.busy:
            del self._children[key]
            child.retire()

    async def _start(self) -> Child:
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
        return Child(process, home)

    def _environment(self, home: Path) -> dict[str, str]:
        """Return the child's environment: nothing of ours but what it needs."""
        passed = {name: value for name, value in self._environ.items() if name.upper() in PASSED and value}
        return passed | {
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "MALLOC_ARENA_MAX": "2",
            "PYTHONPATH": os.pathsep.join(str(Path(each).parent) for each in setpoint.__path__),
        }


def _signal(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
