"""Which commit `spec.ref` means, from a listing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.api.reasons import Problem, Reason
from setpoint.git.refs import Head, Selected, moved, select
from setpoint.wall.messages import GitRef

A, B, C, D, E, TAG = (character * 40 for character in "abcdef")
HEADS = (
    Head("HEAD", A),
    Head("refs/heads/main", A),
    Head("refs/heads/team/next", B),
    Head("refs/pull/42/head", C),
    Head("refs/tags/light", D),
    Head("refs/tags/v1.2.0", TAG),
    Head("refs/tags/v1.2.0^{}", E),
    Head("refs/tags/v1.10.0-rc.1", C),
    Head("refs/tags/1.3.0", B),
)
MAIN = "refs/heads/main"


@pytest.mark.parametrize(
    ("ref", "full", "revision"),
    [
        (GitRef(), MAIN, f"main@sha1:{A}"),
        (GitRef(branch="main"), MAIN, f"main@sha1:{A}"),
        (GitRef(branch="team/next"), "refs/heads/team/next", f"team/next@sha1:{B}"),
        (GitRef(tag="light"), "refs/tags/light", f"light@sha1:{D}"),
        (GitRef(tag="v1.2.0"), "refs/tags/v1.2.0", f"v1.2.0@sha1:{E}"),
        (GitRef(name="refs/pull/42/head"), "refs/pull/42/head", f"refs/pull/42/head@sha1:{C}"),
        (GitRef(name="refs/tags/v1.2.0"), "refs/tags/v1.2.0", f"refs/tags/v1.2.0@sha1:{E}"),
        (GitRef(semver=">=1.0.0"), "refs/tags/1.3.0", f"1.3.0@sha1:{B}"),
        (GitRef(semver="~1.2"), "refs/tags/v1.2.0", f"v1.2.0@sha1:{E}"),
        (GitRef(semver=">=1.0.0-0"), "refs/tags/v1.10.0-rc.1", f"v1.10.0-rc.1@sha1:{C}"),
        (GitRef(commit=D, branch="main"), MAIN, f"main@sha1:{D}"),
    ],
)
def test_every_kind_of_ref(ref: GitRef, full: str, revision: str) -> None:
    assert select(ref, HEADS, MAIN) == Selected(full, revision.rpartition(":")[2], revision)


def test_head_without_a_known_target_is_asked_for_as_head() -> None:
    assert select(GitRef(), HEADS, None) == Selected("HEAD", A, f"HEAD@sha1:{A}")
    assert select(GitRef(), HEADS, "refs/heads/gone").ref == "HEAD"


def test_a_target_that_would_be_two_refspecs_is_not_asked_for() -> None:
    bad = "refs/heads/x:refs/setpoint/y"
    assert select(GitRef(), (*HEADS, Head(bad, A)), bad).ref == "HEAD"
    listing = (Head("HEAD", A), Head(bad, B))
    assert select(GitRef(commit=B), listing, None).ref == "HEAD"


def test_a_commit_is_looked_for_below_the_ref_that_stands_there_else_below_head() -> None:
    assert select(GitRef(commit=C), HEADS, MAIN) == Selected("refs/pull/42/head", C, f"sha1:{C}")
    unknown = "1" * 40
    assert select(GitRef(commit=unknown), HEADS, MAIN) == Selected(MAIN, unknown, f"sha1:{unknown}")


@pytest.mark.parametrize(
    ("ref", "words"),
    [
        (GitRef(branch="gone"), "branch gone does not exist"),
        (GitRef(tag="gone"), "tag gone does not exist"),
        (GitRef(name="refs/pull/1/head"), "ref refs/pull/1/head does not exist"),
        (GitRef(semver=">=9"), "none of the 4 tags fits the range >=9"),
        (GitRef(commit=A, branch="gone"), "branch gone does not exist"),
    ],
)
def test_what_is_not_there_is_said(ref: GitRef, words: str) -> None:
    with pytest.raises(Problem, match=words) as caught:
        select(ref, HEADS, MAIN)
    assert caught.value.reason is Reason.RefNotFound


def test_an_empty_repository() -> None:
    with pytest.raises(Problem) as caught:
        select(GitRef(branch="main"), (), None)
    assert caught.value.reason is Reason.RepositoryEmpty


def test_a_head_that_points_nowhere() -> None:
    with pytest.raises(Problem, match="name a branch") as caught:
        select(GitRef(), HEADS[1:], None)
    assert caught.value.reason is Reason.RefNotFound


@pytest.mark.parametrize(
    "name", ["a b", "a:b", "a..b", "-x", "/a", "a/", "a.lock", "a~1", "a^{}", "a@{1}", "a*", ".a"]
)
def test_a_name_that_no_ref_has(name: str) -> None:
    for ref in (GitRef(branch=name), GitRef(tag=name), GitRef(name=f"refs/x/{name}")):
        if ref.name and name == "-x":
            continue  # a dash is forbidden at the very start alone, where it would be an option
        with pytest.raises(Problem) as caught:
            select(ref, HEADS, MAIN)
        assert caught.value.reason is Reason.InvalidSpec


@pytest.mark.parametrize(
    "ref", [GitRef(commit="abc"), GitRef(commit="A" * 40), GitRef(semver="one"), GitRef(name="main")]
)
def test_a_spec_that_cannot_be_read(ref: GitRef) -> None:
    with pytest.raises(Problem) as caught:
        select(ref, HEADS, MAIN)
    assert caught.value.reason is Reason.InvalidSpec


@given(st.from_regex(r"[0-9a-f]{40}", fullmatch=True), st.sampled_from(["main", "a@b", "refs/x/y", ""]))
def test_moved_keeps_the_name_and_changes_the_commit(sha: str, name: str) -> None:
    before = Selected("refs/heads/x", A, f"{name}@sha1:{A}" if name else f"sha1:{A}")
    after = moved(before, sha)
    assert (after.ref, after.sha) == (before.ref, sha)
    assert after.revision == before.revision.replace(A, sha)


@given(
    st.lists(st.tuples(st.from_regex(r"refs/heads/[a-z]{1,5}", fullmatch=True), st.sampled_from([A, B, C])))
)
def test_a_branch_is_what_the_listing_says(pairs: list[tuple[str, str]]) -> None:
    listed = dict(pairs)
    heads = [Head(name, sha) for name, sha in listed.items()]
    for name, sha in listed.items():
        assert select(GitRef(branch=name.removeprefix("refs/heads/")), heads, None).sha == sha
