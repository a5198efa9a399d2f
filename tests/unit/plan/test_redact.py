"""Values of Secrets as people may see them: equal over time, and like nothing else."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from setpoint.objects.identity import ObjectId
from setpoint.plan.redact import shown

KEY = b"k" * 32
HERE = ObjectId("", "Secret", "team", "login")


def stands_for(value: Any, oid: ObjectId = HERE, path: str = "/data/a", key: bytes = KEY) -> Any:
    return shown([{"op": "replace", "path": path, "value": value}], oid, key)[0]["value"]


def test_a_value_is_the_same_as_before_and_as_nothing_else() -> None:
    assert stands_for("x") == stands_for("x")
    others = [
        stands_for("y"),
        stands_for("x", path="/data/b"),
        stands_for("x", path="/stringData/a"),
        stands_for("x", ObjectId("", "Secret", "team", "other")),
        stands_for("x", ObjectId("", "Secret", "other", "login")),
        stands_for("x", key=b"o" * 32),
    ]
    assert len({stands_for("x"), *others}) == 1 + len(others)


def test_no_two_places_are_written_alike() -> None:
    """Names and paths may hold any sign that separates them."""
    words = ["", "a", "b", "ab", "a/b", '","', "a\0b", "\\"]
    places = itertools.product(words, words, words)
    found = [stands_for("x", ObjectId("", "Secret", ns, n), f"/data/{p}") for ns, n, p in places]
    assert len(set(found)) == len(words) ** 3


def test_a_value_in_a_whole_is_shown_as_it_is_alone() -> None:
    """The same key is put back with its data, or by itself."""
    whole = stands_for({"a": "x", "b": "x", "c/d": "x", "e~f": "x"}, path="/data")
    alone = {"a": "/data/a", "b": "/data/b", "c/d": "/data/c~1d", "e~f": "/data/e~0f"}
    assert whole == {name: stands_for("x", path=path) for name, path in alone.items()}
    assert len(set(whole.values())) == len(whole)


@pytest.mark.parametrize(
    ("one", "other"),
    [("null", None), ("1", 1), ("[]", []), ('"x"', "x"), ("true", True), (["a", "b"], "a,b")],
)
def test_values_of_different_types_differ(one: Any, other: Any) -> None:
    assert stands_for(one) != stands_for(other)


def test_many_values_at_once_are_counted_and_not_listed() -> None:
    """A status has no room for thousands of hashes, and nobody reads them."""
    many = {f"key-{i}": "x" for i in range(10_000)}
    assert stands_for(many, path="/data") == "(10000 values)"
    assert "(10000 values)" in str(stands_for({"a": many}, path="/data"))


def test_what_is_no_value_is_shown() -> None:
    for path in ("/metadata/labels/a", "/type", "/immutable"):
        assert stands_for("x", path=path) == "x"
    for path in ("", "/typed", "/data/metadata", "/metadatas/a"):
        assert stands_for("x", path=path).startswith("hmac:"), path
    assert stands_for("x", ObjectId("example.org", "Secret", "team", "login")) == "x"
