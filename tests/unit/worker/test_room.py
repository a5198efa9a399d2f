"""When children are looked at, with a clock that jumps; what is seen of them is given."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from tests.kit.virtualtime import run
from tests.kit.watching import watched

from setpoint.fences.allowances import Allowance, Excess, Kind
from setpoint.fences.memory import Sample
from setpoint.worker.room import Watch

ALLOWANCE = Allowance(memory=100, threads=8, processor=30, seconds=60, folder=Path("/scratch"), scratch=1000)
SMALL = Sample(resident=10, tables=0, swapped=0, threads=1, processor=0)


class World:
    """Children as a test says they are, and how often each was looked at and counted."""

    def __init__(self, **groups: int) -> None:
        self.samples: dict[int, Sample] = {}
        self.files: dict[int, int] = {}
        self.looks, self.counts = Counter[int](), Counter[int]()
        self.killed: list[int] = []
        self.watch = Watch({(name,): limit for name, limit in groups.items()}, self._look, self._count)

    def add(self, pid: int, group: str = "", allowance: Allowance = ALLOWANCE) -> None:
        self.samples[pid] = SMALL
        self.watch.add(pid, allowance, lambda: self.killed.append(pid), group)

    def _look(self, pid: int) -> Sample | None:
        self.looks[pid] += 1
        return self.samples.get(pid)

    def _count(self, pid: int, _: Allowance) -> int:
        self.counts[pid] += 1
        return self.files.get(pid, 0)


def sized(memory: int) -> Sample:
    return Sample(memory - 2, 1, 1, 1, 0)


def test_who_works_is_looked_at_often_and_others_seldom() -> None:
    async def scene() -> None:
        world = World()
        world.add(1)
        world.add(2)
        await asyncio.sleep(10.1)
        assert world.looks == {1: 5, 2: 5}
        with world.watch.working(1):
            await asyncio.sleep(10.02)
        assert 195 <= world.looks[1] <= 206
        assert 9 <= world.looks[2] <= 11
        assert 10 <= world.counts[1] <= 16
        await asyncio.sleep(10)
        assert world.looks[1] <= 212

    run(scene())


def test_without_children_there_is_no_timer() -> None:
    async def scene() -> None:
        world = World()
        loop = asyncio.get_running_loop()
        world.add(1)
        world.watch.busy(1)
        await asyncio.sleep(0.5)
        world.watch.remove(1)
        assert world.watch._timer is None
        world.watch.busy(1)
        world.watch.idle(1)
        with world.watch.paused(1), world.watch.working(1):
            assert world.watch.why(1) is None
        assert world.watch._timer is None
        assert all(timer.cancelled() for timer in loop._scheduled)  # type: ignore[attr-defined]

    run(scene())


def test_who_takes_too_much_is_ended_once_and_it_is_known_why() -> None:
    async def scene() -> None:
        world = World()
        world.add(1)
        world.add(2)
        with world.watch.working(1):
            await asyncio.sleep(1)
            world.samples[1] = sized(101)
            await asyncio.sleep(1)
        assert world.killed == [1]
        assert world.watch.why(1) == Excess(Kind.MEMORY, 101, 100)
        assert world.watch.why(2) is None
        looks = world.looks[1]
        await asyncio.sleep(10)
        assert (world.killed, world.looks[1]) == ([1], looks)

    run(scene())


def test_who_is_at_nothing_is_ended_too() -> None:
    async def scene() -> None:
        world = World()
        world.add(1)
        world.add(2)
        world.add(3)
        await asyncio.sleep(3)
        world.samples[1] = sized(101)
        world.samples[2] = Sample(10, 0, 0, 1, processor=40)
        world.files[3] = 1001
        await asyncio.sleep(4)
        assert sorted(world.killed) == [1, 2, 3]
        kinds = [why.kind for pid in (1, 2, 3) if (why := world.watch.why(pid))]
        assert kinds == [Kind.MEMORY, Kind.PROCESSOR, Kind.SCRATCH]

    run(scene())


def test_waits_for_the_broker_do_not_count_as_time() -> None:
    async def scene() -> None:
        world = World()
        world.add(1)
        with world.watch.working(1):
            with world.watch.paused(1):
                await asyncio.sleep(600)
            await asyncio.sleep(59)
            assert world.killed == []
            await asyncio.sleep(2)
        assert world.killed == [1]
        why = world.watch.why(1)
        assert why
        assert (why.kind, why.limit) == (Kind.TIME, 60)
        assert 60 < why.figure < 60.2

    run(scene())


@pytest.mark.parametrize("removed", [False, True])
def test_a_group_has_a_limit_and_its_largest_goes(removed: bool) -> None:
    """The next one only if without the first they still take too much."""

    async def scene() -> None:
        world = World(git=150)
        for pid, size in ((1, 60), (2, 80), (3, 50)):
            world.add(pid, "git")
            world.samples[pid] = sized(size)
        world.add(4)
        world.samples[4] = sized(99)
        await asyncio.sleep(3)
        assert world.killed == [2]
        assert world.watch.why(2) == Excess(Kind.TOGETHER, 190, 150)
        if removed:
            world.watch.remove(2)
        await asyncio.sleep(10)
        assert world.killed == [2]
        world.samples[3] = sized(95)
        await asyncio.sleep(3)
        assert world.killed == [2, 3]

    run(scene())


def test_a_pid_that_comes_again_is_another_child() -> None:
    async def scene() -> None:
        world = World()
        world.add(1)
        world.samples[1] = sized(200)
        await asyncio.sleep(3)
        world.add(1)
        assert world.watch.why(1) is None
        await asyncio.sleep(3)
        assert world.killed == [1]

    run(scene())


def test_within_a_block_and_no_longer() -> None:
    async def scene() -> None:
        world = World()
        world.samples[1] = sized(200)
        with watched(world.watch, 1, ALLOWANCE, lambda: world.killed.append(1)) as child:
            await asyncio.sleep(3)
        assert world.killed == [1]
        assert child.excess == Excess(Kind.MEMORY, 200, 100)
        assert world.watch.why(1) is None
        looks = world.looks[1]
        await asyncio.sleep(5)
        assert world.looks[1] == looks

    run(scene())


def test_files_that_cannot_be_counted_end_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def count(pid: int, _: Allowance) -> int:
        raise OSError(5, "Input/output error")

    async def scene() -> None:
        killed: list[int] = []
        watch = Watch(None, lambda _: SMALL, count)
        with watched(watch, 1, ALLOWANCE, lambda: killed.append(1)):
            await asyncio.sleep(5)
        assert killed == []

    run(scene())
    assert "Input/output error" in caplog.text
