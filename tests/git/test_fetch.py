"""Refs of every kind, and what moves, vanishes or never was."""

from __future__ import annotations

import asyncio

import pytest
from tests.git.conftest import MAIN, TIMEOUT, MakeWorld, World, at, paths, trusting
from tests.kit.cluster.pki import Authority
from tests.kit.servers.githttp import GitHttp
from tests.kit.servers.repo import Repo, git

from setpoint.api.reasons import Problem, Reason
from setpoint.git.refs import moved
from setpoint.git.remotes import Repository
from setpoint.wall.messages import GitRef

pytestmark = pytest.mark.asyncio


@pytest.fixture
def repo(git_https: GitHttp) -> Repo:
    """A repository over HTTPS."""
    return git_https.repo("app")


@pytest.fixture
def repository(git_https: GitHttp, authority: Authority) -> Repository:
    """How to reach it."""
    return trusting(git_https.url("app"), authority)


async def test_an_unchanged_ref_costs_one_listing_and_nothing_else(
    world: World, git_https: GitHttp, repo: Repo, repository: Repository
) -> None:
    repo.commit({"a.yaml": "1"})
    await world.check(repository)
    listings, fetches = git_https.ref_listings("app"), git_https.fetches("app")
    assert (listings, fetches > 0) == (2, True)
    await world.check(repository)
    assert (git_https.ref_listings("app"), git_https.fetches("app")) == (listings + 1, fetches)
    assert len(git_https.requests) == listings + fetches + 1


@pytest.mark.parametrize(
    ("ref", "wanted", "name"),
    [
        (GitRef(), "two", "main"),
        (GitRef(branch="main"), "two", "main"),
        (GitRef(branch="feature/x"), "feature", "feature/x"),
        (GitRef(tag="v1.0.0"), "one", "v1.0.0"),
        (GitRef(tag="light"), "one", "light"),
        (GitRef(semver="^1.0"), "two", "v1.1.0"),
        (GitRef(name="refs/pull/42/head"), "feature", "refs/pull/42/head"),
        (GitRef(name="refs/tags/v1.0.0"), "one", "refs/tags/v1.0.0"),
    ],
)
async def test_each_kind_of_ref(
    world: World, repo: Repo, repository: Repository, ref: GitRef, wanted: str, name: str
) -> None:
    commits = {"one": repo.commit({"a": "1"})}
    repo.tag("v1.0.0", message="annotated")
    repo.tag("light")
    commits["two"] = repo.commit({"a": "2"})
    repo.tag("v1.1.0", message="annotated")
    repo.tag("v2.0.0-rc.1")
    commits["feature"] = repo.commit({"a": "f"}, branch="feature/x")
    repo.git("update-ref", "refs/pull/42/head", commits["feature"])
    selected = await world.check(repository, ref)
    assert (selected.sha, selected.revision) == (commits[wanted], f"{name}@sha1:{commits[wanted]}")
    assert world.read(repository, selected.sha, "a") == repo.git("show", f"{selected.sha}:a").encode()


async def test_the_fetch_is_shallow_and_brings_what_changed(
    world: World, repo: Repo, repository: Repository
) -> None:
    old = [repo.commit({f"{n}.yaml": f"n: {n}\n"}) for n in range(20)]
    await world.check(repository)
    new = repo.commit({"3.yaml": "changed"})
    await world.check(repository)
    generation = world.git.fetching._mirror(repository).current()
    assert generation is not None
    held = git("-C", generation, "cat-file", "--batch-all-objects", "--batch-check").splitlines()
    commits = {line.split()[0] for line in held if " commit " in line}
    assert commits == {old[-1], new}
    assert paths(world.git.tree(repository, new)) == sorted(f"{n}.yaml" for n in range(20))


async def test_a_force_push(world: World, repo: Repo, repository: Repository) -> None:
    first = repo.commit({"a": "1"})
    repo.commit({"a": "2"})
    await world.check(repository)
    forced = repo.commit({"a": "forced"}, orphan=True)
    assert (await world.check(repository)).sha == forced
    assert world.read(repository, forced, "a") == b"forced"
    repo.reset(first)
    assert (await world.check(repository)).sha == first
    assert world.read(repository, first, "a") == b"1"


