"""Who starts next, of namespaces that share slots: rules that hold for any history, and what a decision costs."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from setpoint.runtime.fairness import SLOW_SECONDS, FairShare, Limits


class Key(NamedTuple):
    namespace: str
    number: int


class World:
    """A share with what a test knows of it: who waits in which order, who runs since when, who failed."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self.share, self.now = limits, FairShare[Key](), 0.0
        self.healthy: list[Key] = []
        self.failing: list[Key] = []
        self.running: dict[Key, tuple[float, bool]] = {}
        self.started: list[Key] = []
        self._numbers = 0

    def ask(self, namespace: str, count: int = 1, *, failing: bool = False) -> None:
        for _ in range(count):
            self._numbers += 1
            key = Key(namespace, self._numbers)
            (self.failing if failing else self.healthy).append(key)
            self.share.wait(key, namespace, self.now, failing=failing)

    def go(self) -> list[Key]:
        """Start all that may start; returns what did."""
        found = []
        while (key := self.share.next(self.limits, self.now)) is not None:
            self._check(key)
            failed = key in self.failing
            (self.failing if failed else self.healthy).remove(key)
            self.running[key] = self.now, failed
            found.append(key)
        self._check(None)
        self.started += found
        return found

    def end(self, key: Key) -> None:
        del self.running[key]
        self.share.end(key)

    def leave(self, key: Key) -> None:
        (self.failing if key in self.failing else self.healthy).remove(key)
        self.share.leave(key)

    def held(self) -> Counter[str]:
        return Counter(key.namespace for key in self.running)

    def slow(self) -> list[Key]:
        return [key for key, (since, _) in self.running.items() if self.now - since >= self.limits.slow]

    def may_start(self, key: Key) -> bool:
        """The rules, in so many words."""
        mine, slots, slow = self.held()[key.namespace], self.limits.slots, self.slow()
        half = slots // 2
        first = mine == 0 and not self.limits.strict
        if key in self.failing:
            failed = sum(failed for _, failed in self.running.values())
            if failed >= max(1, half) * (2 if first else 1):
                return False
        if self.limits.strict:
            mine_slow = any(each.namespace == key.namespace for each in slow)
            if (mine_slow and len(slow) >= max(1, half)) or mine >= max(1, slots - 1):
                return False
            return len(self.running) < slots
        in_slots = len(self.running) - min(len(slow), half)
        return mine < slots and in_slots < (2 * slots if first else slots)

    def _check(self, chosen: Key | None) -> None:
        """Compare a decision with the rules."""
        waiting = [*self.healthy, *self.failing]
        # Of a namespace the healthy ones come first, and each in the order in which they came.
        heads = {key.namespace: key for key in reversed(waiting)}
        may = [key for key in heads.values() if self.may_start(key)]
        if chosen is None:
            assert may == []
            return
        assert chosen in may
        held = self.held()
        assert held[chosen.namespace] == min(held[key.namespace] for key in may)


def drawn(steps: list[tuple[str, str, float]], limits: Limits) -> World:
    """Play a history; what may start does after each step."""
    world = World(limits)
    for what, namespace, amount in steps:
        mine = [key for key in world.running if key.namespace == namespace]
        waiting = [key for key in (*world.healthy, *world.failing) if key.namespace == namespace]
        if what in ("ask", "fail"):
            world.ask(namespace, 1 + int(amount), failing=what == "fail")
        elif what == "end" and mine:
            world.end(mine[int(amount) % len(mine)])
        elif what == "leave" and waiting:
            world.leave(waiting[int(amount) % len(waiting)])
        elif what == "wait":
            world.now += amount
        world.go()
        assert world.share.waiting == len(world.healthy) + len(world.failing)
        assert world.share.running == len(world.running)
        assert set(world.share.namespaces()) == {key.namespace for key in (*world.healthy, *world.failing)}
    return world


NAMESPACES = st.sampled_from("abcde")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "fail", "end", "end", "leave", "wait"]), NAMESPACES, st.floats(0, 4)
    ),
    max_size=80,
)
LIMITS = st.builds(Limits, st.integers(1, 6), st.booleans())


@given(STEPS, LIMITS)
@settings(max_examples=200)
def test_each_decision_keeps_the_rules(steps: list[tuple[str, str, float]], limits: Limits) -> None:
    world = drawn(steps, limits)
    for key in list(world.running):
        world.end(key)
    for key in [*world.healthy, *world.failing]:
        world.leave(key)
    assert vars(world.share)["_namespaces"] == {}, "nothing is kept of who is gone"
    assert not any(line for lines in vars(world.share)["_lines"] for line in lines)


@given(STEPS, LIMITS)
@settings(max_examples=100)
def test_whoever_waits_for_a_first_slot_gets_one(steps: list[tuple[str, str, float]], limits: Limits) -> None:
    """After at most as many ends as there are namespaces and slots, whatever the others ask for meanwhile."""
    world = drawn(steps, limits)
    if world.held()["z"] == 0:
        world.ask("z")
    for _ in range(5 + 3 * limits.slots):
        if any(key.namespace == "z" for key in (*world.started, *world.go())):
            return
        for namespace in "abcde":
            world.ask(namespace, failing=False)
        world.end(next(iter(world.running)))
        world.go()
    assert any(key.namespace == "z" for key in world.started)


