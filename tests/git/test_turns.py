"""The turns of processes that talk to Git servers: which one ends for another, and whose time a wait is."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.kit.virtualtime import run

from setpoint.api.reasons import Problem
from setpoint.git.remotes import Repository, parse_url
from setpoint.git.repositories import _Limit
from setpoint.git.workers import surplus

EACH = 3


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
def test_it_never_ends_in_vain(idle: dict[int, tuple[str, float]], waiting: set[str], each: int) -> None:
    held = Counter(name for name, _ in idle.values())
    assume(max(held.values(), default=0) <= each)
    ends = surplus(held, idle, waiting, each)
    if ends is not None:
        held[idle[ends][0]] -= 1
        assert any(held[name] < each for name in waiting)
    else:
        assert not idle or all(held[name] >= each for name in waiting)


def test_the_wait_for_a_turn_is_not_the_servers_time() -> None:
    async def main() -> None:
        repository = Repository(parse_url("https://git.example.org/app"))

        async def work(seconds: float) -> None:
            async with _Limit(5.0, repository) as limit:
                await asyncio.sleep(2)
                with limit.paused():
                    await asyncio.sleep(100)
                await asyncio.sleep(seconds)

        await work(2.5)
        with pytest.raises(Problem, match="no answer within 5 s"):
            await work(3.5)

    run(main())
