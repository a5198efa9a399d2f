"""Answers that come in together take a bounded amount of memory, and who sends too much ends nobody else's call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.wall.conftest import build
from tests.wall.test_connection import BUILT, Raw, background, raw

from setpoint.link import sockets
from setpoint.link.caller import Caller
from setpoint.link.channel import Channel
from setpoint.link.ledger import Ledger
from setpoint.link.server import typed
from setpoint.link.stream import Stream
from setpoint.link.turns import Turns
from setpoint.wall import inside as i
from setpoint.wall import messages as m
from setpoint.wall.codec import Assembly, encode
from setpoint.wall.errors import ProtocolError
from setpoint.wall.frames import BODY, CANCEL, CREDIT, Frame
from setpoint.wall.kinds import NUMBERS
from setpoint.wall.sizes import DEFAULT, Bounds

MANIFEST = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
VALUES = {**MANIFEST, "data": [{}] * 500_000}


@asynccontextmanager
async def calling(bounds: Bounds) -> AsyncIterator[tuple[Caller, Raw, Any]]:
    """An operator with these bounds, and a worker that answers what it likes."""
    ours, theirs = sockets.pair()
    stream = await Stream.over(ours)
    caller = Caller(stream, Turns(), bounds=bounds)
    async with background(caller.run()) as running, raw(theirs) as far:
        yield caller, far, running
    await stream.closed()


def built(*manifests: Any) -> m.Built:
    return m.Built("d", "r", tuple(m.Made("a.yaml", 0, 1, each) for each in manifests))


async def test_the_largest_answer_ends_where_all_together_take_too_much() -> None:
    part = {
        "objects": [{"where": "a", "index": 1, "line": 1, "manifest": {**MANIFEST, "data": [{}] * 5_000}}]
    }
    async with calling(Bounds(2**20, 2**20, 1_500_000)) as (caller, far, running):
        large, small = (asyncio.create_task(caller.call(build(n=n))) for n in range(2))
        for _ in range(2):
            await far.next()
        far.send(BUILT, 1, {"digest": "d", "read_set": "r", **part}, more=True)
        far.send(BODY, 1, part, more=True)
        far.send(BUILT, 2, {"digest": "d", "read_set": "r", **part}, more=True)
        far.send(BODY, 1, part, more=True)
        with pytest.raises(
            ProtocolError, match="the largest of those that together take more than 1500000 bytes"
        ):
            await large
        while (said := await far.next()) != Frame(CANCEL, 1):
            assert said is not None
            assert said.kind == CREDIT
        far.send(BODY, 2, part, more=False)
        assert len((await small).objects) == 2
        assert not running.done()


async def test_one_that_waits_in_the_middle_ends_for_another_that_grows() -> None:
    part = {
        "objects": [{"where": "a", "index": 1, "line": 1, "manifest": {**MANIFEST, "data": [{}] * 5_000}}]
    }
    async with calling(Bounds(2**20, 2**20, 1_800_000)) as (caller, far, _):
        stalled, honest = (asyncio.create_task(caller.call(build(n=n))) for n in range(2))
        for _ in range(2):
            await far.next()
        for kind in (BUILT, BODY, BODY):
            far.send(kind, 1, part, more=True)
        while caller._ledger.size < 1_300_000:
            await asyncio.sleep(0)
        far.send(BUILT, 2, {"digest": "d", "read_set": "r", **part}, more=True)
        far.send(BODY, 2, part, more=False)
        assert len((await honest).objects) == 2
        with pytest.raises(ProtocolError, match="the largest of those"):
            await stalled


def test_what_is_over_leaves_room() -> None:
    ledger, ended = Ledger(100), list[ProtocolError]()
    with ledger.part(ended.append) as first, ledger.part(ended.append) as second:
        first(60)
        second(30)
        second(20)
        assert len(ended) == 1
        assert ledger.size == 50
        with pytest.raises(ProtocolError):
            first(1)
        second(50)
        with pytest.raises(ProtocolError):
            second(1)
        assert len(ended) == 1, "who hears it by itself is not told"
        assert ledger.size == 0


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_an_answer_of_small_values_takes_no_more_memory_than_is_counted() -> None:
    pieces = [piece.body for piece in encode(built(*[VALUES] * 10))]
    counted, assembly, before = 0, Assembly(NUMBERS[m.Built]), resident()
    refused = ""
    for body in pieces:
        try:
            counted += assembly.add(body)
        except ProtocolError as error:
            refused = str(error)
            break
    assert refused == f"Built has more than {DEFAULT.values} values"
    assert resident() - before < 200 * 2**20, "it took 348 MiB, and 64 MiB of it would have taken 1.5 GiB"
    assert counted <= DEFAULT.memory


async def test_what_nobody_answers_is_not_read() -> None:
    """A reader that was taken over sends a large request where the broker only takes `Run`."""
    ours, theirs = sockets.pair()
    stream = await Stream.over(theirs)

    async def run(_: i.Run) -> m.Lost:
        return m.Lost()

    channel = Channel(stream)
    with pytest.raises(ProtocolError, match="nobody answers Drop here"):
        await asyncio.wait_for(
            typed({i.Run: run}, Turns())(channel, Frame(NUMBERS[m.Drop], 1, b"{}", more=True)), 10
        )
    ours.close()
    await stream.closed()
