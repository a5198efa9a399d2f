"""Processes that namespaces share, with members that do as they are told: who may have one, who ends, and who waits."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.kit.virtualtime import run

from setpoint.runtime.pool import Closed, Pool, surplus

EACH = 3
Key = tuple[str, int]


class Fake:
    """A member whose process is gone a turn of the loop after its end was asked for."""

    def __init__(self, key: Key, gone: Callable[[], None]) -> None:
        self.key, self._gone = key, gone
        self.busy, self.retired, self.idle = 0, False, 0.0
        self.over = False

    @property
    def usable(self) -> bool:
        return not self.retired and not self.over

    def kill(self) -> None:
        self.retired = True
        if not self.over:
            self.over = True
            asyncio.get_running_loop().call_soon(self._gone)


class World:
    """A pool, and what was started in it."""

    def __init__(self, most: int) -> None:
        self.pool: Pool[Key, Fake] = Pool(most, lambda key: key[0])
        self.started: list[Key] = []
        self.waits = 0
        self.failing: Exception | None = None
        self.most = 0

    async def get(self, name: str, number: int = 0) -> Fake:
        """Return the member for a key, at work on one request more."""
        key = name, number

        async def start(gone: Callable[[], None]) -> Fake:
            await asyncio.sleep(0)
            if self.failing is not None:
                raise self.failing
            self.started.append(key)
            return Fake(key, gone)

        member = await self.pool.get(key, start, self.waiting)
        member.busy += 1
        self.most = max(self.most, len(self.pool.all))
        return member

    @contextmanager
    def waiting(self) -> Iterator[None]:
        self.waits += 1
        try:
            yield
        finally:
            self.waits -= 1

    def done(self, member: Fake) -> None:
        member.busy -= 1
        self.pool.rest(member.key, member)

    def ask(self, name: str, number: int = 0) -> asyncio.Task[Fake]:
        return asyncio.create_task(self.get(name, number))


async def turns() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_one_serves_all_requests_of_its_key() -> None:
    world = World(3)
    first, second = await asyncio.gather(world.get("a"), world.get("a"))
    assert first is second is await world.get("a")
    assert world.started == [("a", 0)]
    assert world.pool.find(("a", 0)) is first
    assert world.pool.find(("b", 0)) is None
    assert list(world.pool.all) == [first]


async def test_one_that_has_nothing_to_do_stays_until_its_place_is_needed() -> None:
    world = World(2)
    for name in ("a", "b"):
        member = await world.get(name)
        world.done(member)
        await asyncio.sleep(0.001)
    assert len(world.pool.all) == 2
    await world.get("c")
    assert sorted(each.key[0] for each in world.pool.all) == ["b", "c"], "the one idle for longest went"
    assert world.most == 2


async def test_where_none_is_idle_one_gets_no_more_requests_and_goes_when_it_is() -> None:
    world = World(2)
    a, b = await world.get("a"), await world.get("b")
    asking = world.ask("c")
    await turns()
    assert not asking.done()
    assert world.waits == 1
    assert (a.retired, b.retired, a.over) == (True, False, False)
    again = world.ask("a")
    await turns()
    assert not again.done(), "nobody asks one that is to end"
    world.done(a)
    world.done(await asking)
    assert (await again).key == ("a", 0)
    assert world.started == [("a", 0), ("b", 0), ("c", 0), ("a", 0)]
    assert world.most == 2
    assert world.waits == 0


async def test_a_namespace_never_has_all_and_its_own_idle_ones_go_for_its_next() -> None:
    world = World(3)
    first, second = await world.get("a", 1), await world.get("a", 2)
    third = world.ask("a", 3)
    await turns()
    assert not third.done(), "the last place is for others"
    other = await world.get("b")
    assert not other.retired
    world.done(first)
    assert (await third).key == ("a", 3)
    assert (first.over, second.retired, other.retired) == (True, False, False)


async def test_many_namespaces_each_have_a_turn() -> None:
    world = World(2)
    served: Counter[str] = Counter()

    async def work(name: str) -> None:
        for _ in range(3):
            member = await world.get(name)
            await asyncio.sleep(0)
            served[name] += 1
            world.done(member)

    await asyncio.gather(*(work(f"n{n}") for n in range(7)))
    assert served == {f"n{n}": 3 for n in range(7)}
    assert world.most == 2


async def test_one_that_died_is_replaced_when_it_is_needed_again() -> None:
    world = World(2)
    member = await world.get("a")
    member.over = True
    member._gone()
    world.done(member)
    assert list(world.pool.all) == []
    assert await world.get("a") is not member
    # And its place was given back once, not twice.
    await world.get("b")
    asking = world.ask("c")
    await turns()
    assert not asking.done()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)


async def test_one_that_is_given_up_ends_when_it_has_nothing_to_do() -> None:
    world = World(3)
    member = await world.get("a")
    assert world.pool.retire(("a", 0)) is member
    assert world.pool.retire(("a", 0)) is None
    assert (member.usable, member.over) == (False, False)
    assert await world.get("a") is not member, "another has its place"
    world.done(member)
    assert member.over
    await turns()
    assert len(world.pool.all) == 1


async def test_a_start_that_fails_costs_no_place() -> None:
    world = World(1)
    world.failing = OSError("no")
    for _ in range(3):
        with pytest.raises(OSError, match="no"):
            await world.get("a")
    world.failing = None
    assert (await world.get("a")).key == ("a", 0)


async def test_a_wait_that_is_cancelled_costs_no_place() -> None:
    world = World(1)
    member = await world.get("a")
    waiting = [world.ask("b"), world.ask("c")]
    await turns()
    waiting[0].cancel()
    await turns()
    assert (waiting[0].cancelled(), world.waits) == (True, 1)
    world.done(member)
    found = await waiting[1]
    assert found.key == ("c", 0)
    # Cancelled in the very moment in which it is called.
    late, last = world.ask("d"), world.ask("e")
    await turns()
    world.done(found)
    late.cancel()
    assert (await last).key == ("e", 0)


async def test_a_start_that_is_cancelled_costs_no_place() -> None:
    world = World(1)
    begun, never = asyncio.Event(), asyncio.Event()

    async def start(_: Callable[[], None]) -> Fake:
        begun.set()
        await never.wait()
        raise AssertionError

    asking = asyncio.create_task(world.pool.get(("a", 0), start))
    await begun.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert (await world.get("b")).key == ("b", 0)


async def test_a_closed_pool_ends_all_and_starts_none() -> None:
    world = World(1)
    member = await world.get("a")
    waiting = world.ask("b")
    await turns()
    world.pool.close()
    assert member.over
    with pytest.raises(Closed):
        await waiting
    for name in ("a", "c"):
        with pytest.raises(Closed):
            await world.get(name)
    assert list(world.pool.all) == []
    assert world.started == [("a", 0)]


def test_who_is_idle_for_longest_goes_by_the_loops_clock() -> None:
    async def main() -> None:
        world = World(3)
        members = [await world.get(name) for name in ("a", "b", "c")]
        for n in (1, 0, 2):
            await asyncio.sleep(10)
            world.done(members[n])
        await world.get("d")
        assert [each.over for each in members] == [False, True, False]

    run(main())


@pytest.mark.parametrize(
    ("idle", "waiting", "expected"),
    [
        ({}, {"c"}, None),
        ({1: ("a", 5.0), 2: ("a", 4.0), 3: ("b", 1.0)}, {"c"}, 2),
        ({3: ("b", 1.0)}, {"c"}, 3),
        ({1: ("a", 5.0), 3: ("b", 1.0)}, {"a"}, 1),
        ({3: ("b", 1.0)}, {"a"}, None),
        ({3: ("b", 1.0)}, {"a", "c"}, 3),
    ],
    ids=[
        "all at work",
        "of who has most",
        "another's",
        "its own",
        "which would be in vain",
        "but for others",
    ],
)
def test_which_one_ends(idle: dict[int, tuple[str, float]], waiting: set[str], expected: int | None) -> None:
    assert surplus({"a": 3, "b": 1}, idle, waiting, EACH) == expected


@given(
    st.dictionaries(st.integers(), st.tuples(st.sampled_from("abc"), st.floats(0, 9))),
    st.sets(st.sampled_from("abcd"), min_size=1),
    st.integers(1, 8),
)
def test_none_ends_in_vain(idle: dict[int, tuple[str, float]], waiting: set[str], each: int) -> None:
    held = Counter(name for name, _ in idle.values())
    assume(max(held.values(), default=0) <= each)
    ends = surplus(held, idle, waiting, each)
    if ends is not None:
        held[idle[ends][0]] -= 1
        assert any(held[name] < each for name in waiting)
    else:
        assert not idle or all(held[name] >= each for name in waiting)


def test_who_waits_for_what_is_being_started_needs_nobodys_place() -> None:
    """More ask for one than there are places; an idle one of the same namespace stays."""

    async def check() -> None:
        world = World(4)
        idle = await world.get("a", 1)
        idle.busy = 0
        world.pool.rest(("a", 1), idle)
        same = await asyncio.gather(*(world.get("a", 2) for _ in range(12)))
        assert world.started == [("a", 1), ("a", 2)]
        assert len(set(same)) == 1
        assert idle.usable

    run(check())
