"""The processes that talk to servers: time limits, deaths, secrecy, and their end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.git.conftest import MAIN, TIMEOUT, MakeWorld, StartHttps, World, stall, trusting, with_secret
from tests.kit.cluster.pki import Authority
from tests.kit.servers.githttp import GitHttp

from setpoint.api.reasons import Problem, Reason
from setpoint.git.remotes import Repository

pytestmark = pytest.mark.asyncio

PATIENCE = 180.0
"""Seconds for what comes at once: a machine under load is slow, and a test that waits for ever says nothing."""


async def gone(pid: int) -> None:
    """Wait for the end of a child of ours."""
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        await asyncio.sleep(0.01)


async def test_a_silent_server_ends_with_the_timeout_and_its_child(
    world: World, git_https: GitHttp, authority: Authority
) -> None:
    git_https.repo("app").commit({"a": "1"})
    repository = trusting(git_https.url("app"), authority)
    await world.check(repository)
    (pid,) = world.pids()
    stall(git_https, "app")
    problem = await world.fails(repository, timeout=0.5)
    assert problem.reason is Reason.HostUnreachable
    assert "0.5 s" in problem.message
    await gone(pid)


async def test_a_hung_server_costs_no_other_anything(
    world: World, git_https: GitHttp, start_https: StartHttps, authority: Authority
) -> None:
    """Neither a repository on another origin, nor one on the same, nor an operation that was under way."""
    other = start_https("other", authority.server("other"))
    for server, name in ((git_https, "hung"), (git_https, "app"), (git_https, "slow"), (other, "app")):
        server.repo(name).commit({"a": "1"})
    await world.check(trusting(git_https.url("app"), authority))
    arrived = stall(git_https, "slow")
    stall(git_https, "hung")
    slow = asyncio.create_task(world.fails(trusting(git_https.url("slow"), authority), timeout=600.0))
    assert await asyncio.to_thread(arrived.wait, PATIENCE), "no request came"
    await world.check(trusting(other.url("app"), authority))
    await world.check(trusting(git_https.url("app"), authority))
    assert not slow.done()
    hung = await world.fails(trusting(git_https.url("hung"), authority), timeout=1.0)
    assert hung.reason is Reason.HostUnreachable
    assert not slow.done()
    await world.check(trusting(git_https.url("app"), authority))
    slow.cancel()
    await asyncio.wait([slow])


async def test_a_child_that_is_killed_in_the_middle_of_a_fetch(
    world: World, git_https: GitHttp, authority: Authority
) -> None:
    repo = git_https.repo("app")
    repo.commit({"a": "1"})
    repository = trusting(git_https.url("app"), authority)
    await world.check(repository)
    sha = repo.commit({"a": "2"})
    selected = await world.git.resolve(repository, MAIN, TIMEOUT)
    (lister,) = world.pids()
    arrived = stall(git_https, "app")
    fetching = asyncio.create_task(world.git.fetch(repository, MAIN, selected, TIMEOUT, submodules=False))
    assert await asyncio.to_thread(arrived.wait, PATIENCE), "no request came"
    (fetcher,) = set(world.pids()) - {lister}
    git_https._rules.clear()
    os.kill(fetcher, signal.SIGKILL)
    assert (await fetching).sha == sha, "the second child finishes what the first began"
    assert world.read(repository, sha, "a") == b"2"
    assert world.pids() == [lister]


async def test_a_child_that_always_dies_is_a_problem(
    world: World, git_https: GitHttp, authority: Authority
) -> None:
    git_https.repo("app").commit({"a": "1"})
    arrived = stall(git_https, "app")
    failing = asyncio.create_task(world.fails(trusting(git_https.url("app"), authority)))
    for _ in range(2):
        assert await asyncio.to_thread(arrived.wait, PATIENCE), "no request came"
        arrived.clear()
        for pid in world.pids():
            os.kill(pid, signal.SIGKILL)
    problem = await failing
    assert problem.reason is Reason.GitFailed
    assert "SIGKILL" in problem.message


async def test_a_child_that_died_gets_no_request_while_it_is_cleaned_up(
    world: World, git_https: GitHttp, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pipe may take longer to close than the next request takes to come: who waited for it waited for ever."""
    sha = git_https.repo("app").commit({"a": "1"})
    arrived, closed = stall(git_https, "app"), asyncio.Event()
    checking = asyncio.create_task(world.check(trusting(git_https.url("app"), authority)))
    assert await asyncio.to_thread(arrived.wait, PATIENCE), "no request came"
    assert world.git.fetching._children
    (child,) = world.git.fetching._children.all
    monkeypatch.setattr(child.process.writer, "wait_closed", closed.wait)
    del git_https._rules["app"]
    os.kill(child.process.pid, signal.SIGKILL)
    try:
        assert (await asyncio.wait_for(checking, PATIENCE / 6)).sha == sha
    finally:
        closed.set()


