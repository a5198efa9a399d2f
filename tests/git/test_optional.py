"""What Git servers may lack, and what repositories may be: it works without, or the message says what to do."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.git.conftest import MakeWorld, World, trusting, with_secret
from tests.kit.cluster.pki import Authority
from tests.kit.servers.githttp import GitHttp
from tests.kit.servers.gitssh import GitSsh
from tests.kit.servers.repo import Repo

from setpoint.api.reasons import Reason
from setpoint.wall.messages import GitRef

pytestmark = pytest.mark.asyncio
SHALLOW = ("shallow", "deepen-since", "deepen-not", "deepen-relative")
SHA_IN_WANT = ("allow-tip-sha1-in-want", "allow-reachable-sha1-in-want")


def lacking(server: GitHttp, *capabilities: str) -> Repo:
    """Return a repository whose server lacks these capabilities."""
    server.rules("app").lacks = capabilities
    return server.repo("app")


async def test_a_server_without_shallow_gives_the_whole_history(
    world: World, git_https: GitHttp, authority: Authority
) -> None:
    repo, repository = lacking(git_https, *SHALLOW), trusting(git_https.url("app"), authority)
    for n in range(3):
        repo.commit({"a.yaml": f"n: {n}\n"})
    selected = await world.check(repository)
    assert world.read(repository, selected.sha, "a.yaml") == b"n: 2\n"
    new = repo.commit({"a.yaml": "n: new\n"})
    assert (await world.check(repository)).sha == new
    assert world.read(repository, new, "a.yaml") == b"n: new\n"


async def test_a_pinned_commit_of_a_server_without_shallow(
    world: World, git_https: GitHttp, authority: Authority
) -> None:
    repo, repository = lacking(git_https, *SHALLOW, *SHA_IN_WANT), trusting(git_https.url("app"), authority)
    old = repo.commit({"a.yaml": "old"})
    for n in range(3):
        repo.commit({"a.yaml": f"n: {n}\n"})
    selected = await world.check(repository, GitRef(branch="main", commit=old))
    assert selected.sha == old
    assert world.read(repository, old, "a.yaml") == b"old"


async def test_a_history_that_does_not_fit_into_the_cache_is_not_fetched_whole(
    make_world: MakeWorld, git_https: GitHttp, authority: Authority
) -> None:
    repo, repository = lacking(git_https, *SHALLOW), trusting(git_https.url("app"), authority)
    repo.commit({"big": "".join(f"{n * 7919 % 1000003:x}" for n in range(2_000_000))})
    repo.commit({"big": "small"})
    problem = await make_world(limit=2**20).fails(repository)
    assert problem.reason is Reason.CacheFull
    assert "shallow" in problem.message


async def test_a_server_that_gives_no_commit_by_its_id(
    world: World, git_https: GitHttp, authority: Authority
) -> None:
    repo, repository = lacking(git_https, *SHA_IN_WANT), trusting(git_https.url("app"), authority)
    old = repo.commit({"a.yaml": "old"})
    for n in range(40):
        repo.commit({"a.yaml": f"n: {n}\n"})
    selected = await world.check(repository, GitRef(branch="main", commit=old))
    assert world.read(repository, selected.sha, "a.yaml") == b"old"


def sha256(path: Path, *, empty: bool = False) -> None:
    """Make a bare repository in SHA-256 format, or push a first commit to one that is empty."""

    def git(*arguments: str, cwd: Path = path) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        subprocess.run(["git", *who, *arguments], cwd=cwd, check=True, capture_output=True)

    if not path.exists():
        git("init", "--bare", "--object-format=sha256", "--initial-branch=main", str(path), cwd=path.parent)
    if not empty:
        work = path.parent / "work"
        git("init", "--object-format=sha256", "--initial-branch=main", str(work), cwd=path.parent)
        git("commit", "--allow-empty", "--message=first", cwd=work)
        git("push", str(path), "main", cwd=work)


async def test_a_repository_in_sha256_format_is_named_and_not_tried_again_by_itself(
    world: World, git_https: GitHttp, authority: Authority
) -> None:
    repository = trusting(git_https.url("app"), authority)
    sha256(git_https.root / "app.git", empty=True)
    assert (await world.fails(repository)).reason is Reason.RepositoryEmpty, "its server does not tell more"
    sha256(git_https.root / "app.git")
    problem = await world.fails(repository)
    assert problem.reason is Reason.RepositoryUnsupported
    assert git_https.url("app") in problem.message
    assert "SHA-256" in problem.message
    assert not problem.transient


async def test_a_repository_in_sha256_format_over_ssh(world: World, git_ssh: GitSsh) -> None:
    sha256(git_ssh.root / "app.git")
    remote = with_secret(git_ssh.url("app"), identity=git_ssh.identity, known_hosts=git_ssh.known_hosts)
    problem = await world.fails(remote)
    assert problem.reason is Reason.RepositoryUnsupported
