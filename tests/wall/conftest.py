"""A worker in a process of its own, and what dials it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from setpoint.link import sockets
from setpoint.link.client import Client
from setpoint.link.turns import Turns
from setpoint.wall import messages as m

ROOT = Path(__file__).resolve().parents[2]
HELLO = m.Hello(m.PROTOCOL, "test")


class Process:
    """The worker's process, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = start(str(self.folder))

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()


def start(where: str, *passed: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "tests.wall.worker", where], cwd=ROOT, pass_fds=passed)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Process]:
    process = Process(tmp_path)
    process.start()
    yield process
    process.kill()


class Operator:
    """A client with what it was told."""

    def __init__(self, dial: Any) -> None:
        self.welcomes: list[m.Welcome] = []
        self.stats: list[m.Stats] = []
        self.turns = Turns()
        self.client = Client(dial, HELLO, self.turns, self.welcomes.append, self.stats.append)

    async def count(self, name: str) -> str:
        place = m.Place("a", "https://git.example/a", m.Login(), submodules=False, timeout=1.0)
        fetched = await self.client.call(m.Fetch(place, name, remote=False))
        assert isinstance(fetched, m.Fetched)
        return fetched.handle

    async def counted(self, name: str, count: int) -> None:
        """Wait until a count of the worker is this one."""
        while await self.count(name) != str(count):
            await asyncio.sleep(0)


@asynccontextmanager
async def operating(dial: Any) -> AsyncIterator[Operator]:
    operator = Operator(dial)
    operator.client.start()
    try:
        await operator.client.ready()
        yield operator
    finally:
        await operator.client.close()


def story(test: Callable[[Operator, Process], Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make a test of a story of both processes, told with each of the event loops; the worker has uvloop."""

    @pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
    def told(run: Callable[[Any], None], worker: Process) -> None:
        async def tell() -> None:
            async with operating(lambda: sockets.connect(worker.folder, os.getuid())) as operator:
                await test(operator, worker)

        run(tell())

    made: Callable[..., None] = told
    return made


def build(**spec: Any) -> m.Build:
    return m.Build(m.Look("team-a", "mirror", "0" * 40, submodules=False, spec=spec), ())


async def child(children: list[subprocess.Popen[bytes]]) -> socket.socket:
    """Dial a child that is started for it."""
    ours, theirs = sockets.pair()
    with theirs:
        children.append(start(str(theirs.fileno()), theirs.fileno()))
    return ours