async def test_what_a_kill_leaves_behind_is_swept(
    world: World, git_https: GitHttp, authority: Authority
) -> None:
    repo = git_https.repo("app")
    repo.commit({"a": "1"})
    repository = trusting(git_https.url("app"), authority)
    await world.check(repository)
    mirror = world.git.fetching._mirror(repository)
    generation = mirror.current()
    assert generation is not None
    litter = [
        generation / "shallow.lock",
        generation / "FETCH_HEAD.lock",
        generation / "refs/setpoint/tip.lock",
        generation / "objects/pack/pack_git2_abc",
        generation / f"objects/pack/pack-{'0' * 40}.pack",
        mirror.path / "new-0123",
    ]
    for each in litter:
        each.parent.mkdir(parents=True, exist_ok=True)
        each.write_bytes(b"half")
    sha = repo.commit({"a": "2"})
    await world.check(repository)
    assert world.read(repository, sha, "a") == b"2"
    assert not [each for each in litter if each.exists()]


async def test_children_end_when_idle(
    make_world: MakeWorld, git_https: GitHttp, authority: Authority
) -> None:
    git_https.repo("app").commit({"a": "1"})
    world = make_world(idle=0.2)
    await world.check(trusting(git_https.url("app"), authority))
    for pid in world.pids():
        await gone(pid)
    await world.check(trusting(git_https.url("app"), authority))


async def test_closing_ends_children_at_work(world: World, git_https: GitHttp, authority: Authority) -> None:
    git_https.repo("app").commit({"a": "1"})
    arrived = stall(git_https, "app")
    failing = asyncio.create_task(world.fails(trusting(git_https.url("app"), authority)))
    assert await asyncio.to_thread(arrived.wait, PATIENCE), "no request came"
    pids = world.pids()
    await world.git.close()
    assert "stopping" in (await failing).message
    for pid in pids:
        await gone(pid)
    assert list((world.cache / "run").iterdir()) == []


PARENT = """
import asyncio, os, pathlib, sys
from tests.kit.gitboth import Git
from setpoint.api.hosts import HostRules
from setpoint.wall.messages import GitRef
from setpoint.git.remotes import Repository, parse_url
async def main():
    git = Git(pathlib.Path(sys.argv[1]), cache_limit=2**28, environ={}, hosts=HostRules(("127.0.0.0/8",)))
    asking = asyncio.create_task(git.resolve(Repository(parse_url(sys.argv[2])), GitRef(), 60))
    while git.fetching._children is None or not git.fetching._children.all: await asyncio.sleep(0.01)
    print(next(iter(git.fetching._children.all)).process.pid, flush=True)
    await asking
asyncio.run(main())
"""


async def test_children_end_with_a_parent_that_is_killed(tmp_path: Path, git_http: GitHttp) -> None:
    git_http.repo("app").commit({"a": "1"})
    arrived = stall(git_http, "app")
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, tmp_path / "cache", git_http.url("app")],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": "operator"},
    ) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        assert await asyncio.to_thread(arrived.wait, PATIENCE), "no request came"
        parent.kill()
    await gone(pid)


