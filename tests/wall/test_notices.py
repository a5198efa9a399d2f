"""What the worker tells of itself by itself, from its end of a real pair of sockets to the operator's metrics."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import orjson
import pytest
from prometheus_client import generate_latest
from tests.wall.worker import Work

from setpoint.api.hosts import HostRules
from setpoint.link import sockets
from setpoint.link.server import Server, typed
from setpoint.link.stream import Stream
from setpoint.manager.worker_connection import ConnectedWorker
from setpoint.runtime.metrics import Metrics
from setpoint.wall import messages as m
from setpoint.wall.errors import ProtocolError
from setpoint.wall.frames import Frame
from setpoint.wall.kinds import NUMBERS

DIED = "setpoint_worker_deaths_total"
DEATHS = "setpoint_worker_child_deaths_total"
WAIT = "setpoint_worker_longest_wait_seconds"


def memory(kind: str) -> str:
    return f'setpoint_worker_memory_bytes{{kind="{kind}"}}'


def processes(kind: str) -> str:
    return f'setpoint_worker_processes{{kind="{kind}"}}'


class Told:
    """An operator's metrics, and the worker's ends of the connections that it dialled."""

    def __init__(self) -> None:
        self.telemetry = Metrics()
        self.servers: list[Server] = []
        self.streams: list[Stream] = []
        self._running: set[asyncio.Task[None]] = set()

    async def dial(self) -> socket.socket:
        work = Work()
        ours, theirs = sockets.pair()
        stream = await Stream.over(theirs)
        self.streams.append(stream)
        self.servers.append(Server(stream, typed(work.handlers, work.turns)))
        self._running.add(asyncio.create_task(self.servers[-1].run()))
        return ours

    def shown(self, name: str) -> float | None:
        lines = generate_latest(self.telemetry.registry).decode().splitlines()
        found = [float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")]
        return found[0] if found else None

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not holds():
                await asyncio.sleep(0)

    async def close(self) -> None:
        for stream in self.streams:
            stream.close()
        await asyncio.gather(*self._running)


@asynccontextmanager
async def connected() -> AsyncIterator[Told]:
    told = Told()
    worker = ConnectedWorker(told.dial, HostRules(), told.telemetry)
    worker.start()
    try:
        await told.until(lambda: told.shown("setpoint_worker_up") == 1)
        yield told
    finally:
        await worker.close()
        await told.close()


async def test_what_the_worker_tells_is_in_the_metrics_until_it_is_gone() -> None:
    async with connected() as told:
        told.servers[0].tell(m.Stats({"reader": 700, "broker": 30}, {"reader": 2, "broker": 1}, 3, 2.5))
        await told.until(lambda: told.shown(DEATHS) == 3)
        names = (memory("reader"), memory("broker"), memory("renderer"), processes("reader"), WAIT)
        assert [told.shown(name) for name in names] == [700, 30, 0, 2, 2.5]
        told.servers[0].tell(m.Stats({"broker": 31}, {"broker": 1}, 4, 0.0))
        await told.until(lambda: told.shown(DEATHS) == 4)
        assert [told.shown(name) for name in names] == [0, 31, 0, 0, 0]

        told.streams[0].close()
        await told.until(lambda: told.shown(DIED) == 1)
        assert [told.shown(name) for name in names] == [0] * 5
        # The next one counts from the beginning.
        await told.until(lambda: len(told.servers) == 2)
        told.servers[1].tell(m.Stats({}, {}, 1, 0.0))
        await told.until(lambda: told.shown(DEATHS) == 5)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"memory": {"hunter2": 1}}, "Stats has a kind of process that is none"),
        ({"processes": {"reader": 1, "hunter2": 1}}, "Stats has a kind of process that is none"),
        ({"memory": {"reader": -1}}, "Stats has a figure that is none"),
        ({"deaths": -1}, "Stats has a figure that is none"),
        ({"longest_wait": -0.5}, "Stats has a figure that is none"),
        ({"deaths": 2**63}, "Stats.deaths is no integer of 64 bits"),
    ],
)
async def test_no_label_and_no_figure_is_made_of_what_a_worker_makes_up(
    fields: dict[str, object], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    body = {"memory": {}, "processes": {}, "deaths": 7, "longest_wait": 0.0, **fields}
    async with connected() as told:
        told.streams[0].post(Frame(NUMBERS[m.Stats], 0, orjson.dumps(body)))
        await told.until(lambda: told.shown(DIED) == 1)
        assert told.shown(DEATHS) == 0
        assert "hunter2" not in generate_latest(told.telemetry.registry).decode()
        # It is dialled again, and believed as soon as it tells what may be.
        await told.until(lambda: told.shown("setpoint_worker_up") == 1)
        [said] = [record for record in caplog.records if "broke the protocol" in record.message]
        assert vars(said)["what"] == words
        assert "hunter2" not in caplog.text
        told.servers[-1].tell(m.Stats({}, {}, 1, 0.0))
        await told.until(lambda: told.shown(DEATHS) == 1)


async def test_a_worker_does_not_send_such_figures() -> None:
    async with connected() as told:
        for stats in (
            m.Stats({"shell": 1}, {}, 0, 0.0),
            m.Stats({}, {}, 0, float("nan")),
            m.Stats({}, {}, 0, float("inf")),
        ):
            with pytest.raises(ProtocolError):
                told.servers[0].tell(stats)
        told.servers[0].tell(m.Stats({}, {}, 1, 0.0))
        await told.until(lambda: told.shown(DEATHS) == 1)
        assert told.shown(DIED) == 0


async def test_nothing_piles_up_for_an_operator_that_does_not_read() -> None:
    ours, theirs = sockets.pair()
    stream, work = await Stream.over(theirs), Work()
    server = Server(stream, typed(work.handlers, work.turns))
    with ours:
        for deaths in range(100_000):
            server.tell(m.Stats({}, {}, deaths, 0.0))
            if stream.unsent:
                break
        waiting = stream.unsent
        for _ in range(1_000):
            server.tell(m.Stats({}, {}, 0, 0.0))
        assert 0 < waiting == stream.unsent
    await stream.closed()
