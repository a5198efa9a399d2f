"""What comes over the seam has the form that its receivers rely on."""

from __future__ import annotations

from typing import Any

import pytest

from setpoint.wall.receipt import MAX_DEPTH, breach

GOOD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "a", "labels": None},
    "data": {"yes": True, "none": None, "float": 1e300, "least": -(2**63), "most": 2**64 - 1, "list": [[]]},
}


def test_an_object_is_taken_as_it_is() -> None:
    assert breach(GOOD) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"apiVersion": 1}, "has no apiVersion that is a text"),
        ({"apiVersion": ""}, "has no apiVersion that is a text"),
        ({"kind": None}, "has no kind that is a text"),
        ({"kind": ["ConfigMap"]}, "has no kind that is a text"),
        ({"metadata": None}, "has no metadata that is a map"),
        ({"metadata": [["name", "a"]]}, "has no metadata that is a map"),
        ({"metadata": {}}, "has no metadata.name that is a text"),
        ({"metadata": {"name": 1}}, "has no metadata.name that is a text"),
        ({"data": {"a": [{"b": 2**64}]}}, "has an integer beyond 64 bits"),
        ({"data": {"a": -(2**63) - 1}}, "has an integer beyond 64 bits"),
    ],
)
def test_what_has_another_form_is_not(change: dict[str, Any], words: str) -> None:
    assert breach({**GOOD, **change}) == words


@pytest.mark.parametrize("value", [None, [], "text", 1])
def test_what_is_no_map_is_no_object(value: object) -> None:
    assert breach(value) == "is no map"


def nested(levels: int, *, lists: bool) -> Any:
    value: Any = "deep"
    for _ in range(levels):
        value = [value] if lists else {"a": value}
    return value


@pytest.mark.parametrize("lists", [False, True])
def test_depth_is_bounded_without_exhausting_the_stack(lists: bool) -> None:
    # The object itself is the first level.
    assert breach({**GOOD, "data": nested(MAX_DEPTH - 1, lists=lists)}) is None
    assert breach({**GOOD, "data": nested(MAX_DEPTH, lists=lists)}) == "has more than 128 levels of nesting"
    assert breach({**GOOD, "data": nested(100_000, lists=lists)}) == "has more than 128 levels of nesting"


def test_what_is_broad_is_gone_through_once() -> None:
    assert breach({**GOOD, "data": {str(n): [{}] * 10 for n in range(10_000)}}) is None
