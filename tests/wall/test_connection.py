"""What one side does when the other is slow, dies, is somebody else, or breaks the protocol: real sockets in one process."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.wall.conftest import HELLO, build
from tests.wall.worker import WELCOME, Work, made

from setpoint.link import sockets
from setpoint.link.caller import OPEN, Caller
from setpoint.link.channel import receive_message
from setpoint.link.client import Client
from setpoint.link.listener import Listener
from setpoint.link.relay import forward
from setpoint.link.server import Server, greeting, typed
from setpoint.link.stream import BUFFERED, Stream
from setpoint.link.turns import Turns
from setpoint.wall import messages as m
from setpoint.wall.codec import number
from setpoint.wall.errors import ProtocolError, WorkerGone
from setpoint.wall.frames import BODY, CANCEL, CREDIT, ENDED, FAULT, HEADER, MAX_BODY, Frame, Parser, pack
from setpoint.wall.kinds import NUMBERS
from setpoint.wall.window import WINDOW

SECRET = "hunter2"
BUILT = number(m.Built("", "", ()))
BUILD = NUMBERS[m.Build]


class Raw:
    """The far end of a connection, which sends and reads what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._parser = Parser(dict.fromkeys(range(128), 2**22))
        self._frames: list[Frame] = []

    def send(self, kind: int, call: int, body: Any = b"", *, more: bool = False) -> None:
        raw = body if isinstance(body, bytes) else orjson.dumps(body)
        self.writer.write(pack(Frame(kind, call, raw, more)))

    async def next(self) -> Frame | None:
        while not self._frames:
            if not (data := await self.reader.read(2**16)):
                return None
            self._frames += self._parser.feed(data)
        return self._frames.pop(0)

    async def ended(self) -> None:
        while await self.next() is not None:
            pass


@asynccontextmanager
async def raw(connected: socket.socket) -> AsyncIterator[Raw]:
    connected.setblocking(False)
    made_of = await asyncio.open_unix_connection(sock=connected)
    try:
        yield Raw(*made_of)
    finally:
        made_of[1].transport.abort()


@asynccontextmanager
async def background(running: Awaitable[None]) -> AsyncIterator[asyncio.Future[None]]:
    task = asyncio.ensure_future(running)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def served(work: Work) -> AsyncIterator[tuple[Raw, Server, Stream]]:
    """A worker, and somebody who dialled it and said hello."""
    ours, theirs = sockets.pair()
    stream = await Stream.over(theirs)
    server = Server(stream, typed(work.handlers, work.turns))
    async with background(server.run()), raw(ours) as far:
        far.send(NUMBERS[m.Hello], 1, HELLO)
        answer = await far.next()
        assert answer is not None
        assert orjson.loads(answer.body)["cache"] == "cache-1"
        yield far, server, stream


@asynccontextmanager
async def calling(notice: Callable[[Any], None] = lambda _: None) -> AsyncIterator[tuple[Caller, Raw, Any]]:
    """An operator, and a worker that answers what it likes."""
    ours, theirs = sockets.pair()
    stream = await Stream.over(ours)
    caller = Caller(stream, Turns(), notice)
    async with background(caller.run()) as running, raw(theirs) as far:
        yield caller, far, running
    await stream.closed()


async def turns(count: int = 50) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# --- who is at the other end


async def test_only_the_user_that_must_be_there_is_talked_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = os.umask(0o022)
    os.umask(before)
    (tmp_path / sockets.NAME).write_text("left there by an earlier worker")
    listening = sockets.listen(tmp_path)
    assert stat.S_IMODE((tmp_path / sockets.NAME).stat().st_mode) == 0o660
    assert os.umask(before) == before
    work, me = Work(), os.getuid()
    with pytest.raises(sockets.WrongPeer, match=f"is uid {me}, and uid {me + 1} must be"):
        await sockets.connect(tmp_path, me + 1)
    async with background(Listener(listening, me, work.serve).run()):
        client = Client(partial(sockets.connect, tmp_path, me), HELLO, Turns())
        client.start()
        await client.ready()
        await refused_stranger(tmp_path, caplog)
        # And the one that is there was not disturbed.
        assert await client.call(build(objects=1)) == m.Built("0" * 40, "set", made(1, 0))
        await client.close()
    with pytest.raises(OSError, match="refused"):
        await sockets.connect(tmp_path, me)
    refusing = sockets.listen(tmp_path)
    async with background(Listener(refusing, me + 1, work.serve).run()):
        with pytest.raises(WorkerGone):
            await _hello(await sockets.connect(tmp_path, me))
    assert sockets.user_of(65532, same_user=False) == 65532
    assert sockets.user_of(65532, same_user=True) == me


