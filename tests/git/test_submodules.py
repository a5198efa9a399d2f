"""Submodules: pinned commits, relative URLs, nesting, and where credentials do not go."""

from __future__ import annotations

import pytest
from tests.git.conftest import MAIN, TIMEOUT, World, paths, trusting, with_secret
from tests.kit.cluster.pki import Authority
from tests.kit.servers.githttp import GitHttp
from tests.kit.servers.repo import Entry, Submodule

from setpoint.api.reasons import Problem, Reason
from setpoint.tree.protocol import EntryKind

pytestmark = pytest.mark.asyncio


def modules(**urls: str) -> str:
    """Write a .gitmodules; the keyword is name and path."""
    return "".join(f'[submodule "{name}"]\n\tpath = {name}\n\turl = {url}\n' for name, url in urls.items())


async def test_a_submodule_shows_as_a_folder(world: World, git_https: GitHttp, authority: Authority) -> None:
    library = git_https.repo("team/library")
    pinned = library.commit({"base/a.yaml": "pinned", "z": "1"})
    library.commit({"base/a.yaml": "later"})
    app = git_https.repo("team/app")
    sha = app.commit({".gitmodules": modules(lib="../library.git"), "lib": Submodule(pinned), "own": "x"})
    repository = trusting(git_https.url("team/app"), authority)
    await world.check(repository, submodules=True)
    tree = world.git.tree(repository, sha, submodules=True)
    assert paths(tree) == [".gitmodules", "lib/base/a.yaml", "lib/z", "own"]
    assert tree.read("lib/base/a.yaml") == b"pinned"
    entry = tree.entry("lib")
    assert entry is not None
    assert (entry.kind, entry.oid) == (EntryKind.TREE, library.git("rev-parse", f"{pinned}^{{tree}}"))


async def test_without_submodules_nothing_of_them_is_fetched(
    world: World, git_https: GitHttp, authority: Authority
) -> None:
    pinned = git_https.repo("library").commit({"a": "1"})
    sha = git_https.repo("app").commit(
        {".gitmodules": modules(lib="../library.git"), "lib": Submodule(pinned)}
    )
    repository = trusting(git_https.url("app"), authority)
    await world.check(repository)
    entry = world.git.tree(repository, sha).entry("lib")
    assert entry is not None
    assert entry.kind is EntryKind.SUBMODULE
    assert git_https.ref_listings("library") == 0
    assert not world.git.has(repository, sha, submodules=True)
    await world.check(repository, submodules=True)
    assert world.read(repository, sha, "lib/a", submodules=True) == b"1"


async def test_submodules_of_submodules(world: World, git_https: GitHttp, authority: Authority) -> None:
    inner = git_https.repo("inner").commit({"x.yaml": "inner"})
    middle = git_https.repo("middle").commit(
        {".gitmodules": modules(deep="../inner.git"), "deep": Submodule(inner), "m": "middle"}
    )
    sha = git_https.repo("app").commit(
        {".gitmodules": modules(mid=git_https.url("middle")), "mid": Submodule(middle)}
    )
    repository = trusting(git_https.url("app"), authority)
    await world.check(repository, submodules=True)
    tree = world.git.tree(repository, sha, submodules=True)
    assert paths(tree) == [".gitmodules", "mid/.gitmodules", "mid/deep/x.yaml", "mid/m"]
    assert tree.read("mid/deep/x.yaml") == b"inner"


