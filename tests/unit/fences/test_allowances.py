"""What a child may take, and which limit it is over: tables, and times of a clock that the test turns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from setpoint.fences.allowances import Allowance, Excess, Kind, Spell, Use, excess, largest

ALLOWANCE = Allowance(memory=100, threads=8, processor=30, seconds=60, scratch=1000)
FULL = Use(memory=100, threads=8, scratch=1000, processor=30, seconds=60)


def test_all_that_is_allowed_is_no_excess() -> None:
    assert excess(FULL, ALLOWANCE) is None
    assert excess(Use(), Allowance(0, 0, 0, 0)) is None


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.TOGETHER])
def test_each_limit(kind: Kind) -> None:
    name = {Kind.TIME: "seconds"}.get(kind, kind.name.lower())
    limit = getattr(ALLOWANCE, name)
    more: dict[str, Any] = {name: limit + 1}
    assert excess(replace(FULL, **more), ALLOWANCE) == Excess(kind, limit + 1, limit)


def test_of_two_limits_the_first_is_told() -> None:
    assert excess(Use(memory=101, seconds=61), ALLOWANCE) == Excess(Kind.MEMORY, 101, 100)


def test_the_largest_of_a_group_goes() -> None:
    assert largest({"a": 10, "b": 30, "c": 20}, 60) is None
    assert largest({"a": 10, "b": 30, "c": 20}, 59) == ("b", Excess(Kind.TOGETHER, 60, 59))
    assert largest({}, 0) is None


def test_a_spell_lasts_from_the_first_task_to_the_last() -> None:
    spell = Spell(0)
    assert (spell.busy, spell.seconds(5)) == (False, 0)
    spell.begin(10)
    spell.begin(12)
    spell.end(13)
    assert (spell.busy, spell.seconds(15)) == (True, 5)
    spell.end(16)
    assert (spell.busy, spell.seconds(20)) == (False, 0)
    spell.begin(30)
    assert spell.seconds(31) == 1


def test_time_stands_while_all_tasks_wait_for_others() -> None:
    spell = Spell(0)
    spell.begin(0)
    spell.wait(2)
    assert spell.seconds(100) == 2
    spell.begin(100)
    assert spell.seconds(103) == 5, "the second task is at work"
    spell.end(104)
    spell.resume(110)
    assert spell.seconds(113) == 9


def test_a_task_that_ended_twice_is_no_debt() -> None:
    spell = Spell(0)
    spell.end(1)
    spell.begin(2)
    assert spell.busy
    assert spell.seconds(3) == 1


def test_processor_time_is_that_of_the_spell() -> None:
    spell = Spell(0)
    spell.begin(0)
    assert spell.processor(50, 1) == 0
    assert spell.processor(53, 5) == 3
    spell.begin(6)
    assert spell.processor(54, 7) == 4
    spell.end(8)
    spell.end(8)
    spell.begin(9)
    assert spell.processor(55, 9) == 0


def test_without_work_there_is_housekeeping_only() -> None:
    spell = Spell(0)
    assert spell.processor(10, 0) == 0
    assert spell.processor(10 + 100 * 0.05, 100) == 0
    assert spell.processor(10 + 100, 100) == pytest.approx(95)
