"""Operator and worker as two processes: calls, deaths, cancelling, many objects."""

from __future__ import annotations

import asyncio
import signal
import subprocess

import pytest
from tests.wall.conftest import HELLO, Operator, Process, build, child, operating, story
from tests.wall.worker import WELCOME, made

from setpoint.api.reasons import Reason
from setpoint.link.remote import Remote
from setpoint.wall import messages as m
from setpoint.wall.codec import encode
from setpoint.wall.errors import ProtocolError, WorkerGone
from setpoint.wall.protocol import Worker

PLACE = m.Place("a", "https://git.example/a", m.Login(), submodules=False, timeout=1.0)


@story
async def test_many_calls_are_answered_in_any_order(operator: Operator, worker: Process) -> None:
    assert operator.welcomes == [WELCOME]
    assert operator.stats == [m.Stats({"reader": 1}, {"reader": 1}, 0, 0.0)]
    hanging = [asyncio.create_task(operator.client.call(build(hang=True))) for _ in range(20)]
    await operator.counted("begun", 20)
    answers = await asyncio.gather(
        *(operator.client.call(build(objects=n % 50, size=n)) for n in range(300))  # more than may be open
    )
    assert answers == [m.Built("0" * 40, "set", made(n % 50, n)) for n in range(300)]

    # Cancelling frees the other side, and nothing of the calls is left on this one.
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)
    await operator.counted("cancelled", 20)

    remote = Remote(operator.client)
    worker_of: Worker = remote
    long = tuple(f"{n:032}" for n in range(10_000))
    assert await remote.compare(
        m.Compare("mirror", "a", "b", submodules=False, read_sets=long)
    ) == m.Compared(long)
    remote.drop(m.Drop("a", long, long))
    await operator.counted("dropped", 10_000)
    await remote.close()

    # What fails is an answer, and ends nothing else.
    failed = await worker_of.check(m.Check(PLACE, m.GitRef()))
    assert isinstance(failed, m.Failed)
    assert (failed.reason, failed.retry, len(failed.message)) == (Reason.GitFailed, True, 1025)
    assert await remote.check(m.Check(PLACE, m.GitRef(branch="bug"))) == m.Failed(
        Reason.InternalError, "the worker failed; its log says where"
    )
    with pytest.raises(ProtocolError, match="the other side refused the call"):
        await remote.places(m.Places(build().look, "d"))
    deep: object = 1
    for _ in range(70):
        deep = [deep]
    with pytest.raises(ProtocolError, match=r"Build\.look has more than 64 levels"):
        await operator.client.call(build(deep=deep))
    assert len(operator.welcomes) == 1


@story
async def test_a_worker_that_dies_ends_all_calls_and_comes_back(operator: Operator, worker: Process) -> None:
    calls = [asyncio.create_task(operator.client.call(build(hang=True))) for _ in range(50)]
    await operator.counted("begun", 50)
    large = [asyncio.create_task(operator.client.call(build(objects=50_000))) for _ in range(3)]
    worker.kill()
    ended = await asyncio.gather(*calls, *large, return_exceptions=True)
    assert {type(each) for each in ended} == {WorkerGone}
    with pytest.raises(WorkerGone):
        await operator.client.call(build(objects=1))
    worker.start()
    await operator.client.ready()
    assert await operator.client.call(build(objects=1)) == m.Built("0" * 40, "set", made(1, 0))
    assert operator.welcomes == [WELCOME, WELCOME]


@story
async def test_a_call_that_is_cancelled_at_any_point_disturbs_no_other(
    operator: Operator, worker: Process
) -> None:
    for turns in range(40):
        task = asyncio.create_task(operator.client.call(build(objects=1_000)))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    answers = await asyncio.gather(*(operator.client.call(build(objects=n)) for n in range(128)))
    assert [len(answer.objects) for answer in answers] == list(range(128))
    assert len(operator.welcomes) == 1


@story
async def test_ten_thousand_objects_leave_the_loop_a_turn_between_two_frames(
    operator: Operator, worker: Process
) -> None:
    turns, done = 0, asyncio.Event()

    async def count() -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            await asyncio.sleep(0)

    frames = len(list(encode(m.Built("0" * 40, "set", made(10_000, 200)))))
    before = operator.turns.count
    counting = asyncio.create_task(count())
    answers = await asyncio.gather(*(operator.client.call(build(objects=10_000, size=200)) for _ in range(2)))
    done.set()
    await counting
    assert all(len(answer.objects) == 10_000 for answer in answers)
    # Two for each request, one for each frame: no two frames were read in one turn, of different answers neither.
    assert frames > 10
    assert operator.turns.count - before == 2 * (2 + frames)
    assert turns >= 2 * frames


async def test_a_child_on_a_pair_of_sockets_is_started_anew_when_it_died() -> None:
    children: list[subprocess.Popen[bytes]] = []
    async with operating(lambda: child(children)) as operator:
        calls = [asyncio.create_task(operator.client.call(build(hang=True))) for _ in range(5)]
        await operator.counted("begun", 5)
        assert await operator.count("pid") == str(children[0].pid)
        children[0].kill()
        ended = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(each) for each in ended} == {WorkerGone}
        await operator.client.ready()
        assert await operator.count("pid") == str(children[1].pid)
    # Who has no operator any more ends by itself.
    assert [each.wait() for each in children] == [-signal.SIGKILL, 0]


def test_hello_is_of_this_version() -> None:
    assert HELLO.protocol == WELCOME.protocol == m.PROTOCOL
