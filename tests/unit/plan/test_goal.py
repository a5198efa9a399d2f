"""The goal of a run: every case of the table in docs/concepts.md, and no case more."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from setpoint.api.sync import Drift
from setpoint.codegen import generate
from setpoint.codegen.goal_rows import ROWS, Row
from setpoint.plan.goal import Commit, Goal, Situation, Written, follow_up, goal

CONCEPTS = Path(__file__).resolve().parents[3] / "docs" / "concepts.md"


@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
def test_a_situation_has_its_goal(row: Row) -> None:
    found = goal(row.situation) if isinstance(row.situation, Situation) else follow_up(row.situation)
    assert found == row.goal


def test_the_page_has_each_row_and_no_row_more() -> None:
    begin, end = generate.markers("goals")
    lines = CONCEPTS.read_text().split(begin)[1].split(end)[0].strip().splitlines()[2:]
    assert len(lines) == len(ROWS)
    for line, row in zip(lines, ROWS, strict=True):
        assert [cell.strip() for cell in line.strip("| ").split(" | ")] == [row.words, row.does]


def test_no_two_rows_are_one() -> None:
    assert len({row.id for row in ROWS}) == len({row.words for row in ROWS}) == len(ROWS)
    assert len({row.situation for row in ROWS}) == len(ROWS)


def every_situation() -> list[Situation]:
    flags = (False, True)
    return [
        Situation(*each)
        for each in itertools.product(flags, Commit, flags, ("", "Sync a/b is not Ready yet"), flags, Drift)
    ]


@pytest.mark.parametrize("situation", every_situation(), ids=str)
def test_nothing_new_is_written_unless_the_commit_is_known_and_its_turn_came(situation: Situation) -> None:
    found = goal(situation)
    if situation.suspended or situation.commit is not Commit.KNOWN:
        assert found not in (Goal.CONVERGE, Goal.WAIT)
    elif situation.changed and situation.dependency:
        assert found is Goal.WAIT
    if situation.suspended:
        assert found is Goal.LOOK


def test_what_left_git_is_pruned_only_after_all_else_is_written() -> None:
    for each in itertools.product((False, True), repeat=4):
        written = Written(*each)
        assert follow_up(written).prune is not (written.failed or written.deferred or written.contested)
