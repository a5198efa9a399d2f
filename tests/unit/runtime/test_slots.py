"""Slots that namespaces share, in virtual time: who holds one when, and that none is lost."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kit.virtualtime import run

from setpoint.runtime.fairness import SLOW_SECONDS, Limits
from setpoint.runtime.slots import Slots


class World:
    """Tasks that hold slots, and when each got its own."""

    def __init__(self, limits: Limits) -> None:
        self.slots = Slots(limits, clock=asyncio.get_running_loop().time)
        self.got: list[tuple[float, str]] = []
        self.holding: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []

    def hold(self, namespace: str, seconds: float, count: int = 1) -> None:
        self.tasks += [asyncio.create_task(self._hold(namespace, seconds)) for _ in range(count)]

    async def _hold(self, namespace: str, seconds: float) -> None:
        async with self.slots.held(namespace):
            self.got.append((asyncio.get_running_loop().time(), namespace))
            self.holding.append(namespace)
            try:
                await asyncio.sleep(seconds)
            finally:
                self.holding.remove(namespace)

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def of(self, namespace: str) -> list[float]:
        return [at for at, name in self.got if name == namespace]


@pytest.mark.parametrize("hung", [4, 40])
def test_what_hangs_keeps_no_other_namespace_from_a_slot(hung: int) -> None:
    async def main() -> None:
        world = World(Limits(4))
        world.hold("a", 600.0, hung)
        await asyncio.sleep(0.5)
        world.hold("b", 1.0, 8)
        await asyncio.sleep(20)
        assert world.of("a") == [0.0] * 4
        assert world.of("b") == [0.5, 1.5, 2.5, 3.5, 4.5, SLOW_SECONDS, 5.5, 6.0]
        await world.end()

    run(main())


def test_where_each_holds_memory_one_slot_is_left_to_others() -> None:
    async def main() -> None:
        world = World(Limits(2, strict=True))
        world.hold("a", 600.0, 40)
        await asyncio.sleep(0)
        world.hold("b", 1.0, 3)
        await asyncio.sleep(10)
        assert world.of("a") == [0.0]
        assert world.of("b") == [0.0, 1.0, 2.0]
        await world.end()

    run(main())


def test_a_turn_that_is_withdrawn_ends_the_wait_without_a_slot() -> None:
    async def main() -> None:
        slots = Slots(Limits(1, strict=True))
        first, second = slots.ask("a"), slots.ask("b")
        assert (first.called.done(), second.called.done()) == (True, False)
        assert slots.waiting() == {"b"}
        slots.withdraw(first)
        slots.withdraw(second)
        assert await slots.called(second) is second
        assert (slots.holds(first), slots.holds(second)) == (True, False)
        assert (slots.waiting(), slots.held_by("a"), slots.held_by("b")) == (frozenset(), 1, 0)
        slots.give_back(second)
        slots.give_back(first)
        slots.give_back(first)
        third = slots.ask("c")
        assert third.called.done()

    run(main())


@given(st.integers(), st.builds(Limits, st.integers(1, 4), st.booleans()))
@settings(max_examples=100)
def test_no_slot_is_lost_whenever_somebody_is_cancelled(seed: int, limits: Limits) -> None:
    """At the very moment of the turn too."""

    async def main() -> None:
        rng = random.Random(seed)
        world = World(limits)
        for _ in range(60):
            world.hold(rng.choice("abc"), rng.choice([0.0, 1.0, 9.0]), rng.randint(0, 2))
            if world.tasks and rng.random() < 0.4:
                rng.choice(world.tasks).cancel()
            await asyncio.sleep(rng.choice([0.0, 0.0, 1.0]))
            assert len(world.holding) <= (limits.slots if limits.strict else 3 * limits.slots)
            assert all(world.slots.held_by(name) >= world.holding.count(name) for name in "abc")
        await asyncio.gather(*world.tasks, return_exceptions=True)
        assert world.holding == []
        assert world.slots.waiting() == frozenset()
        assert [world.slots.held_by(name) for name in "abc"] == [0, 0, 0]

    run(main())