async def test_commits_that_were_fetched_before_stay_readable(
    world: World, repo: Repo, repository: Repository
) -> None:
    commits = [repo.commit({"a": str(n)}) for n in range(1)]
    for n in range(1, 40):  # more than the packs of one generation
        await world.check(repository)
        commits.append(repo.commit({"a": str(n), f"dir/{n}": "x"}))
    await world.check(repository)
    assert [world.read(repository, sha, "a") for sha in commits[-20:]] == [b"%d" % n for n in range(20, 40)]
    generation = world.git.fetching._mirror(repository).current()
    assert generation is not None
    assert len(list(generation.glob("objects/pack/*.pack"))) < 25
    git("-C", generation, "fsck", "--no-dangling")


async def test_an_empty_repository(world: World, repo: Repo, repository: Repository) -> None:
    problem = await world.fails(repository)
    assert problem.reason is Reason.RepositoryEmpty
    sha = repo.commit({"a": "1"})
    assert (await world.check(repository)).sha == sha


@pytest.mark.parametrize(
    "ref",
    [
        GitRef(branch="nope"),
        GitRef(tag="nope"),
        GitRef(semver=">=9"),
        GitRef(name="refs/nope"),
        GitRef(commit="1" * 40),
    ],
)
async def test_a_ref_that_is_not_there(world: World, repo: Repo, repository: Repository, ref: GitRef) -> None:
    repo.commit({"a": "1"})
    repo.tag("v1.0.0")
    assert (await world.fails(repository, ref)).reason is Reason.RefNotFound


async def test_a_ref_that_vanishes_keeps_what_was_fetched(
    world: World, repo: Repo, repository: Repository
) -> None:
    repo.commit({"a": "1"})
    sha = repo.commit({"a": "x"}, branch="gone")
    await world.check(repository, GitRef(branch="gone"))
    repo.delete_branch("gone")
    assert (await world.fails(repository, GitRef(branch="gone"))).reason is Reason.RefNotFound
    assert world.git.has(repository, sha)
    assert world.read(repository, sha, "a") == b"x"


async def test_a_ref_that_vanishes_before_the_fetch(world: World, repo: Repo, repository: Repository) -> None:
    repo.commit({"a": "1"})
    repo.commit({"a": "x"}, branch="gone")
    ref = GitRef(branch="gone")
    selected = await world.git.resolve(repository, ref, TIMEOUT)
    repo.delete_branch("gone")
    with pytest.raises(Problem) as caught:
        await world.git.fetch(repository, ref, selected, TIMEOUT, submodules=False)
    assert caught.value.reason is Reason.RefNotFound
    assert "gone" in caught.value.message


async def test_a_ref_that_moves_before_the_fetch(world: World, repo: Repo, repository: Repository) -> None:
    repo.commit({"a": "1"})
    selected = await world.git.resolve(repository, MAIN, TIMEOUT)
    new = repo.commit({"a": "2"})
    got = await world.git.fetch(repository, MAIN, selected, TIMEOUT, submodules=False)
    assert got == moved(selected, new)
    assert got.revision == f"main@sha1:{new}"
    assert world.read(repository, new, "a") == b"2"


async def test_a_commit_that_the_server_hands_out(
    world: World, git_https: GitHttp, authority: Authority
) -> None:
    repo, repository = git_https.repo("any", any_sha=True), trusting(git_https.url("any"), authority)
    commits = [repo.commit({"a": str(n)}) for n in range(10)]
    selected = await world.check(repository, GitRef(commit=commits[2]))
    assert selected.revision == f"sha1:{commits[2]}"
    assert world.read(repository, commits[2], "a") == b"2"
    assert not world.git.has(repository, commits[3])


@pytest.mark.parametrize("depth", [0, 1, 5, 100])
async def test_a_commit_that_must_be_dug_for(
    world: World, repo: Repo, repository: Repository, depth: int
) -> None:
    commits = [repo.commit({"a": str(n)}) for n in range(120)]
    wanted = commits[-1 - depth]
    selected = await world.check(repository, GitRef(commit=wanted, branch="main"))
    assert selected.revision == f"main@sha1:{wanted}"
    assert world.read(repository, wanted, "a") == str(119 - depth).encode()


