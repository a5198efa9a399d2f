"""Work on large values is done in a thread, and finding out whether they are costs no more than a look at the first of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from setpoint.runtime.beside import LARGE, beside, is_large


@pytest.mark.parametrize(
    ("value", "large"),
    [
        ({}, False),
        (None, False),
        ("x" * 10_000, False),
        ([1, 2, 3, 4], False),
        ([1, 2, 3, 4, 5], True),
        ({"a": {"b": {"c": {"d": 1}}}}, False),
        ({"a": {"b": {"c": {"d": {"e": 1}}}}}, True),
        ([[], [], [], {}], False),
        ([[[]], [[]], [[]]], True),
    ],
)
def test_values_of_all_levels_count(value: Any, *, large: bool) -> None:
    assert is_large([value], most=5) is large


class Counted(dict[str, Any]):
    """A map that counts how often it is walked."""

    walked = 0

    def values(self) -> Any:
        def every() -> Iterator[Any]:
            for each in dict.values(self):
                Counted.walked += 1
                yield each

        return every()


def test_no_more_is_looked_at_than_needed() -> None:
    wide = Counted({str(n): {} for n in range(1_000_000)})
    assert is_large(wide)
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = Counted({"a": deep})
    assert is_large(deep)
    assert Counted.walked <= LARGE + 1


async def where(value: Any) -> bool:
    """Whether work on a value is done in another thread."""
    return await beside(threading.get_ident, value) != threading.get_ident()


def test_large_values_are_for_a_thread() -> None:
    assert not asyncio.run(where({"a": list(range(LARGE - 10))}))
    assert asyncio.run(where({"a": list(range(LARGE + 1))}))
