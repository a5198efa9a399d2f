"""What readers ask the broker for costs it no memory, and who asks for too much, or for nothing known, is ended."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.kit.brokered import Brokered
from tests.kit.fenced import PYTHON
from tests.kit.servers.repo import Repo

from setpoint.api.reasons import Reason
from setpoint.fences.clock import Clock
from setpoint.fences.memory import sample
from setpoint.fences.policy import Policy
from setpoint.link.caller import Caller
from setpoint.link.server import Server
from setpoint.link.sockets import pair
from setpoint.link.stream import Stream
from setpoint.link.turns import Turns
from setpoint.render.program import Program
from setpoint.render.sandbox import Limits
from setpoint.wall.codec import encode, number
from setpoint.wall.frames import Frame, pack
from setpoint.wall.inside import Describe, Ran, Run
from setpoint.wall.messages import Check, Failed, GitRef, Login, Place
from setpoint.worker import readers
from setpoint.worker.builds import Builds
from setpoint.worker.folders import outputs
from setpoint.worker.reader.errands import Errand
from setpoint.worker.room import Watch

pytestmark = pytest.mark.asyncio
MIB = 2**20
LIMITS = Limits(60, 512 * MIB, 32 * MIB)
LARGE = "import os\nfor _ in range(31): os.write(1, b'x' * 2**20)\nos.write(2, b'err')\n"


class Reader:
    """The reader's end of the errands of a broker; `most` may be open at once."""

    def __init__(self, folder: Path, code: str) -> None:
        program = folder / "kustomize"
        program.write_text(f"#!{sys.executable} -IS\n{code}")
        program.chmod(0o700)
        self.scratch = folder / "readers" / "x"
        self.scratch.mkdir(parents=True)
        self.clock = Clock()
        self.program = Program(program, LIMITS, Policy(libraries=PYTHON))
        self.builds = Builds(self.program, 3, Watch())
        self.ours, self._theirs = pair()

    async def serve(self, most: int = 3) -> asyncio.Task[None]:
        handle = self.builds.errands("team", self.scratch, 1, self.clock)
        server = Server(await Stream.over(self._theirs), handle, introduced=False, most=most, strict=True)
        return asyncio.create_task(server.run())

    def work(self, name: str) -> Path:
        (work := self.scratch / name).mkdir()
        return work

    async def say(self, *messages: Any) -> None:
        self.ours.setblocking(False)
        for call, message in enumerate(messages, 1):
            for piece in encode(message):
                frame = pack(Frame(number(message), call, piece.body))
                await asyncio.get_running_loop().sock_sendall(self.ours, frame)


@pytest_asyncio.fixture
async def reader(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Reader]:
    made = Reader(tmp_path, getattr(request, "param", LARGE))
    yield made
    made.program.close()
    for each in (made.ours, made._theirs):
        each.close()


async def asking(reader: Reader) -> tuple[Errand, asyncio.Task[None]]:
    caller = Caller(await Stream.over(reader.ours), Turns())
    return Errand(caller, LIMITS), asyncio.create_task(caller.run())


async def test_output_comes_back_and_leaves_nothing(reader: Reader) -> None:
    serving = await reader.serve()
    errand, running = await asking(reader)
    done = await errand.build(reader.work("a"), ".")
    assert (done.status, len(done.stdout), done.stderr) == (0, 31 * MIB, b"err")
    assert [each.name for each in reader.scratch.iterdir()] == ["a"]
    reader.ours.shutdown(socket.SHUT_RDWR)
    await asyncio.gather(serving, running)


async def test_what_nobody_takes_is_not_held_by_the_broker(reader: Reader) -> None:
    """Twenty such answers took 1.4 GiB."""
    serving = await reader.serve(most=20)
    names = [f"w{n}" for n in range(8)]
    for each in names:
        reader.work(each)
    before = sample_memory()
    await reader.say(*(Run(each, ".") for each in names))
    heads = bytearray()
    while heads.count(b'"status"') < len(names):
        heads += await asyncio.get_running_loop().sock_recv(reader.ours, 4096)
    assert all((reader.scratch / f"{each}.stdout").stat().st_size == 31 * MIB for each in names)
    assert sample_memory() - before < 30 * MIB
    reader.ours.close()
    await serving


