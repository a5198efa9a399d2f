"""Runs renderer processes in a fence, and within limits of time, memory and output (shell).

The processes are started by `launcher`, one small process that is started on first use and dies with this one.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any, Final

from setpoint.fences.landlock import Access, Grant
from setpoint.fences.launching import Connection, LaunchError, Started
from setpoint.fences.policy import Policy
from setpoint.render import launcher

POLICY: Final = Policy()
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


class Sandbox:
    """Starts the launcher when it is needed, again if it died, and ends it with `close`."""

    def __init__(self, policy: Policy = POLICY) -> None:
        """`policy`: how strict the fence of each process is."""
        self._policy = policy
        self._launcher: Connection | None = None

    async def run(self, argv: Sequence[str], cwd: Path, env: Mapping[str, str], limits: Limits) -> Completed:
        """Run a program (argv[0] is its path) in its folder and wait for its end, whatever ends it.

        Raises LaunchError if it could not be started. A cancelled wait kills the process too.
        """
        connection = self._connection()
        with ExitStack() as files:
            out, err = (files.enter_context(_memory_file(name)) for name in ("stdout", "stderr"))
            request = {"argv": list(argv), "cwd": str(cwd), "env": dict(env), "output": limits.output}
            fence = self._policy.wire(self._grants(argv[0], cwd))
            started = await connection.start({**request, **fence}, (out.fileno(), err.fileno()))
            status, stopped = await _watch(connection, started, limits)
            stdout, stderr = (_content(each.fileno()) for each in (out, err))
        if stopped is None and max(len(stdout), len(stderr)) >= limits.output:
            stopped = Stopped.OUTPUT
        return Completed(status, stdout, stderr, stopped)

    def close(self) -> None:
        """End the launcher, and with it every process that runs."""
        if self._launcher is not None:
            self._launcher.close()
            self._launcher = None

    def _grants(self, program: str, cwd: Path) -> list[Grant]:
        libraries = [Grant(each, Access.RUN) for each in self._policy.libraries]
        return [Grant(str(cwd), Access.WRITE), Grant(program, Access.RUN), *libraries]

    def _connection(self) -> Connection:
        if refusal := self._policy.refusal():
            raise LaunchError(refusal)
        loop = asyncio.get_running_loop()
        if self._launcher is None or not self._launcher.usable(loop):
            self.close()
            self._launcher = Connection(loop, ("-P", "-s", "-S", "-m", launcher.__name__), {}, "renderers")
        return self._launcher


async def _watch(connection: Connection, started: Started, limits: Limits) -> tuple[int, Stopped | None]:
    """Watch a process until it ended, and kill it when it is over a limit; returns its status and why it was stopped."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + limits.timeout
    stopped: Stopped | None = None
    try:
        while True:
            await asyncio.wait((started.ended,), timeout=_SAMPLE_SECONDS)
            if started.ended.done():
                return started.ended.result(), stopped
            if stopped is None:
                late = loop.time() > deadline
                large = _resident(started.pid) > limits.memory
                stopped = Stopped.TIMEOUT if late else Stopped.MEMORY if large else None
                if stopped is not None:
                    connection.kill(started.number)
    finally:
        if not started.ended.done():
            connection.kill(started.number)


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
