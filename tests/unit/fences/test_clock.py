"""Limits of time stand while a child waits for its turn, with a clock that jumps."""

from __future__ import annotations

import asyncio

import pytest
from tests.kit.virtualtime import run

from setpoint.fences.clock import Clock


async def late(clock: Clock, seconds: float, most: float = 1000) -> float:
    """Return when a limit ends what never does."""
    with pytest.raises(TimeoutError):
        async with clock.limit(seconds, most):
            await asyncio.Event().wait()
    return asyncio.get_running_loop().time()


def test_without_waits_a_limit_is_one_of_time() -> None:
    assert run(late(Clock(), 10)) == pytest.approx(10)


def test_what_waits_for_its_turn_takes_no_time() -> None:
    async def scene() -> float:
        clock = Clock()
        task = asyncio.create_task(late(clock, 10))
        await asyncio.sleep(4)
        with clock.waiting():
            await asyncio.sleep(100)
        return await task

    assert run(scene()) == pytest.approx(110)


def test_a_turn_counts_whatever_else_waits() -> None:
    """Else who asks for many things at once would always wait for one."""

    async def scene() -> float:
        clock = Clock()
        with clock.waiting():
            task = asyncio.create_task(late(clock, 10))
            await asyncio.sleep(50)
            with clock.turn():
                return await task

    assert run(scene()) == pytest.approx(60)


def test_no_wait_is_for_ever() -> None:
    async def scene() -> float:
        clock = Clock()
        with clock.waiting():
            return await late(clock, 10, most=300)

    assert run(scene()) == pytest.approx(300)


def test_one_who_comes_later_has_all_of_its_time() -> None:
    async def scene() -> list[float]:
        clock = Clock()
        first = asyncio.create_task(late(clock, 10))
        await asyncio.sleep(5)
        second = asyncio.create_task(late(clock, 10))
        await asyncio.sleep(1)
        with clock.waiting():
            await asyncio.sleep(20)
        return [await first, await second]

    assert run(scene()) == [pytest.approx(35), pytest.approx(40)]


def test_many_that_wait_for_each_other_within_the_child_have_time_for_it() -> None:
    """24 builds of 25 s, one at a time, of a child with 300 s for each request."""

    async def scene() -> float:
        clock, within = Clock(), asyncio.Lock()

        async def build() -> None:
            async with clock.limit(300, 1800), within:
                with clock.waiting():
                    await asyncio.sleep(0)
                with clock.turn():
                    await asyncio.sleep(25)

        await asyncio.gather(*(build() for _ in range(24)))
        return asyncio.get_running_loop().time()

    assert run(scene()) == pytest.approx(600)


def test_one_of_many_that_stands_still_ends_by_its_share() -> None:
    async def scene() -> float:
        clock = Clock()

        async def quick() -> None:
            async with clock.limit(300, 1800):
                await asyncio.sleep(30)

        stuck = asyncio.create_task(late(clock, 300, 1800))
        await asyncio.gather(*(quick() for _ in range(9)))
        return await stuck

    assert run(scene()) == pytest.approx(30 + 300 - 3)


def test_what_ends_in_time_has_no_limit_any_more() -> None:
    async def scene() -> int:
        clock = Clock()
        async with clock.limit(10, 20):
            await asyncio.sleep(9)
        with clock.waiting():
            await asyncio.sleep(100)
        return 1

    assert run(scene()) == 1