def sample_memory() -> int:
    seen = sample(os.getpid())
    assert seen
    return seen.memory


@pytest.mark.parametrize("reader", ["import time; time.sleep(600)"], indirect=True)
async def test_more_errands_than_builds_end_the_connection(reader: Reader) -> None:
    serving = await reader.serve(most=3)
    await reader.say(*(Run(f"w{n}", ".") for n in range(4)))
    await asyncio.wait_for(serving, 60)
    assert await asyncio.get_running_loop().sock_recv(reader.ours, 10) == b""


async def test_an_errand_that_is_none_ends_the_connection(reader: Reader) -> None:
    serving = await reader.serve()
    await reader.say(Describe("h", "0" * 40, False))
    await asyncio.wait_for(serving, 60)


@pytest.mark.parametrize("reader", ["import time; time.sleep(600)"], indirect=True)
async def test_one_that_is_cancelled_makes_room_at_once_and_leaves_no_files(reader: Reader) -> None:
    serving = await reader.serve(most=1)
    errand, running = await asking(reader)
    for name in ("a", "b", "c"):
        task = asyncio.create_task(errand.build(reader.work(name), "."))
        while not (reader.scratch / f"{name}.stdout").exists():
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert not serving.done()
    while any(each.is_file() for each in reader.scratch.iterdir()):
        await asyncio.sleep(0.01)
    reader.ours.shutdown(socket.SHUT_RDWR)
    await asyncio.gather(serving, running)


async def test_files_that_are_there_already_are_not_written(reader: Reader, tmp_path: Path) -> None:
    """Nor is what a link in their place leads to."""
    (victim := tmp_path / "victim").write_text("mine")
    serving = await reader.serve()
    reader.work("a")
    (reader.scratch / "a.stdout").symlink_to(victim)
    caller = Caller(await Stream.over(reader.ours), Turns())
    running = asyncio.create_task(caller.run())
    answer = await caller.call(Run("a", "."))
    assert isinstance(answer, Failed)
    assert answer.reason is Reason.CacheFull
    assert victim.read_text() == "mine"
    assert not isinstance(answer, Ran)
    reader.ours.shutdown(socket.SHUT_RDWR)
    await asyncio.gather(serving, running)


async def test_a_reader_reads_no_link_either(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("not its own")
    (tmp_path / "a.stdout").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic links"):
        outputs.read(tmp_path / "a")


async def test_the_clock_of_requests_stands_while_a_build_waits(reader: Reader) -> None:
    async with reader.builds._slots.held("team"), reader.builds._slots.held("other"):
        async with reader.builds._slots.held("third"):
            serving = await reader.serve()
            errand, running = await asking(reader)
            task = asyncio.create_task(errand.build(reader.work("a"), "."))
            while not reader.clock.stands:
                await asyncio.sleep(0)
        while reader.clock.stands:
            await asyncio.sleep(0)
        assert (await task).status == 0
    reader.ours.shutdown(socket.SHUT_RDWR)
    await asyncio.gather(serving, running)


TAKEN_OVER = """
import asyncio, sys
from setpoint.fences import launcher
from setpoint.worker.reader import main
async def attack(calls, errands, reader):
    errands.send(DATA)
    await asyncio.Event().wait()
main.serve = attack
launcher.main(int(sys.argv[1]), int(sys.argv[2]), main.become)
"""


async def test_a_reader_that_breaks_the_protocol_of_errands_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (program := tmp_path / "taken_over.py").write_text(TAKEN_OVER.replace("DATA", repr(b"\xff" * 64)))
    monkeypatch.setattr(readers, "LAUNCHER", ("-P", "-s", str(program)))
    repo = Repo(tmp_path / "app.git")
    repo.commit({"a.yaml": "x"})
    async with Brokered(tmp_path / "cache") as worker:
        place = Place("team", f"file://{repo.path}", Login(), False, 60.0)
        found = await asyncio.wait_for(worker.check(Check(place, GitRef(branch="main"))), 60)
    assert isinstance(found, Failed)
    assert found.reason is Reason.RenderCrashed
