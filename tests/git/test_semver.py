"""Versions and ranges over tags."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.api.reasons import Problem, Reason
from setpoint.git.semver import Version, highest, parse_range, parse_version

# SemVer 2.0.0, section 11: each is lower than the next.
ASCENDING = (
    "0.0.0-0", "0.0.0", "0.0.1", "0.9.9", "1.0.0-0", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta",
    "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.1", "1.2.0", "1.10.0", "2.0.0",
)  # fmt: skip


def version(text: str) -> Version:
    read = parse_version(text)
    assert read is not None, text
    return read


def admits(range_: str, text: str) -> bool:
    return parse_range(range_).admits(version(text))


def test_precedence_is_that_of_the_specification() -> None:
    versions = [version(text) for text in ASCENDING]
    assert all(low < high and not high < low for low, high in pairwise(versions))


@pytest.mark.parametrize(
    ("tag", "read"),
    [
        ("1.2.3", Version(1, 2, 3)),
        ("v1.2.3", Version(1, 2, 3)),
        ("v1.2.3-rc.1+build.5", Version(1, 2, 3, ("rc", "1"))),
        ("1.2.3-x-y", Version(1, 2, 3, ("x-y",))),
        ("1.2.3+001", Version(1, 2, 3)),
    ],
)
def test_what_is_a_version(tag: str, read: Version) -> None:
    assert parse_version(tag) == read


@pytest.mark.parametrize(
    "tag",
    ["", "v", "latest", "release-1.2.3", "V1.2.3", "1.2.3.4", "01.2.3", "1.2.3-", "1.2.3-a..b", "1.2.3+", "1.2.x", "-1.2.3", "1.2.3\n", " 1.2.3", "१.2.3", "1१.2.3"],
)  # fmt: skip
def test_what_is_none(tag: str) -> None:
    assert parse_version(tag) is None


@pytest.mark.parametrize(
    ("range_", "inside", "outside"),
    [
        ("*", "0.0.0 1.2.3 9.9.9", "1.0.0-rc.1"),
        ("", "0.0.0 9.9.9", "1.0.0-rc.1"),
        ("x", "0.0.0 9.9.9", "1.0.0-rc.1"),
        ("1.2.3", "1.2.3", "1.2.2 1.2.4 1.2.3-rc.1"),
        ("=1.2.3", "1.2.3", "1.2.4"),
        ("v1.2.3", "1.2.3", "1.2.4"),
        ("1", "1.0.0 1.9.9", "0.9.9 2.0.0 2.0.0-rc.1"),
        ("1.2", "1.2.0 1.2.9", "1.1.9 1.3.0"),
        ("1.x", "1.0.0 1.9.9", "2.0.0"),
        ("1.2.X", "1.2.0 1.2.9", "1.3.0"),
        ("1.2.*", "1.2.0 1.2.9", "1.3.0"),
        (">1.2.3", "1.2.4 2.0.0", "1.2.3"),
        (">1.2", "1.3.0", "1.2.9"),
        (">1", "2.0.0", "1.9.9"),
        (">=1.2", "1.2.0 9.0.0", "1.1.9"),
        ("=>1.2.3", "1.2.3", "1.2.2"),
        ("<1.2.3", "1.2.2", "1.2.3 1.2.3-rc.1"),
        ("<1.2", "1.1.9", "1.2.0"),
        ("<=1.2.3", "1.2.3", "1.2.4"),
        ("<=1.2", "1.2.9", "1.3.0"),
        ("=<1", "1.9.9", "2.0.0"),
        ("!=1.2.3", "1.2.2 1.2.4", "1.2.3"),
        ("!=1.2", "1.1.9 1.3.0", "1.2.0 1.2.9"),
        ("~1.2.3", "1.2.3 1.2.9", "1.2.2 1.3.0"),
        ("~1.2", "1.2.0 1.2.9", "1.3.0"),
        ("~1", "1.0.0 1.9.9", "2.0.0"),
        ("~>1.2.3", "1.2.9", "1.3.0"),
        ("^1.2.3", "1.2.3 1.9.0", "1.2.2 2.0.0"),
        ("^1.2", "1.2.0 1.9.9", "2.0.0"),
        ("^1", "1.0.0 1.9.9", "2.0.0"),
        ("^0.2.3", "0.2.3 0.2.9", "0.3.0"),
        ("^0.2", "0.2.0 0.2.9", "0.3.0"),
        ("^0.0.3", "0.0.3", "0.0.4"),
        ("^0.0", "0.0.0 0.0.9", "0.1.0"),
        ("^0", "0.0.0 0.9.9", "1.0.0"),
        (">=1.4.0 <2.0.0", "1.4.0 1.9.9", "1.3.9 2.0.0"),
        (">=1.4.0, <2.0.0", "1.4.0 1.9.9", "1.3.9 2.0.0"),
        (">=1.4.0,<2.0.0", "1.4.0 1.9.9", "1.3.9 2.0.0"),
        (">= 1.4.0 < 2.0.0", "1.4.0 1.9.9", "1.3.9 2.0.0"),
        ("1.2 - 1.4", "1.2.0 1.4.9", "1.1.9 1.5.0"),
        ("1.2.3 - 1.4.5", "1.2.3 1.4.5", "1.2.2 1.4.6"),
        ("^1.2 || ^3", "1.2.0 3.9.9", "2.0.0 4.0.0"),
        ("1.x||>=2.5.0", "1.0.0 2.5.0", "2.4.9"),
        (">=1.0.0-0", "1.0.0-rc.1 1.0.0 2.0.0-rc.1", "0.9.9"),
        (">=1.0.0-rc.2", "1.0.0-rc.2 1.0.0-rc.10 1.0.0", "1.0.0-rc.1"),
        ("1.0.0-rc.1", "1.0.0-rc.1", "1.0.0-rc.1.0 1.0.0-rc.2 1.0.0"),
        ("^1.2.3-beta.2", "1.2.3-beta.2 1.9.0 1.5.0-rc.1", "1.2.3-beta.1 2.0.0 2.0.0-rc.1"),
        ("^1 || >=2.0.0-0", "1.0.0 2.0.0-rc.1", "0.9.0"),
    ],
)
def test_ranges(range_: str, inside: str, outside: str) -> None:
    assert [text for text in inside.split() if not admits(range_, text)] == []
    assert [text for text in outside.split() if admits(range_, text)] == []


@pytest.mark.parametrize(
    "range_",
    ["one", ">=", ">=1.2 <", "1.2.3.4", ">>1.0", "1.0 & 2.0", "^^1", "1.0.0-", "01.0.0", "1 - 2 - 3"],
)
def test_what_is_no_range(range_: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_range(range_)
    assert caught.value.reason is Reason.InvalidSpec
    assert repr(range_) in caught.value.message


@pytest.mark.parametrize(
    ("range_", "tags", "best"),
    [
        ("^1.4", ["v1.4.0", "v1.10.0", "v1.9.0", "v2.0.0", "latest"], "v1.10.0"),
        ("*", ["v1.0.0-rc.1", "nightly"], None),
        ("*", [], None),
        (">=1.0.0-0", ["1.0.0-rc.2", "1.0.0-rc.10"], "1.0.0-rc.10"),
    ],
)
def test_the_highest_tag(range_: str, tags: list[str], best: str | None) -> None:
    assert highest(range_, tags) == best


NUMBERS = st.integers(0, 20)
LABELS = st.lists(st.sampled_from(["0", "1", "10", "alpha", "rc", "x-y"]), max_size=3)


@st.composite
def versions(draw: st.DrawFn) -> str:
    numbers = ".".join(str(draw(NUMBERS)) for _ in range(3))
    labels = ".".join(draw(LABELS))
    return f"{draw(st.sampled_from(['', 'v']))}{numbers}{'-' if labels else ''}{labels}"


@given(versions(), versions())
def test_comparators_agree_with_precedence(one: str, other: str) -> None:
    a, b = version(one), version(other)
    for op, truth in (
        (">", b > a),
        (">=", b >= a),
        ("<", b < a),
        ("<=", b <= a),
        ("=", b == a),
        ("!=", b != a),
    ):
        admitted = admits(f"{op}{one}", other)
        assert admitted is (truth and (not b.prerelease or bool(a.prerelease)))


@given(st.lists(versions(), max_size=12), st.randoms())
def test_the_highest_is_stable_and_no_tag_in_range_is_higher(tags: list[str], random: object) -> None:
    best = highest(">=0.0.0-0", tags)
    assert highest(">=0.0.0-0", reversed(tags)) == best
    assert (best is None) is (not tags)
    assert best is None or all(version(tag) <= version(best) for tag in tags)


@given(versions())
def test_caret_and_tilde_lie_within_their_numbers(text: str) -> None:
    read = version(text)
    assert admits(f"^{text}", text)
    assert admits(f"~{text}", text)
    assert not admits(f"^{text}", f"{read.major + 1}.0.0")
    assert not admits(f"~{text}", f"{read.major}.{read.minor + 1}.0")


@given(st.text(max_size=30))
def test_any_text_is_a_range_or_refused(text: str) -> None:
    try:
        parse_range(text).admits(Version(1, 2, 3))
    except Problem as problem:
        assert problem.reason is Reason.InvalidSpec  # noqa: PT017 - any other exception is the bug