async def refused_stranger(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Connect as another user, where this one may become another, and be shown the door."""
    if os.getuid() != 0:
        return
    folder.chmod(0o755)
    for parent in list(folder.parents)[:3]:
        parent.chmod(parent.stat().st_mode | 0o011)
    (folder / sockets.NAME).chmod(0o666)  # the check must hold where the mode does not
    dial = (
        "import os, socket, sys; os.chdir(sys.argv[1]); os.setgid(65533); os.setuid(65533)\n"
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[2]); print(s.recv(1))"
    )
    command = [sys.executable, "-c", dial, str(folder), sockets.NAME]
    with caplog.at_level(logging.WARNING):
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        told, _ = await process.communicate()
        assert told == b"b''\n"
    assert [record.what for record in caplog.records if hasattr(record, "what")] == [
        "at the other end of the socket is uid 65533, and uid 0 must be"
    ]


async def _hello(connected: socket.socket) -> Any:
    stream = await Stream.over(connected)
    caller = Caller(stream, Turns())
    async with background(caller.run()):
        try:
            return await caller.call(HELLO)
        finally:
            await stream.closed()


async def test_who_is_told_and_fails_does_not_keep_the_operator_from_dialling(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[m.Welcome] = []

    def ready(welcome: m.Welcome) -> None:
        told.append(welcome)
        if len(told) == 1:
            raise ZeroDivisionError

    async with background(Listener(sockets.listen(tmp_path), os.getuid(), Work().serve).run()):
        client = Client(partial(sockets.connect, tmp_path, os.getuid()), HELLO, Turns(), ready)
        client.start()
        while len(told) < 2:
            await asyncio.sleep(0)
        assert (await client.call(build(objects=1))).objects == made(1, 0)
        await client.close()
    assert "the connection to the worker failed unexpectedly; dialling again" in caplog.messages


async def test_a_new_connection_ends_the_old_one(tmp_path: Path) -> None:
    work = Work()
    listening = sockets.listen(tmp_path)
    async with background(Listener(listening, os.getuid(), work.serve).run()):
        stream = await Stream.over(await sockets.connect(tmp_path, os.getuid()))
        caller = Caller(stream, Turns())
        async with background(caller.run()) as running:
            await caller.call(HELLO)
            hanging = asyncio.create_task(caller.call(build(hang=True)))
            while not work.counts["begun"]:
                await asyncio.sleep(0)
            assert await _hello(await sockets.connect(tmp_path, os.getuid())) == WELCOME
            with pytest.raises(WorkerGone):
                await hanging
            await running
            assert work.counts["cancelled"] == 1
        await stream.closed()


# --- who is slow


async def test_who_does_not_read_costs_little_memory() -> None:
    work = Work()
    async with served(work) as (far, _, stream):
        for call in range(2, 34):
            far.send(BUILD, call, build(objects=200, size=5_000))
        while work.counts["begun"] < 32 or not stream.unsent:
            await asyncio.sleep(0)
        await turns(500)
        assert 0 < stream.unsent <= BUFFERED + MAX_BODY + HEADER.size
        # Once it reads, it gets as much of each as the window has room for, and no more before it says that it used that.
        sizes: dict[int, int] = {}
        while len(sizes) < 32 or min(sizes.values()) < WINDOW - MAX_BODY:
            frame = await far.next()
            assert frame is not None
            if frame.kind == BODY:
                sizes[frame.call] = sizes.get(frame.call, 0) + len(frame.body)
        assert max(sizes.values()) <= WINDOW


async def test_who_cancels_again_and_again_and_does_not_read_is_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Each call that is cancelled is told its end, and no place is taken by it any more."""
    monkeypatch.setattr("setpoint.link.stream.UNREAD", 10_000)
    async with served(Work()) as (far, _, stream):
        far.writer.transport.pause_reading()  # type: ignore[attr-defined]
        most = 0
        for call in range(2, 6_000):
            far.send(BUILD, call, build(hang=True))
            far.send(CANCEL, call)
            if call % 100 == 0:
                await turns()
                most = max(most, stream.unsent)
                if stream._closed:
                    break
        assert most <= 10_000 + 100 * HEADER.size
        assert stream._closed
        assert "does not read" in caplog.text


async def test_one_slow_call_holds_up_no_other() -> None:
    work = Work()
    ours, theirs = sockets.pair()
    stream = await Stream.over(ours)
    caller = Caller(stream, Turns())
    async with background(caller.run()), background(work.serve(await Stream.over(theirs))):
        await caller.call(HELLO)
        slow = await caller.open(BUILD)
        await slow.send(BUILD, orjson.dumps(build(objects=4_000, size=500)), more=False)
        for _ in range(5):
            assert len((await caller.call(build(objects=500))).objects) == 500
        held = [len(frame.body) for frame in slow._inbox]
        assert WINDOW - MAX_BODY < sum(held) < WINDOW + MAX_BODY
        frame, count = await slow.receive(), 0
        while frame.more:
            frame = await slow.receive()
            count += len(orjson.loads(frame.body)["objects"])
        assert count == 4_000
        caller.close(slow)
        large = build(values=["x" * 1_000_000] * 2, objects=1)  # a request of two frames
        assert len((await caller.call(large)).objects) == 1
        with pytest.raises(ProtocolError, match=r"Build\.look is larger than"):
            await caller.call(build(values=["x" * 1_000_000] * 3))
    await stream.closed()


# --- who breaks the protocol


@pytest.mark.parametrize(
    ("frames", "what"),
    [
        ([(BUILT, 2, {})], "a frame of kind 39, which this side does not take"),
        ([(BODY, 9, {})], "a frame of kind 1 for a call that is not open"),
        ([(CANCEL, 9, b"")], "a frame of kind 3 for a call that is not open"),
        ([(BUILD, 1, {})], "a request with the number of another call"),
        ([(BUILD, 2, build(hang=True)), (BODY, 2, {})], "a frame of a request that was complete"),
        ([(BUILD, 2, build(hang=True)), (BUILD, 2, {})], "a request with the number of another call"),
        ([(BUILD, 2, build(hang=True)), (CREDIT, 2, 5)], "a credit for more than was sent"),
        ([(BUILD, 2, build(hang=True)), (CREDIT, 2, b"x")], "a credit that is no number"),
        ([(BUILD, 2, b"x" * 70_000)], "a frame of kind 20 with 70000 bytes; the limit is 65536"),
        ([(BUILD, call, build(hang=True)) for call in range(2, OPEN + 3)], f"more than {OPEN} calls at once"),
    ],
)
async def test_who_breaks_the_frames_is_left(
    frames: list[tuple[int, int, Any]], what: str, caplog: pytest.LogCaptureFixture
) -> None:
    work = Work()
    async with served(work) as (far, _, _):
        for frame in frames:
            far.send(*frame)
        await far.ended()
    assert [record.what for record in caplog.records] == [what]  # type: ignore[attr-defined]
    assert work.counts["begun"] == work.counts["cancelled"]


async def test_a_request_comes_after_hello_of_this_version(caplog: pytest.LogCaptureFixture) -> None:
    work = Work()
    for kind, body in ((BUILD, build(objects=1)), (NUMBERS[m.Hello], m.Hello(2, "test"))):
        ours, theirs = sockets.pair()
        async with background(work.serve(await Stream.over(theirs))), raw(ours) as far:
            far.send(kind, 1, body)
            if kind == BUILD:
                await far.ended()
            else:
                notice, answer = await far.next(), await far.next()
                assert notice is not None
                assert answer == Frame(FAULT, 1)
    assert [record.what for record in caplog.records] == [  # type: ignore[attr-defined]
        "a request before the first message",
        "this is version 1 of the protocol, not 2",
    ]


async def test_what_is_wrong_in_a_request_ends_that_call_alone(caplog: pytest.LogCaptureFixture) -> None:
    work = Work()
    async with served(work) as (far, _, _):
        far.send(BUILD, 2, {SECRET: 1}, more=True)
        assert await far.next() == Frame(FAULT, 2)
        far.send(BODY, 2, b"the rest of it")
        far.send(CANCEL, 2)
        far.send(BUILD, 3, build(objects=1))
        [answer] = await far_frames(far, 1)
        assert (answer.kind, answer.call) == (BUILT, 3)
    assert "Build has a field that Build does not have" in str([vars(each) for each in caplog.records])
    assert SECRET not in str([vars(each) for each in caplog.records])


@pytest.mark.parametrize(
    ("frames", "what"),
    [
        ([(BUILT, 2, b"{}")], "a frame of kind 39 for a call that is not open"),
        ([(ENDED, 7, b"")], "a frame of kind 4 for a call that is not open"),
        (
            [(NUMBERS[m.Checked], 1, b"{}")],
            "a frame of kind 35, which is no part of an answer to that request",
        ),
        ([(BODY, 1, b"{}")], "a frame of kind 1, which is no part of an answer to that request"),
        ([(BUILD, 1, b"{}")], "a frame of kind 20, which this side does not take"),
        ([(CREDIT, 1, b"1")], "a credit for more than was sent"),
        ([(NUMBERS[m.Stats], 1, b"{}")], "a notice that belongs to a call"),
        ([(NUMBERS[m.Stats], 0, b"{}")], "Stats.memory is missing"),
    ],
)
async def test_a_worker_that_breaks_the_frames_is_left(
    frames: list[tuple[int, int, bytes]], what: str
) -> None:
    async with calling() as (caller, far, running):
        call = asyncio.create_task(caller.call(build()))
        await far.next()
        for frame in frames:
            far.send(*frame)
        with pytest.raises(WorkerGone):
            await call
        with pytest.raises(ProtocolError, match=what):
            await running
        with pytest.raises(WorkerGone):
            await caller.call(build())
        await far.ended()


async def test_more_than_the_window_is_not_taken() -> None:
    async with calling() as (caller, far, running):
        channel = await caller.open(BUILD)
        await channel.send(BUILD, b"{}", more=False)
        await far.next()
        far.send(BUILT, 1, b"{}", more=True)
        for _ in range(3):
            far.send(BODY, 1, b" " * MAX_BODY, more=True)
        with pytest.raises(ProtocolError, match="more than 524288 bytes of one call"):
            await running
        caller.close(channel)


async def test_what_is_wrong_in_an_answer_ends_that_call_alone(caplog: pytest.LogCaptureFixture) -> None:
    notices: list[m.Stats] = []
    async with calling(notices.append) as (caller, far, running):
        first, second, third = (asyncio.create_task(caller.call(build(n=n))) for n in range(3))
        for _ in range(3):
            await far.next()
        far.send(BUILT, 1, {"digest": [SECRET]}, more=True)
        with pytest.raises(ProtocolError, match=r"Built\.digest is no text"):
            await first
        assert await far.next() == Frame(CANCEL, 1)
        # What still comes is thrown away, and room is made for more of it.
        for _ in range(20):
            far.send(BODY, 1, b" " * MAX_BODY, more=True)
            assert await far.next() == Frame(CREDIT, 1, b"%d" % (MAX_BODY + 64))
        far.send(ENDED, 1)
        far.send(FAULT, 2)
        with pytest.raises(ProtocolError, match="the other side refused the call; its log says why"):
            await second
        far.send(NUMBERS[m.Stats], 0, m.Stats({}, {}, 1, 2.5))
        far.send(BUILT, 3, m.Built("d", "", ()))
        assert await third == m.Built("d", "", ())
        assert notices == [m.Stats({}, {}, 1, 2.5)]
        assert not running.done()
    assert SECRET not in caplog.text


async def test_calls_that_nobody_ends_keep_their_place() -> None:
    async with calling() as (caller, far, _):
        tasks = [asyncio.create_task(caller.call(build())) for _ in range(OPEN + 1)]
        await far_frames(far, OPEN)
        for task in tasks[:OPEN]:
            task.cancel()
        assert {frame.kind for frame in await far_frames(far, OPEN)} == {CANCEL}
        await turns()
        assert not tasks[OPEN].done()
        far.send(ENDED, 1)
        [frame] = await far_frames(far, 1)
        assert (frame.kind, frame.call) == (BUILD, OPEN + 1)
        far.send(ENDED, OPEN + 1)
        assert await tasks[OPEN] is None
        await asyncio.gather(*tasks, return_exceptions=True)


async def far_frames(far: Raw, count: int) -> list[Frame]:
    frames = [await far.next() for _ in range(count)]
    return [frame for frame in frames if frame is not None]


# --- who passes calls on


async def test_a_broker_passes_answers_on_unread() -> None:
    """Operator - broker - reader: with windows from end to end, and cancelling through both."""
    work = Work()
    up, upper = sockets.pair()
    down, lower = sockets.pair()
    reader = Caller(await Stream.over(down), Turns())
    operator_stream = await Stream.over(up)
    operator = Caller(operator_stream, Turns())

    async def handle(channel: Any, head: Frame) -> None:
        if head.kind == NUMBERS[m.Hello]:
            await typed({m.Hello: greeting(WELCOME)}, work.turns)(channel, head)
        else:
            request = await receive_message(channel, head, work.turns)
            await forward(channel, request, reader, work.turns)

    async with (
        background(work.serve(await Stream.over(lower))) as child,
        background(reader.run()),
        background(Server(await Stream.over(upper), handle).run()),
        background(operator.run()),
    ):
        await reader.call(HELLO)
        await operator.call(HELLO)
        large = build(objects=3_000, size=300)
        many = [operator.call(build(objects=n)) for n in range(30)]
        answers = await asyncio.gather(*many, *(operator.call(large) for _ in range(2)))
        assert [len(answer.objects) for answer in answers] == [*range(30), 3_000, 3_000]
        long = tuple(f"{n:032}" for n in range(20_000))
        compare = m.Compare("mirror", "a", "b", submodules=False, read_sets=long)
        assert await operator.call(compare) == m.Compared(long)
        assert await operator.call(m.Drop("a", long, ())) is None
        with pytest.raises(ProtocolError, match="the other side refused the call"):
            await operator.call(m.Places(large.look, ""))
        hanging = asyncio.create_task(operator.call(build(hang=True)))
        begun = work.counts["begun"]
        while work.counts["begun"] == begun:
            await asyncio.sleep(0)
        hanging.cancel()
        while not work.counts["cancelled"]:
            await asyncio.sleep(0)
        hanging = asyncio.create_task(operator.call(build(hang=True)))
        await turns()
        child.cancel()
        assert await hanging is None  # whoever holds the broker says what the death of a child means
    await operator_stream.closed()
    await reader._stream.closed()


async def test_a_request_that_cannot_be_passed_on_waits_for_no_answer() -> None:
    async with calling() as (caller, far, running):
        large = build(values=["x" * 1_000_000] * 3)
        nobody: Any = None
        with pytest.raises(ProtocolError, match=r"Build\.look is larger than"):
            await forward(nobody, large, caller, Turns())
        far.writer.transport.abort()
        await running
        for _ in range(OPEN + 1):  # nor does it keep a place
            with pytest.raises(WorkerGone):
                await forward(nobody, build(), caller, Turns())


@pytest.mark.parametrize(
    ("last", "error"),
    [
        (Frame(ENDED, 1), WorkerGone),
        (Frame(FAULT, 1), ProtocolError),
        (Frame(NUMBERS[m.Build], 1), WorkerGone),
    ],
    ids=["ends", "refuses", "breaks the protocol"],
)
async def test_an_answer_that_ends_in_the_middle_is_none(last: Frame, error: type[Exception]) -> None:
    """The operator has a part of it by then, and must not take that for all."""
    up, upper = sockets.pair()
    down, lower = sockets.pair()
    shared = Turns()
    reader, operator = Caller(await Stream.over(down), shared), Caller(await Stream.over(up), shared)

    async def handle(channel: Any, head: Frame) -> None:
        await forward(channel, await receive_message(channel, head, shared), reader, shared)

    server = Server(await Stream.over(upper), handle, introduced=False)
    async with (
        background(reader.run()),
        background(server.run()),
        background(operator.run()),
        raw(lower) as far,
    ):
        asking = asyncio.create_task(operator.call(build()))
        [request] = await far_frames(far, 1)
        assert (request.kind, request.call) == (BUILD, 1)
        far.send(BUILT, 1, m.Built("d", "", made(1, 0)), more=True)
        while not next(iter(operator._calls.values()))[0].begun:
            await asyncio.sleep(0)
        far.send(last.kind, last.call)
        with pytest.raises(error):
            await asking
    for each in (operator, reader):
        await each._stream.closed()
