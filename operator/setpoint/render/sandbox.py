"""Runs renderer processes without network, and within limits of time, memory and output (shell).

The processes are started by `launcher`, one small process that is started on first use and dies with this one.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any, Final

from setpoint.render import launcher

_SAMPLE_SECONDS: Final = 0.05
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


class Stopped(Enum):
    """Why a process was stopped."""

    TIMEOUT = auto()
    MEMORY = auto()
    OUTPUT = auto()


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds, bytes of resident memory, and bytes of each of stdout and stderr."""

    timeout: float
    memory: int
    output: int


@dataclass(frozen=True, slots=True)
class Completed:
    """What a process left: exit code (minus the signal if one ended it), its output, and why it was stopped."""

    status: int
    stdout: bytes
    stderr: bytes
    stopped: Stopped | None = None


class SandboxError(Exception):
    """The launcher does not run, or died."""


class Sandbox:
    """Starts the launcher when it is needed, again if it died, and ends it with `close`."""

    def __init__(self) -> None:
        self._launcher: _Connection | None = None

    async def run(self, argv: Sequence[str], cwd: Path, env: Mapping[str, str], limits: Limits) -> Completed:
        """Run a program (argv[0] is its path) and wait for its end, whatever ends it.

        Raises SandboxError if it could not be started. A cancelled wait kills the process too.
        """
        connection = self._connection()
        with ExitStack() as files:
            out, err = (files.enter_context(_memory_file(name)) for name in ("stdout", "stderr"))
            request = {"argv": list(argv), "cwd": str(cwd), "env": dict(env), "output": limits.output}
            status, stopped = await connection.run(request, (out.fileno(), err.fileno()), limits)
            stdout, stderr = (_content(each.fileno()) for each in (out, err))
        if stopped is None and max(len(stdout), len(stderr)) >= limits.output:
            stopped = Stopped.OUTPUT
        return Completed(status, stdout, stderr, stopped)

    def close(self) -> None:
        """End the launcher, and with it every process that runs."""
        if self._launcher is not None:
            self._launcher.close()
            self._launcher = None

    def _connection(self) -> _Connection:
        loop = asyncio.get_running_loop()
        if self._launcher is None or not self._launcher.usable(loop):
            self.close()
            self._launcher = _Connection(loop)
        return self._launcher


class _Connection:
    """One launcher process, and who waits for which of its renderers."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[int, tuple[asyncio.Future[int], asyncio.Future[int]]] = {}
        self._numbers = itertools.count(1)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        script = Path(launcher.__file__)
        command = [sys.executable, "-I", "-S", str(script), str(theirs.fileno()), str(os.getpid())]
        with theirs:
            self._process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env={}, cwd="/"
            )
        loop.add_reader(self._socket, self._read)

    def usable(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Return whether it runs, and belongs to this event loop."""
        return self._loop is loop and self._socket.fileno() >= 0 and self._process.poll() is None

    def close(self) -> None:
        """End it; whoever waits meets SandboxError."""
        if self._socket.fileno() >= 0:
            if not self._loop.is_closed():
                self._loop.remove_reader(self._socket)
            self._socket.close()
        self._process.kill()
        self._process.wait()
        waiting, self._waiting = self._waiting, {}
        for future in (each for pair in waiting.values() for each in pair):
            if not future.done() and not self._loop.is_closed():
                future.set_exception(SandboxError("the launcher of renderers ended"))
                future.exception()

    async def run(
        self, request: Mapping[str, Any], files: tuple[int, int], limits: Limits
    ) -> tuple[int, Stopped | None]:
        """Start a process and watch it until it ended; returns its status and why it was stopped."""
        number = next(self._numbers)
        started, ended = self._loop.create_future(), self._loop.create_future()
        self._waiting[number] = started, ended
        await self._send({**request, "id": number}, files)
        try:
            return await self._watch(number, await started, ended, limits)
        finally:
            self._waiting.pop(number, None)
            if not ended.done() and self._socket.fileno() >= 0:
                self._kill(number)

    async def _watch(
        self, number: int, pid: int, ended: asyncio.Future[int], limits: Limits
    ) -> tuple[int, Stopped | None]:
        deadline = self._loop.time() + limits.timeout
        stopped: Stopped | None = None
        while True:
            await asyncio.wait((ended,), timeout=_SAMPLE_SECONDS)
            if ended.done():
                return ended.result(), stopped
            if stopped is None:
                late = self._loop.time() > deadline
                stopped = (
                    Stopped.TIMEOUT if late else Stopped.MEMORY if _resident(pid) > limits.memory else None
                )
                if stopped is not None:
                    self._kill(number)

    async def _send(self, message: Mapping[str, Any], files: tuple[int, int]) -> None:
        data = json.dumps(message).encode()
        while True:
            try:
                socket.send_fds(self._socket, [data], files)
            except BlockingIOError:
                await asyncio.sleep(_SAMPLE_SECONDS)
            except OSError as error:
                raise SandboxError(f"the launcher of renderers does not answer: {error.strerror}") from error
            else:
                return

    def _kill(self, number: int) -> None:
        """Ask the launcher, which is the only one to know that the pid is still theirs."""
        try:
            self._socket.send(json.dumps({"kill": number}).encode())
        except OSError:
            self.close()

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
        future, value = (started, message["pid"]) if "pid" in message else (ended, message["status"])
        if future is not None and not future.done():
            future.set_result(value)


def _memory_file(name: str) -> Any:
    """Open a file in memory: output may hold Secrets, which never go to a disk."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create(name), "r+b")
    return tempfile.TemporaryFile()


def _content(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _resident(pid: int) -> int:
    """Return the resident memory of a process in bytes, 0 if it is gone (statm counts pages, proc(5))."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0
