"""What a child that was taken over gets at: in its place runs a program that tries all that it should not.

The children are the real ones, started and fenced by the real code; only what they do with a request is exchanged.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.git.conftest import MAIN, TIMEOUT, MakeWorld, World, trusting
from tests.kit.cluster.pki import Authority
from tests.kit.fenced import ALONE, ATTEMPTS
from tests.kit.servers.githttp import GitHttp

from setpoint.api.reasons import Problem, Reason
from setpoint.fences import kernel
from setpoint.fences.policy import NO_LANDLOCK, Policy
from setpoint.git import workers
from setpoint.git.mirror import Mirror
from setpoint.git.refs import Selected

TAKEN_OVER = (
    ATTEMPTS
    + """
import json, sys
from setpoint.api.reasons import Problem, Reason
from setpoint.fences import launcher
from setpoint.git.worker import main
def listing(home, request):
    raise Problem(Reason.GitFailed, attack(home, None))
def fetching(home, request):
    raise Problem(Reason.GitFailed, attack(home, request["mirror"]))
def attack(home, mirror):
    paths = json.loads(PATHS) | {"home": str(home)} | ({"its own": mirror} if mirror else {})
    return json.dumps(attempts(paths, ABSTRACT))
main._OPERATIONS |= {"list": listing, "fetch": fetching}
launcher.main(int(sys.argv[1]), int(sys.argv[2]), main.become)
"""
)
NETWORK = dict.fromkeys(("AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK", "socketpair"), "done")


@pytest.fixture
def abstract(tmp_path: Path) -> Iterator[str]:
    """Listen on an abstract socket, as somebody else on the machine may."""
    name = f"\0{tmp_path}"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(name)
        listening.listen()
        yield name


async def test_a_git_process_that_was_taken_over(
    world: World,
    git_https: GitHttp,
    authority: Authority,
    tmp_path: Path,
    abstract: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A lister has no mirror, a fetcher its own; neither has the token, another process, or one more."""
    git_https.repo("other").commit({"a": "1"})
    other = trusting(git_https.url("other"), authority)
    await world.check(other)
    mirror = world.git.fetching._mirror(other).path
    await world.git.close()
    (token := tmp_path / "token").write_text("secret")
    elsewhere = {
        "mirror": str(mirror),
        "file of a mirror": str(mirror / "current"),
        "lock of a mirror": str(Mirror(mirror).lock),
        "mirrors": str(mirror.parent),
        "key": str(world.cache / "key"),
        "token": str(token),
        "passwd": "/etc/passwd",
        "of the machine": "/etc",
        "process": f"/proc/{os.getpid()}/environ",
        "itself": "/proc/self/maps",
    }
    (program := tmp_path / "taken_over.py").write_text(
        TAKEN_OVER.replace("PATHS", repr(json.dumps(elsewhere))).replace("ABSTRACT", repr(abstract))
    )
    monkeypatch.setattr(workers, "LAUNCHER", ("-P", "-s", str(program)))
    app = trusting(git_https.url("app"), authority)
    with pytest.raises(Problem) as listed:
        await world.git.resolve(app, MAIN, TIMEOUT)
    selected = Selected("refs/heads/main", "0" * 40, "")
    with pytest.raises(Problem) as fetched:
        await world.git.fetch(app, MAIN, selected, TIMEOUT, submodules=False)
    scoped = kernel.landlock_abi() >= 6
    for report, kept in ((listed, {"home"}), (fetched, {"home", "its own"})):
        found = json.loads(report.value.message)
        assert {found.pop(f"{verb} {name}") for verb in ("read", "write") for name in kept} == {"done"}
        assert found.pop("link home") == "done"
        # A symlink in a mirror would lead whoever reads it to elsewhere.
        assert found.pop("link its own", "EACCES") == "EACCES"
        assert {name: code for name in elsewhere if (code := found.pop(f"read {name}")) != "EACCES"} == {}
        for name in elsewhere:
            assert {found.pop(f"{verb} {name}") for verb in ("write", "link")} <= {
                "EACCES",
                "ENOTDIR",
                "EEXIST",
            }
        assert (found.pop("abstract") == "EPERM") == scoped
        del found["mode"]  # no right of Landlock, and libgit2 needs the call
        assert found == NETWORK | ALONE


async def test_a_namespace_has_processes_of_its_own(
    world: World, git_https: GitHttp, authority: Authority
) -> None:
    """So none sees the logins of two."""
    git_https.repo("app").commit({"a": "1"})
    repository = trusting(git_https.url("app"), authority)
    for namespace in ("a", "b", "a"):
        await world.check(replace(repository, namespace=namespace))
    assert len(world.pids()) == 2
    assert world.git.fetching._children
    assert {child.namespace for child in world.git.fetching._children.all if not child.retired} == {"a", "b"}


async def test_the_oldest_landlock_suffices(
    make_world: MakeWorld, git_https: GitHttp, authority: Authority
) -> None:
    """A mirror is made, added to, and made anew: no file is moved between folders, which ABI 1 refuses."""
    repo = git_https.repo("app")
    repo.commit({"a": "1"})
    world = make_world(policy=Policy(newest=1), limit=2**20)
    repository = trusting(git_https.url("app"), authority)
    await world.check(repository)
    first = world.git.fetching._mirror(repository).current()
    for number in range(3):
        sha = repo.commit({"b": os.urandom(300 * 2**10).hex(), "number": str(number)})
        await world.check(repository)
        assert world.read(repository, sha, "number") == str(number).encode()
    assert world.git.fetching._mirror(repository).current() != first


async def test_without_landlock_no_git_process_starts_unless_that_is_wanted(
    make_world: MakeWorld, git_https: GitHttp, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    git_https.repo("app").commit({"a": "1"})
    repository = trusting(git_https.url("app"), authority)
    monkeypatch.setattr(kernel, "landlock_abi", lambda: 0)
    problem = await make_world().fails(repository)
    assert problem.reason is Reason.GitFailed
    assert NO_LANDLOCK in problem.message
    await make_world(policy=Policy(required=False, newest=0)).check(repository)


async def test_a_child_whose_ground_was_taken_away_is_replaced(
    world: World, git_https: GitHttp, authority: Authority
) -> None:
    """Its home, and its mirror: Landlock knows what was there, not what was made again under the same name."""
    repo = git_https.repo("app")
    repo.commit({"a": "1"})
    repository = trusting(git_https.url("app"), authority)
    await world.check(repository)
    assert world.git.fetching._children
    (lister,) = [child for child in world.git.fetching._children.all if not child.retired]
    lister.home.rename(lister.home.with_name("gone"))
    lister.home.mkdir()
    sha = repo.commit({"a": "2"})
    selected: Selected = await world.check(repository)
    assert selected.sha == sha
    assert lister.process.pid not in world.pids()