async def test_a_commit_without_a_branch_is_found_on_any(
    world: World, repo: Repo, repository: Repository
) -> None:
    repo.commit({"a": "1"})
    wanted = repo.commit({"a": "x"}, branch="side")
    repo.commit({"a": "y"}, branch="side")
    assert (await world.check(repository, GitRef(commit=wanted))).sha == wanted
    assert world.read(repository, wanted, "a") == b"x"


async def test_a_commit_that_is_not_on_its_branch(world: World, repo: Repo, repository: Repository) -> None:
    repo.commit({"a": "1"})
    repo.commit({"a": "x"}, branch="side", orphan=True)
    inner = repo.commit({"a": "y"}, branch="side")
    repo.commit({"a": "z"}, branch="side")
    problem = await world.fails(repository, GitRef(commit=inner, branch="main"))
    assert problem.reason is Reason.RefNotFound
    assert "branch main" in problem.message


async def test_a_tag_of_a_tree_is_no_commit(world: World, repo: Repo, repository: Repository) -> None:
    repo.commit({"a": "1"})
    repo.git("tag", "tree", repo.git("rev-parse", "main^{tree}"))
    assert (await world.fails(repository, GitRef(tag="tree"))).reason is Reason.RefNotFound


async def test_a_head_without_a_branch(world: World, repo: Repo, repository: Repository) -> None:
    repo.commit({"a": "1"})
    repo.set_head("nowhere")
    problem = await world.fails(repository, GitRef())
    assert problem.reason is Reason.RefNotFound
    assert "spec.ref.branch" in problem.message


async def test_what_a_commit_says_of_itself(world: World, repo: Repo, repository: Repository) -> None:
    sha = repo.commit(
        {"a": "1"}, "Raise the limit\n\nBecause.", author="Ana Müller <ana@example.com>", at=1700000000
    )
    await world.check(repository)
    commit = world.git.commit(repository, sha)
    assert (commit.sha, commit.subject, commit.author) == (sha, "Raise the limit", "Ana Müller")
    assert commit.time == "2023-11-14T22:13:20Z"


async def test_a_file_url(world: World, repo: Repo) -> None:
    sha = repo.commit({"a": "1"})
    repository = at(f"file://{repo.path}")
    assert (await world.check(repository)).sha == sha
    assert world.read(repository, sha, "a") == b"1"
    assert (await world.fails(at(f"file://{repo.path}-not"))).reason is Reason.RepositoryNotFound


async def test_what_was_not_fetched_is_not_there(world: World, repo: Repo, repository: Repository) -> None:
    sha = repo.commit({"a": "1"})
    assert not world.git.has(repository, sha)
    for read in (world.git.tree, world.git.commit):
        with pytest.raises(Problem) as caught:
            read(repository, sha)
        assert caught.value.transient


async def test_other_credentials_do_not_see_what_was_fetched(
    world: World, repo: Repo, repository: Repository
) -> None:
    sha = repo.commit({"a": "1"})
    await world.check(repository)
    assert not world.git.has(at(repository.remote.url), sha)


async def test_many_sources_of_one_repository_at_once(
    world: World, repo: Repo, repository: Repository
) -> None:
    commits = {f"b{n}": repo.commit({"a": f"b{n}"}, branch=f"b{n}") for n in range(12)}
    found = await asyncio.gather(*(world.check(repository, GitRef(branch=name)) for name in commits))
    assert [each.sha for each in found] == list(commits.values())
    assert {world.read(repository, sha, "a").decode() for sha in commits.values()} == set(commits)
    assert len(world.pids()) == 1


async def test_a_restart_finds_what_was_fetched(
    make_world: MakeWorld, git_https: GitHttp, repo: Repo, repository: Repository
) -> None:
    repo.commit({"a": "1"})
    before = make_world()
    await before.check(repository)
    await before.git.close()
    fetches = git_https.fetches("app")
    after = make_world()
    selected = await after.check(repository)
    assert git_https.fetches("app") == fetches > 0
    assert after.read(repository, selected.sha, "a") == b"1"