@pytest.mark.parametrize("slots", [2, 3, 4, 16])
def test_one_alone_has_all_slots_and_two_have_half_each(slots: int) -> None:
    world = World(Limits(slots))
    world.ask("a", 3 * slots)
    assert len(world.go()) == slots
    world.ask("b", 3 * slots)
    assert [key.namespace for key in world.go()] == ["b"], "one at once, beyond the limit"
    while world.healthy:
        world.end(next(iter(world.running)))
        world.go()
        if world.held()["a"] <= slots // 2:
            break
    for _ in range(slots):
        world.end(next(iter(world.running)))
        world.go()
        held = world.held()
        assert held.total() == slots
        assert abs(held["a"] - held["b"]) <= 1


@pytest.mark.parametrize("hung", [4, 40])
def test_what_hangs_costs_others_nothing(hung: int) -> None:
    """They have their first at once, and their half as soon as what hangs is known to."""
    world = World(Limits(4))
    world.ask("a", hung)
    assert len(world.go()) == 4
    for namespace in "bcde":
        world.ask(namespace, 3)
        assert [key.namespace for key in world.go()] == [namespace]
    world.ask("f")
    assert world.go() == [], "there are at most as many of these as there are slots"
    for key in [key for key in world.running if key.namespace in "cde"]:
        world.end(key)
    assert [key.namespace for key in world.go()] == ["f", "c", "d"]
    for namespace in "cdef":
        for key in [key for key in (*world.running, *world.healthy) if key.namespace == namespace]:
            (world.end if key in world.running else world.leave)(key)
    assert world.go() == []
    assert world.share.turns_slow(world.limits) == SLOW_SECONDS
    world.now = SLOW_SECONDS
    assert [key.namespace for key in world.go()] == ["b"]
    assert world.held() == {"a": 4, "b": 2}


def test_the_slow_lane_takes_half_as_many_as_there_are_slots() -> None:
    world = World(Limits(4))
    for namespace in "abcd":
        world.ask(namespace, 2)
    assert len(world.go()) == 4
    world.now = SLOW_SECONDS
    assert len(world.go()) == 2
    assert world.share.turns_slow(world.limits) is None, "it is full"
    world.now = 100.0
    assert world.go() == []


def test_nothing_becomes_slow_for_nobody() -> None:
    world = World(Limits(4))
    world.ask("a", 4)
    world.go()
    assert world.share.turns_slow(world.limits) is None


def test_where_each_holds_memory_none_runs_beyond_the_limit_and_one_slot_is_for_others() -> None:
    world = World(Limits(4, strict=True))
    world.ask("a", 9)
    assert len(world.go()) == 3
    world.ask("b", 2)
    assert [key.namespace for key in world.go()] == ["b"]
    world.ask("c")
    assert world.go() == []
    world.now = 100.0
    assert world.go() == []
    assert world.share.turns_slow(world.limits) is None
    world.end(next(key for key in world.running if key.namespace == "a"))
    assert [key.namespace for key in world.go()] == ["c"]


def test_where_each_holds_memory_what_is_slow_is_not_joined_by_more_than_half() -> None:
    world = World(Limits(5, strict=True))
    world.ask("a", 2)
    world.go()
    world.now = SLOW_SECONDS
    world.ask("a", 3)
    assert world.go() == []
    world.ask("b", 3)
    assert len(world.go()) == 3


def test_what_fails_holds_half_of_the_slots_and_a_first_of_each_namespace() -> None:
    world = World(Limits(4))
    world.ask("a", 9, failing=True)
    assert len(world.go()) == 2
    world.ask("b", 9, failing=True)
    assert [key.namespace for key in world.go()] == ["b"]
    world.ask("c", 2)
    assert [key.namespace for key in world.go()] == ["c"]
    world.ask("a")
    world.end(next(key for key in world.running if key.namespace == "b"))
    assert world.go() == [Key("b", 11)], "the namespace of which the fewest run comes first"
    world.end(next(key for key in world.running if key.namespace == "c"))
    assert [key.namespace for key in world.go()] == ["c"]


def test_the_longest_wait() -> None:
    world = World(Limits(1))
    assert world.share.longest_wait(3.0) == 0.0
    world.ask("a", failing=True)
    world.now = 2.0
    world.ask("b")
    world.ask("a")
    assert world.share.longest_wait(5.0) == 5.0
    assert world.go() == [Key("b", 2), Key("a", 3)]
    assert world.share.longest_wait(5.0) == 5.0, "a first one that failed is still there"


def lines_of(work: Callable[[], Any]) -> int:
    """How many lines of Python something executes."""
    count = 0

    def trace(*_: Any) -> Any:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    gc.disable()  # what it would end belongs to other tests, and runs lines of its own
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
        gc.enable()
    return count


@pytest.mark.parametrize("failing", [False, True])
@pytest.mark.parametrize("limits", [Limits(16), Limits(8, strict=True)], ids=["loose", "strict"])
def test_a_decision_costs_as_much_among_thousands(limits: Limits, *, failing: bool) -> None:
    """Of 1,000 namespaces with 10 keys each, of which many failed, and of five with two."""

    def most(namespaces: int, each: int) -> int:
        share = FairShare[Key]()
        costs = [0]

        for number in range(namespaces * each):
            key = Key(str(number % namespaces), number)
            failed = failing and number % 3 > 0
            costs.append(lines_of(partial(share.wait, key, key.namespace, 0.0, failing=failed)))
        running: list[Key] = []
        for turn in range(200):
            found: list[Key | None] = []
            costs.append(lines_of(lambda: found.append(share.next(limits, float(turn)))))  # noqa: B023 - called at once
            running += [key for key in found if key is not None]
            if (found == [None] or turn % 3 == 0) and running:
                costs.append(lines_of(partial(share.end, running.pop(0))))
        return max(costs)

    assert most(1000, 10) <= most(5, 2) + 30