async def test_credentials_go_to_the_same_origin_only(
    world: World, git_https: GitHttp, git_http: GitHttp, authority: Authority
) -> None:
    pinned = git_https.repo("private").commit({"a": "1"})
    elsewhere = git_http.repo("elsewhere").commit({"b": "2"})
    sha = git_https.repo("app").commit(
        {
            ".gitmodules": modules(near="../private.git", far=git_http.url("elsewhere")),
            "near": Submodule(pinned),
            "far": Submodule(elsewhere),
        }
    )
    for name in ("app", "private"):
        git_https.rules(name).basic("u", "p")
    repository = with_secret(git_https.url("app"), username="u", password="p", ca_crt=authority.certificate)
    await world.check(repository, submodules=True)
    tree = world.git.tree(repository, sha, submodules=True)
    assert (tree.read("near/a"), tree.read("far/b")) == (b"1", b"2")
    assert {request.authorization for request in git_http.requests} == {None}


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("../absent.git", Reason.RepositoryNotFound),
        ("../../../../elsewhere.git", Reason.InvalidSpec),
        ("ftp://host/x", Reason.InvalidSpec),
        ("file:///etc", Reason.InvalidSpec),
    ],
)
async def test_a_broken_submodule_is_named(
    world: World, git_https: GitHttp, authority: Authority, url: str, reason: Reason
) -> None:
    git_https.repo("app").commit({".gitmodules": modules(lib=url), "lib": Submodule("1" * 40)})
    problem = await world.fails(trusting(git_https.url("app"), authority), submodules=True)
    assert problem.reason is reason
    assert "submodule lib" in problem.message


async def test_a_pinned_commit_that_is_gone(world: World, git_https: GitHttp, authority: Authority) -> None:
    git_https.repo("library").commit({"a": "1"})
    git_https.repo("app").commit({".gitmodules": modules(lib="../library.git"), "lib": Submodule("1" * 40)})
    problem = await world.fails(trusting(git_https.url("app"), authority), submodules=True)
    assert problem.reason is Reason.RefNotFound
    assert "submodule lib" in problem.message


async def test_a_link_that_gitmodules_does_not_name_stays_one(
    world: World, git_https: GitHttp, authority: Authority
) -> None:
    sha = git_https.repo("app").commit({"lib": Submodule("1" * 40), "a": "1"})
    repository = trusting(git_https.url("app"), authority)
    await world.check(repository, submodules=True)
    entry = world.git.tree(repository, sha, submodules=True).entry("lib")
    assert entry is not None
    assert entry.kind is EntryKind.SUBMODULE


async def test_a_repository_that_is_its_own_submodule_ends(
    world: World, git_https: GitHttp, authority: Authority
) -> None:
    """Each commit pins the one before: a chain, which is followed to a limit."""
    repo = git_https.repo("app", any_sha=True)
    sha = repo.commit({"a": "0"})
    for n in range(12):
        files: dict[str, Entry] = {
            ".gitmodules": modules(self="../app.git"),
            "self": Submodule(sha),
            "a": str(n),
        }
        sha = repo.commit(files)
    problem = await world.fails(trusting(git_https.url("app"), authority), submodules=True)
    assert problem.reason is Reason.GitFailed
    assert "nested too deeply" in problem.message


async def test_a_commit_that_changes_the_pin(world: World, git_https: GitHttp, authority: Authority) -> None:
    library, app = git_https.repo("library"), git_https.repo("app")
    first = library.commit({"a": "1"})
    app.commit({".gitmodules": modules(lib="../library.git"), "lib": Submodule(first)})
    repository = trusting(git_https.url("app"), authority)
    old = await world.check(repository, submodules=True)
    second = library.commit({"a": "2"})
    new = app.commit({"lib": Submodule(second)})
    await world.check(repository, submodules=True)
    assert world.read(repository, new, "lib/a", submodules=True) == b"2"
    assert world.read(repository, old.sha, "lib/a", submodules=True) == b"1"


async def test_a_submodules_time_counts(world: World, git_https: GitHttp, authority: Authority) -> None:
    pinned = git_https.repo("library").commit({"a": "1"})
    git_https.repo("app").commit({".gitmodules": modules(lib="../library.git"), "lib": Submodule(pinned)})
    repository = trusting(git_https.url("app"), authority)
    selected = await world.git.resolve(repository, MAIN, TIMEOUT)
    git_https.rules("library").delay = 3600.0
    with pytest.raises(Problem) as caught:
        await world.git.fetch(repository, MAIN, selected, 2.0, submodules=True)
    assert caught.value.reason is Reason.HostUnreachable
    assert "2 s" in caught.value.message
