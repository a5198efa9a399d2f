"""How a soak is judged. The soak itself takes an hour: `make soak`."""

from __future__ import annotations

import pytest
from tests.soak.figures import Sample, judge


def sample(minute: int, **changes: int) -> Sample:
    figures = dict.fromkeys(
        ("rss", "pss", "tasks", "threads", "descriptors", "children", "temporary", "cache"), 100
    )
    return Sample(float(minute), **(figures | changes))


def bad(samples: list[Sample], *, memory: bool = True) -> dict[str, str]:
    return {row.name: row.bad for row in judge(samples, memory=memory) if row.bad}


def test_what_stays_the_same_is_fine_and_the_warm_up_does_not_count() -> None:
    warm_up = [sample(n, pss=10, tasks=1) for n in range(6)]
    assert bad([*warm_up, *(sample(n, tasks=100 + n % 3) for n in range(6, 40))]) == {}


def test_memory_may_grow_by_a_tenth() -> None:
    assert bad([sample(n, pss=100 + n // 4) for n in range(40)]) == {}
    assert bad([sample(n, pss=100 + n) for n in range(40)]) == {"pss": "grew beyond 10%"}
    assert bad([sample(n, pss=100 + n) for n in range(40)], memory=False) == {}


@pytest.mark.parametrize("name", ["tasks", "threads", "descriptors", "children", "temporary"])
def test_what_piles_up_leaks(name: str) -> None:
    assert bad([sample(n, **{name: 100 + n}) for n in range(40)]) == {name: "leaks"}