async def test_no_credential_is_in_a_command_line_an_environment_or_a_file(
    make_world: MakeWorld, git_https: GitHttp, authority: Authority
) -> None:
    git_https.repo("app").commit({"a": "1"})
    git_https.rules("app").basic("robot", "s3cr3t-value")
    world = make_world(environ={"TOKEN_OF_OPERATOR": "s3cr3t-env", "no_proxy": "x"})
    repository = with_secret(
        git_https.url("app"), username="robot", password="s3cr3t-value", ca_crt=authority.certificate
    )
    await world.check(repository)
    (pid,) = world.pids()
    process = Path(f"/proc/{pid}")
    assert b"s3cr3t" not in (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    assert b"no_proxy=x" in (process / "environ").read_bytes()
    files = [each for each in world.cache.rglob("*") if each.is_file()]
    assert files
    assert not [each for each in files if b"s3cr3t" in each.read_bytes() or b"robot" in each.read_bytes()]
    assert "s3cr3t" not in repr(repository)


async def test_the_childs_environment_holds_nothing_else(
    make_world: MakeWorld, git_https: GitHttp, authority: Authority
) -> None:
    git_https.repo("app").commit({"a": "1"})
    world = make_world(environ={"GIT_DIR": "/x", "LD_PRELOAD": "", "AWS_SECRET": "y", "HTTPS_PROXY": ""})
    await world.check(trusting(git_https.url("app"), authority))
    (pid,) = world.pids()
    lines = Path(f"/proc/{pid}/environ").read_text().split("\0")
    assert {line.partition("=")[0] for line in lines if line} == {
        "HOME",
        "LANG",
        "MALLOC_ARENA_MAX",
        "PYTHONPATH",
    }


async def test_a_cancelled_operation_leaves_others_alone(
    world: World, git_https: GitHttp, authority: Authority
) -> None:
    git_https.repo("app").commit({"a": "1"})
    git_https.repo("hung").commit({"a": "1"})
    arrived = stall(git_https, "hung")
    hung = asyncio.create_task(world.fails(trusting(git_https.url("hung"), authority)))
    assert await asyncio.to_thread(arrived.wait, PATIENCE), "no request came"
    hung.cancel()
    await asyncio.wait([hung])
    await world.check(trusting(git_https.url("app"), authority))


def of(namespace: str, server: GitHttp, name: str, authority: Authority, trusts: int) -> Repository:
    """Return a repository of a namespace with a trust set of that number, for which it takes a process of its own."""
    text = f"trust set {trusts}\n{authority.certificate.read_text()}"
    return replace(with_secret(server.url(name), ca_crt=text), namespace=namespace)


async def test_there_are_at_most_so_many_children_and_an_idle_one_ends_for_another(
    make_world: MakeWorld, git_https: GitHttp, authority: Authority
) -> None:
    """The one that is idle for longest, of the namespace that has most."""
    git_https.repo("app").commit({"a": "1"})
    world = make_world(children=3)

    async def asked(namespace: str, trusts: int) -> int:
        before = set(world.pids()) if world.git.fetching._children else set()
        await world.git.resolve(of(namespace, git_https, "app", authority, trusts), MAIN, TIMEOUT)
        (new,) = set(world.pids()) - before or {0}
        return new

    other, first, second = await asked("b", 1), await asked("a", 2), await asked("a", 3)
    assert await asked("a", 2) == 0, "it is there, and used again"
    third = await asked("c", 4)
    await gone(second)
    assert set(world.pids()) == {other, first, third}
    fourth = await asked("d", 2)
    assert fourth, "who trusts the same is of another namespace"
    await gone(other)
    assert set(world.pids()) == {first, third, fourth}


async def test_hung_servers_of_one_namespace_leave_others_a_child(
    make_world: MakeWorld, git_https: GitHttp, authority: Authority
) -> None:
    """Those wait for their turn without a timeout, and take what is free once it is."""
    for name in ("app", "hung", "later"):
        git_https.repo(name).commit({"a": "1"})
    world = make_world(children=3)
    arrived = stall(git_https, "hung")
    waiting = [
        asyncio.create_task(world.fails(of("a", git_https, "hung", authority, number), timeout=600.0))
        for number in range(40)
    ]
    assert await asyncio.to_thread(arrived.wait, PATIENCE), "no request came"
    for trusts in (50, 51):
        await world.check(of("b", git_https, "app", authority, trusts))
        assert len(world.pids()) <= 3 + 1, "one that has ended may not be forgotten yet"
    assert world.git.fetching._children
    slots = world.git.fetching._children._pool._slots
    assert slots.held_by("a") == 2
    assert slots.waiting() == {"a"}
    later = asyncio.create_task(world.check(of("a", git_https, "later", authority, 60)))
    assert not any(task.done() for task in waiting), "none was waited for to the end"
    for task in waiting:
        task.cancel()
    await later
    await asyncio.wait(waiting)
    assert slots.waiting() == frozenset()


async def test_who_waits_for_the_same_child_gets_it_together(
    make_world: MakeWorld, git_https: GitHttp, authority: Authority
) -> None:
    for name in ("app", "hung"):
        git_https.repo(name).commit({"a": "1"})
    world = make_world(children=2)
    arrived = stall(git_https, "hung")
    hung = []
    for namespace in "ab":
        arrived.clear()
        repository = of(namespace, git_https, "hung", authority, ord(namespace))
        hung.append(asyncio.create_task(world.fails(repository, timeout=600.0)))
        assert await asyncio.to_thread(arrived.wait, PATIENCE), "no request came"
    same = [asyncio.create_task(world.check(of("c", git_https, "app", authority, 1))) for _ in range(4)]
    while world.git.fetching._children is None or len(world.git.fetching._children._pool._asking) < len(same):
        await asyncio.sleep(0)
    hung[1].cancel()
    await asyncio.gather(*same)
    assert not hung[0].done()
    assert world.git.fetching._children._pool._slots.waiting() == frozenset()
    hung[0].cancel()
    await asyncio.wait(hung)


async def test_memory_of_a_child(world: World, git_https: GitHttp, authority: Authority) -> None:
    """The budget of the whole process tree is 250 MiB: a child may have 40 of them."""
    git_https.repo("app").commit({"a": "1"})
    await world.check(trusting(git_https.url("app"), authority))
    (pid,) = world.pids()
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kib = next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
    assert kib < 40 * 1024


async def test_problems_keep_their_reason_on_the_way(
    world: World, git_https: GitHttp, authority: Authority
) -> None:
    with pytest.raises(Problem) as caught:
        await world.git.resolve(trusting(git_https.url("nope"), authority), MAIN, TIMEOUT)
    assert caught.value.reason is Reason.RepositoryNotFound
    assert caught.value.transient
