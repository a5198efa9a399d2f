"""The parent's side of a launcher: has children started and killed, and hears of their ends (async shell)."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import setpoint
from setpoint.fences import launcher
from setpoint.fences.allowances import Excess

_RETRY_SECONDS: Final = 0.05


class LaunchError(Exception):
    """The launcher does not run, or died."""


class Exit(NamedTuple):
    """How a child ended: its exit status, negative for a signal, and the most bytes of memory that it had resident."""

    status: int
    peak: int = 0


def cause(status: int) -> str:
    """Return how a child ended, by its exit status, in words."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"signal {-status}"


@dataclass(frozen=True, slots=True)
class Started:
    """A child that runs: the number of its request, its process id, and its end to be (LaunchError if the launcher died)."""

    number: int
    pid: int
    ended: asyncio.Future[Exit]


class Observer(Protocol):
    """Is told of children, and ends those that take too much."""

    def began(self, pid: int, kind: str, kill: Callable[[], object]) -> None:
        """Note a new child; `kill` ends it."""

    def busy(self, pid: int) -> None:
        """Note that a child has a task more."""

    def idle(self, pid: int) -> None:
        """Note that a child has a task less."""

    def why(self, pid: int) -> Excess | None:
        """Return what a child was ended for, or None."""

    def remove(self, pid: int) -> None:
        """Note that a child is gone."""


class Nobody:
    """An observer that sees nothing."""

    def began(self, pid: int, kind: str, kill: Callable[[], object]) -> None:
        """Note nothing."""

    def busy(self, pid: int) -> None:
        """Note nothing."""

    def idle(self, pid: int) -> None:
        """Note nothing."""

    def why(self, pid: int) -> Excess | None:
        """Know nothing."""
        return None

    def remove(self, pid: int) -> None:
        """Note nothing."""


class Connection:
    """One launcher process, and who waits for which of its children."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, options: Sequence[str], environ: Mapping[str, str], what: str
    ) -> None:
        """`options`: what Python is started with, the module included; `what` the children are, for messages. LaunchError."""
        self._loop, self._what = loop, what
        self._waiting: dict[int, tuple[asyncio.Future[int], asyncio.Future[Exit]]] = {}
        self._numbers = itertools.count(1)
        try:
            self._socket, self._process = _begun(options, environ)
        except OSError as error:  # too many files are open, or too many processes run
            raise LaunchError(f"the launcher of {what} cannot be started: {error.strerror}") from error
        loop.add_reader(self._socket, self._read)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def usable(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Return whether it runs, and belongs to this event loop."""
        return self._loop is loop and self._socket.fileno() >= 0 and self._process.poll() is None

    def close(self) -> None:
        """End it, and with it all children; whoever waits meets LaunchError."""
        if self._socket.fileno() >= 0:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._socket)
            self._socket.close()
        self._process.kill()
        self._process.wait()
        waiting, self._waiting = self._waiting, {}
        futures: list[asyncio.Future[Any]] = [each for pair in waiting.values() for each in pair]
        for future in futures:
            if not future.done() and not self._loop.is_closed():
                future.set_exception(LaunchError(f"the launcher of {self._what} ended"))
                future.exception()

    async def start(self, request: Mapping[str, Any], files: Sequence[int]) -> Started:
        """Have a child started that is given some open files; LaunchError, also for a request that is too large. A cancelled wait kills it."""
        number = next(self._numbers)
        data = json.dumps({**request, "id": number}).encode()
        if len(data) > launcher.LONGEST:
            raise LaunchError(
                f"the request for one of the {self._what} is larger than {launcher.LONGEST:,} bytes"
            )
        started: asyncio.Future[int] = self._loop.create_future()
        ended: asyncio.Future[Exit] = self._loop.create_future()
        self._waiting[number] = started, ended
        ended.add_done_callback(lambda _: self._waiting.pop(number, None))
        try:
            with ExitStack() as opened:
                if len(data) > launcher.PACKET:
                    files = (*files, opened.enter_context(self._file(data)).fileno())
                    data = json.dumps({"id": number, "rest": len(data)}).encode()
                await self._send(data, files)
            return Started(number, await started, ended)
        except LaunchError:
            self._waiting.pop(number, None)
            raise
        except asyncio.CancelledError:
            self.kill(number)
            raise

    def kill(self, number: int) -> None:
        """Ask the launcher, which is the only one to know that the pid is still theirs."""
        if number not in self._waiting or self._socket.fileno() < 0:
            return
        try:
            self._socket.send(json.dumps({"kill": number}).encode())
        except BlockingIOError:
            self._loop.call_later(_RETRY_SECONDS, self.kill, number)
        except OSError:
            self.close()

    def _file(self, data: bytes) -> Any:
        try:
            return _held(data)
        except OSError as error:
            raise LaunchError(
                f"a request for one of the {self._what} has no room: {error.strerror}"
            ) from error

    async def _send(self, data: bytes, files: Sequence[int]) -> None:
        while True:
            try:
                socket.send_fds(self._socket, [data], files)
            except BlockingIOError:
                await asyncio.sleep(_RETRY_SECONDS)
            except OSError as error:
                raise LaunchError(
                    f"the launcher of {self._what} does not answer: {error.strerror}"
                ) from error
            else:
                return

    def _read(self) -> None:
        try:
            data = self._socket.recv(launcher.PACKET)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        message = json.loads(data)
        started, ended = self._waiting.get(message["id"], (None, None))
        if started is not None and "pid" in message and not started.done():
            started.set_result(message["pid"])
        if ended is not None and "status" in message and not ended.done():
            ended.set_result(Exit(message["status"], message["peak"]))


def _begun(
    options: Sequence[str], environ: Mapping[str, str]
) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """Start a launcher, and return the socket that asks it with its process; OSError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    package = os.pathsep.join(str(Path(each).parent) for each in setpoint.__path__)
    with theirs:
        try:
            ours.setblocking(False)
            return (
                ours,
                subprocess.Popen(
                    [sys.executable, *options, str(theirs.fileno()), str(os.getpid())],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    env={**environ, "PYTHONPATH": package},
                    cwd="/",
                    start_new_session=True,  # a terminal's Ctrl-C is for the operator, which ends the children in order
                ),
            )
        except BaseException:
            ours.close()
            raise


def _held(data: bytes) -> Any:
    """Return an open file that holds some bytes: in memory, where there is such. OSError."""
    made: Any = (
        os.fdopen(os.memfd_create("request"), "r+b", buffering=0)
        if hasattr(os, "memfd_create")
        else tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - the caller closes it
    )
    try:
        made.write(data)
    except BaseException:
        made.close()
        raise
    return made
