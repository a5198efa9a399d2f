"""A hold of the event loop is told, whoever holds it and whenever; a loop at rest is not woken."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import closing

import pytest
import uvloop

from setpoint.runtime.loop_holds import WINDOW, HoldMeter, Longest

LOOPS = (asyncio.SelectorEventLoop, uvloop.Loop)


@pytest.mark.parametrize("make", LOOPS)
@pytest.mark.parametrize("busy_before", [0, 3], ids=["at once", "after work"])
def test_a_hold_of_200_ms_is_told(make: Callable[[], asyncio.AbstractEventLoop], busy_before: int) -> None:
    async def story(meter: HoldMeter) -> None:
        for _ in range(busy_before):
            await asyncio.sleep(0.01)
        asyncio.get_running_loop().call_soon(time.sleep, 0.2)
        await asyncio.sleep(0.01)

    with asyncio.Runner(loop_factory=make) as runner, closing(HoldMeter.of(runner.get_loop())) as meter:
        runner.run(story(meter))
        assert meter.ever >= 0.19
        assert meter.ever_busy < 0.1, "it slept, and had no CPU"
        assert meter.recent() == meter.ever


@pytest.mark.parametrize("make", LOOPS)
def test_a_hold_by_work_is_told_as_such(make: Callable[[], asyncio.AbstractEventLoop]) -> None:
    def work() -> None:
        began = time.process_time()
        while time.process_time() - began < 0.1:
            pass

    async def story() -> None:
        asyncio.get_running_loop().call_soon(work)
        await asyncio.sleep(0.01)

    with asyncio.Runner(loop_factory=make) as runner, closing(HoldMeter.of(runner.get_loop())) as meter:
        runner.run(story())
        assert meter.ever >= meter.ever_busy >= 0.09
        assert meter.recent_busy() == meter.ever_busy


@pytest.mark.parametrize("make", LOOPS)
def test_a_loop_at_rest_is_not_woken(make: Callable[[], asyncio.AbstractEventLoop]) -> None:
    looks: list[float] = []

    class Counted(HoldMeter):
        def _look(self, due: float, spent: float) -> None:
            looks.append(due)
            super()._look(due, spent)

    with asyncio.Runner(loop_factory=make) as runner, closing(Counted.of(runner.get_loop())) as meter:
        loop = runner.get_loop()
        # What ends the rest is a timer alone, which asks for no step.
        loop.call_later(0.2, loop.stop)
        loop.run_forever()
        assert len(looks) <= 1  # that of what the runner itself did
        assert meter.ever < 0.1
        for _ in range(3):
            runner.run(asyncio.sleep(0.02))
        assert looks
    assert "call_soon" not in vars(loop)


def test_the_longest_of_the_last_minute_and_of_all() -> None:
    longest = Longest()
    assert (longest.ever, longest.recent(0)) == (0, 0)
    for now, seconds in ((10, 0.3), (20, 0.1), (30, 0.2), (40, -0.004)):
        longest.tell(now, seconds)
    assert (longest.ever, longest.recent(40)) == (0.3, 0.3)
    assert longest.recent(11 + WINDOW) == 0.2
    assert longest.recent(31 + WINDOW) == 0
    assert longest.ever == 0.3


def test_what_is_kept_of_a_minute_is_bounded() -> None:
    longest = Longest()
    for number in range(12_000):
        longest.tell(number * 0.005, 0.05 - number * 1e-6)
    assert len(longest._recent) <= 51
