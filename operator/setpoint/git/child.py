"""One child process that talks to a Git server, from the parent's side: its start, its requests and its end (async shell)."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from setpoint.api.reasons import Problem, Reason
from setpoint.fences.allowances import Excess
from setpoint.fences.launching import Connection, LaunchError, Started
from setpoint.git import protocol
from setpoint.runtime import disk


class ChildDied(Exception):
    """The child ended while it worked on a request; `code` is its exit status, negative for a signal."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Process:
    """A process with its socket, as its launcher started it."""

    launcher: Connection
    started: Started
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.started.pid

    def kill(self) -> None:
        """End it at once."""
        self.launcher.kill(self.started.number)

    async def status(self) -> int:
        """Wait for its end; returns its exit status, negative for a signal. It never outlives the launcher."""
        try:
            return (await self.started.ended).status
        except LaunchError:
            return -signal.SIGKILL


async def launch(launcher: Connection, request: Mapping[str, Any]) -> Process:
    """Have a process started with a socket of its own; LaunchError."""
    try:
        ours, theirs = socket.socketpair()
    except OSError as error:  # too many files are open
        raise LaunchError(f"there are no sockets for it: {error.strerror}") from error
    with theirs:
        try:
            reader, writer = await asyncio.open_connection(sock=ours)
        except BaseException:
            ours.close()
            raise
        try:
            started = await launcher.start(request, (theirs.fileno(),))
        except BaseException:
            writer.close()
            raise
    return Process(launcher, started, reader, writer)


class Child:
    """One running child."""

    def __init__(
        self, process: Process, home: Path, namespace: str, tell: Callable[[], None], mirror: str = ""
    ) -> None:
        """`namespace`: whom it was started for; `mirror`: what it may write to. `tell` is called as soon as the process is gone."""
        self.process, self.home, self.namespace, self._tell = process, home, namespace, tell
        self.mirror = mirror
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._asked: dict[int, str] = {}
        """The operations of requests that it did not answer yet, also of those that nobody waits for any more."""
        self._next = 0
        self.retired = False
        self.idle = 0.0
        """Since when it has nothing to do, if it has nothing to do."""
        self.died: int | None = None
        """Its exit status; it is there before `ended` is done, which waits for the socket."""
        self.excess: Excess | None = None
        """What it was ended for, if it took too much; it is there with `died`."""
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
        self._pending[number], self._asked[number] = future, request["op"]
        try:
            with suppress(ConnectionError):  # then `_listen` says that it died
                self.process.writer.write(protocol.frame({**request, "id": number}))
                await self.process.writer.drain()
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
        self.process.kill()

    async def _listen(self) -> None:
        """Hand out answers until the child ends, then clean up after it. One that answers what none of ours does is ended."""
        breach: Problem | None = None
        try:
            while True:
                length = protocol.size(await self.process.reader.readexactly(4))
                self._answer(protocol.answer(await self.process.reader.readexactly(length)))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the end
        except protocol.Breach as error:
            breach = Problem(Reason.GitFailed, f"the Git process gave {error}")
            self.kill()
        finally:
            # Before anything else is awaited: who hears of its death tries again at once, with another child.
            self.died = await self.process.status()
            self._tell()
            for future in self._pending.values():
                if not future.done():
                    future.set_exception(breach or ChildDied(self.died))
            self.process.writer.close()
            with suppress(ConnectionError):
                await self.process.writer.wait_closed()
            await asyncio.to_thread(disk.remove, self.home)

    def _answer(self, answer: protocol.Answer) -> None:
        operation = self._asked.pop(answer.number, None)
        if operation is None:
            raise protocol.Breach("an answer to no request")
        found = None if answer.problem else protocol.result(operation, answer.found)
        future = self._pending.get(answer.number)
        if future is None or future.done():
            return
        if answer.problem:
            future.set_exception(answer.problem)
        else:
            future.set_result(found)
