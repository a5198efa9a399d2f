"""Git servers that are down, slow, unwell, or send half a pack: the Source says so, and the commit before stays."""

from __future__ import annotations

import os

import pytest
from tests.e2e.conftest import World, config
from tests.faults.operators import Operator
from tests.faults.steps import commit, converged, enforced, ready, url
from tests.git.conftest import stall
from tests.kit import proctree
from tests.kit.api import SECONDS, condition, is_ready, says
from tests.kit.cluster.processes import until
from tests.kit.servers.githttp import GitHttp
from tests.kit.servers.tcpproxy import TcpProxy

pytestmark = pytest.mark.cluster


def stays(world: World, reason: str, word: str = "") -> None:
    """Wait until the Source says it; the Sync is Ready nevertheless, and held."""
    source = world.until("Source", "src", says(reason, word))
    assert "stays enforced" in condition(source)["message"]
    assert is_ready(world.api.get("Sync", world.namespace, "app"))
    enforced(world)


def test_down(world: World, wire: TcpProxy) -> None:
    ready(world, url=url(world, wire))
    wire.down()
    sha = commit(world, "2")
    stays(world, "HostUnreachable", "refused")
    wire.up()
    converged(world, sha, "2")


def test_silent(world: World, wire: TcpProxy) -> None:
    ready(world, url=url(world, wire), timeout="3s")
    wire.silent = True
    sha = commit(world, "2")
    stays(world, "HostUnreachable", "within 3 s")
    wire.silent = False
    converged(world, sha, "2")


def test_a_silent_server_holds_neither_a_new_spec_nor_a_deletion(
    world: World, git: GitHttp, operator: Operator
) -> None:
    """What waits for it is given up, and its process ends, long before the timeout."""
    ready(world, timeout="10m")
    arrived = stall(git, world.namespace)
    assert arrived.wait(SECONDS), "the server was asked"
    workers = operator.git_processes()
    other = f"{world.namespace}-other"
    sha = git.repo(other).commit({"a.yaml": config("a", k="2"), "b.yaml": config("b", k="2")}, "Other")
    world.source(url=git.url(other), timeout="10m")
    converged(world, sha, "2")
    until(lambda: not workers & operator.git_processes(), "the end of the process that waited", SECONDS)
    arrived = stall(git, other)
    assert arrived.wait(SECONDS), "the server was asked"
    workers = operator.git_processes()
    assert workers
    world.api.delete("Source", world.namespace, "src")
    until(lambda: not workers & operator.git_processes(), "the end of the process that waited", SECONDS)


def test_the_operator_has_nothing_loaded_that_reads_commits(world: World, operator: Operator) -> None:
    """Nor has its worker, but for those below: the kernel says it of the processes, and contracts of imports of the code."""
    ready(world)
    [worker] = operator.workers()
    assert operator.pid
    for pid in (operator.pid, worker):
        assert "pygit2" not in proctree.text(pid, "maps")
    below = [proctree.text(pid, "maps") for pid in proctree.descendants(worker)]
    assert any("pygit2" in each for each in below)


@pytest.mark.parametrize(
    ("status", "reason"), [(500, "GitFailed"), (503, "HostUnreachable"), (429, "GitFailed")]
)
def test_unwell(world: World, git: GitHttp, status: int, reason: str) -> None:
    ready(world)
    git.rules(world.namespace).status = status
    sha = commit(world, "2")
    stays(world, reason, str(status))
    git.rules(world.namespace).status = None
    converged(world, sha, "2")


def test_half_a_pack(world: World, wire: TcpProxy) -> None:
    ready(world, url=url(world, wire))
    wire.cut_after = 50_000
    world.repo.commit({"large.bin": os.urandom(400_000)}, "Large")
    commit(world, "2")
    source = world.until("Source", "src", lambda o: condition(o).get("status") == "False")
    assert "stays enforced" in condition(source)["message"]
    enforced(world)
    assert wire.cuts > 0
    assert world.get("ConfigMap", "a")["data"] == {"k": "1"}
    # Before the wire is whole: else the large one may be applied first, of which this one changes nothing but the rest.
    sha = world.repo.commit({"large.bin": None, "a.yaml": config("a", k="2")}, "Small again")
    wire.cut_after = None
    converged(world, sha, "2")
