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
from functools import partial
from pathlib import Path
from typing import Any, Final

from setpoint.fences.kept import Kept
from setpoint.fences.landlock import Access, Grant
from setpoint.fences.launching import Connection, LaunchError, Nobody, Observer, Started
from setpoint.fences.memory import sample
from setpoint.fences.policy import Policy
from setpoint.render import launcher
from setpoint.runtime.disk import FOLDER

POLICY: Final = Policy()
_SAMPLE_SECONDS: Final = 0.05


class Stopped(Enum):
    """Why a process was stopped."""

    TIMEOUT = auto()
    MEMORY = auto()
    OUTPUT = auto()


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds, bytes of memory, and bytes of each of stdout and stderr."""

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


@dataclass(frozen=True, slots=True)
class Left:
    """How a process ended whose output went elsewhere: exit code (minus the signal if one ended it), and why it was stopped."""

    status: int
    stopped: Stopped | None = None


class Sandbox:
    """Starts the launcher when it is needed, again if it died, and ends it with `close`."""

    def __init__(self, policy: Policy = POLICY, observer: Observer | None = None) -> None:
        """`policy`: how strict the fence of each process is; `observer` is told of each."""
        self._policy, self._observer = policy, observer or Nobody()
        self._kept = Kept(policy, ("-P", "-s", "-S", "-m", launcher.__name__), {}, "renderers")

    async def run(self, argv: Sequence[str], cwd: Path, env: Mapping[str, str], limits: Limits) -> Completed:
        """Run a program as `run_into` does, and return its output."""
        with ExitStack() as files:
            out, err = (files.enter_context(_memory_file(name)).fileno() for name in ("stdout", "stderr"))
            left = await self.run_into(argv, cwd, env, limits, (out, err))
            return Completed(left.status, _content(out), _content(err), left.stopped)

    async def run_into(
        self,
        argv: Sequence[str],
        cwd: Path,
        env: Mapping[str, str],
        limits: Limits,
        output: tuple[int, int],
    ) -> Left:
        """Run a program (argv[0] is its path) in its folder and wait for its end, whatever ends it; it prints into two open files.

        Raises LaunchError if it could not be started. A cancelled wait kills the process too. The folder is opened here and
        never looked up again: who may write beside it could put another in its place; a symlink is none.
        """
        connection = self._kept.get()
        with ExitStack() as files:
            folder = _opened(cwd)
            files.callback(os.close, folder)
            request = {"argv": list(argv), "env": dict(env), "output": limits.output}
            fence = self._policy.wire(self._grants(argv[0]))
            started = await connection.start({**request, **fence}, (*output, folder))
            self._observer.began(started.pid, "renderer", partial(connection.kill, started.number))
            try:
                status, stopped = await _watch(connection, started, limits)
            finally:
                self._observer.remove(started.pid)
        if stopped is None and max(os.fstat(each).st_size for each in output) >= limits.output:
            stopped = Stopped.OUTPUT
        return Left(status, stopped)

    def close(self) -> None:
        """End the launcher, and with it every process that runs."""
        self._kept.close()

    @property
    def launcher(self) -> Connection | None:
        """The launcher, if there is one."""
        return self._kept.launcher

    def _grants(self, program: str) -> list[Grant]:
        return [Grant(each, Access.RUN) for each in (program, *self._policy.libraries)]


async def _watch(connection: Connection, started: Started, limits: Limits) -> tuple[int, Stopped | None]:
    """Watch a process until it ended, and kill it when it is over a limit; returns its status and why it was stopped."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + limits.timeout
    stopped: Stopped | None = None
    try:
        while True:
            await asyncio.wait((started.ended,), timeout=_SAMPLE_SECONDS)
            if started.ended.done():
                return started.ended.result().status, stopped
            if stopped is None:
                late = loop.time() > deadline
                large = _memory(started.pid) > limits.memory
                stopped = Stopped.TIMEOUT if late else Stopped.MEMORY if large else None
                if stopped is not None:
                    connection.kill(started.number)
    finally:
        if not started.ended.done():
            connection.kill(started.number)


def _opened(folder: Path) -> int:
    try:
        return os.open(folder, FOLDER)
    except OSError as error:
        raise LaunchError(f"its work folder cannot be opened: {error.strerror}") from None


def _memory_file(name: str) -> Any:
    """Open a file in memory: output may hold Secrets, which never go to a disk."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create(name), "r+b")
    return tempfile.TemporaryFile()


def _content(descriptor: int) -> bytes:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _memory(pid: int) -> int:
    """Return the bytes that a process takes, page tables and what is swapped out included; 0 if it is gone."""
    seen = sample(pid)
    return seen.memory if seen else 0
