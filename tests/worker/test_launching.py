"""A launcher of readers takes requests of any length, and outlives what is none."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from setpoint.api.budgets import DEFAULTS
from setpoint.fences import launcher
from setpoint.fences.landlock import Access, Grant
from setpoint.fences.launching import Connection, LaunchError, Started
from setpoint.fences.policy import Policy
from setpoint.link.caller import Caller
from setpoint.link.sockets import pair
from setpoint.link.stream import Stream
from setpoint.link.turns import Turns
from setpoint.wall.inside import Told
from setpoint.worker.readers import LAUNCHER

pytestmark = pytest.mark.asyncio


class World:
    """A launcher, and sockets for its readers."""

    def __init__(self, folder: Path, connection: Connection, opened: ExitStack) -> None:
        self.folder, self.connection, self._opened = folder, connection, opened

    async def start(self, folders: Sequence[Path] = (), **more: Any) -> tuple[Started, socket.socket]:
        """Start a reader, and return it with the socket that asks it."""
        ours, theirs = pair()
        errands, other = pair()
        for each in (ours, theirs, errands, other):
            self._opened.callback(each.close)
        grants = [Grant(str(self.folder), Access.LINK), *(Grant(str(each), Access.READ) for each in folders)]
        reader = {
            "name": "x",
            "mirrors": str(self.folder),
            "scratch": str(self.folder),
            "budgets": asdict(DEFAULTS),
            "limits": (60, 2**29, 2**25),
            "concurrency": 3,
        }
        request = {"reader": reader, "memory": 2**29, **Policy().wire(grants), **more}
        started = await self.connection.start(request, (theirs.fileno(), other.fileno()))
        theirs.close()
        other.close()
        return started, ours

    def descriptors(self) -> int:
        """Return how many the launcher has open: those of its last request may still be among them, which are two or three."""
        return len(os.listdir(f"/proc/{self.connection.pid}/fd"))


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> Any:
    connection = Connection(asyncio.get_running_loop(), LAUNCHER, {"LANG": "C.UTF-8"}, "readers")
    with ExitStack() as opened:
        opened.callback(connection.close)
        yield World(tmp_path, connection, opened)


@pytest.fixture
def many(tmp_path: Path) -> list[Path]:
    folders = [tmp_path / f"{n:0200x}" for n in range(1000)]
    for each in folders:
        each.mkdir()
    return folders


async def answers(ours: socket.socket) -> bool:
    """Return whether a reader answers what it is asked."""
    caller = Caller(await Stream.over(ours), Turns())
    running = asyncio.create_task(caller.run())
    try:
        return await caller.call(Told("team/x", "0" * 40, ())) is None
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_reader_of_a_thousand_folders(world: World, many: list[Path]) -> None:
    first, asked = await world.start()
    before = world.descriptors()
    _, ours = await world.start(many)
    assert await answers(ours)
    assert await answers(asked)
    assert not first.ended.done()
    assert world.descriptors() <= before + 3


async def test_a_reader_that_fails_at_once_was_not_out_of_memory(world: World) -> None:
    budgets = {"nobody knows it": 1}
    reader = {"name": "x", "mirrors": "/", "scratch": "/", "budgets": budgets, "limits": (1, 1, 1), "concurrency": 1}  # fmt: skip
    started, _ = await world.start(reader=reader)
    assert (await started.ended).status == 1


async def test_what_is_too_large_fails_alone(world: World) -> None:
    first, asked = await world.start()
    with pytest.raises(LaunchError, match="is larger than 4,194,304 bytes"):
        await world.start(more="x" * launcher.LONGEST)
    assert await answers(asked)
    assert not first.ended.done()


@pytest.mark.parametrize(
    "packet",
    [b"x" * (launcher.PACKET + 1), b"{", b"[]", b"{}", b'{"id": "1"}', b"[" * 60_000, json.dumps({"kill": []}).encode()],
    ids=["long", "half", "list", "empty", "id", "deep", "kill"],
)  # fmt: skip
async def test_what_is_no_request_is_ignored_and_its_files_are_closed(world: World, packet: bytes) -> None:
    first, asked = await world.start()
    before = world.descriptors()
    for descriptors in ([0], [0] * 20) * 5:
        await world.connection._send(packet, descriptors)
    _, ours = await world.start()
    assert await answers(ours)
    assert await answers(asked)
    assert not first.ended.done()
    assert world.descriptors() <= before + 3


async def test_a_file_that_holds_no_request_is_refused(world: World, tmp_path: Path) -> None:
    first, asked = await world.start()
    (tmp_path / "file").write_text("[]")
    with (tmp_path / "file").open() as file:
        for size in (2, 10**9, -1):
            started = await world.connection.start({"rest": size}, [file.fileno()])
            assert (await started.ended).status == launcher.CANNOT_START
    assert await answers(asked)
    assert not first.ended.done()
