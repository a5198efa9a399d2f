"""Two tenants of one operator: what hangs for one (Git servers, builds, the API server's answers) costs the other nothing.

"Nothing" is told by the order of events: the other's commit is applied before anything that hangs came to its end.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.conftest import World, config
from tests.e2e.test_sync import ready_at
from tests.faults.operators import Operator
from tests.faults.steps import commit, converged, ready
from tests.git.conftest import stall
from tests.kit.api import SECONDS, Api, is_ready, says
from tests.kit.cluster.base import Cluster
from tests.kit.cluster.binaries import ensure
from tests.kit.cluster.processes import until
from tests.kit.fenced import PYTHON
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.apirules import Hold
from tests.kit.servers.githttp import GitHttp

pytestmark = pytest.mark.cluster

FEW, MANY = 4, 40
BUSY = 24
"""More Syncs than there are workers."""
HANGS = """#!{python} -IS
import os, sys, time
if any("hangs" in names for _, _, names in os.walk(".")):
    time.sleep(3600)
os.execv({kustomize!r}, sys.argv)
"""


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    program: Path = tmp_path_factory.mktemp("bin") / "kustomize"
    program.write_text(HANGS.format(python=sys.executable, kustomize=str(ensure("kustomize")["kustomize"])))
    program.chmod(0o755)
    return {
        "SETPOINT_KUSTOMIZE": str(program),
        "SETPOINT_RENDER_LIBRARIES": " ".join((*PYTHON, str(ensure("kustomize")["kustomize"]))),
        "SETPOINT_RENDER_TIMEOUT": "10m",
    }


@pytest.fixture
def hostile(installed: Cluster, api: Api, git: GitHttp, operator: Operator) -> Iterator[World]:
    assert operator.running
    made = World(installed, api, git)
    yield made
    made.remove()


def queued(operator: Operator, queue: str, count: int) -> None:
    """Wait until so many keys wait for a worker."""
    until(
        lambda: operator.metric("setpoint_queue_depth", queue=queue) >= count, f"{count} in {queue}", SECONDS
    )


def test_silent_git_servers(world: World, hostile: World, git: GitHttp, operator: Operator) -> None:
    ready(world)
    names = [f"{hostile.namespace}-{number}" for number in range(MANY)]
    silent = {name: stall(git, name) for name in names}
    for value, hung in (("2", names[:FEW]), ("3", names[FEW:])):
        for name in hung:
            hostile.source(name, url=git.url(name), timeout="10m")
        for name in names[:FEW]:
            assert silent[name].wait(SECONDS), "no request came"
        queued(operator, "source", len(hung) - FEW)
        converged(world, commit(world, value), value)
    sources = hostile.api.list("Source", hostile.namespace)
    assert len(sources) == MANY
    assert not [each for each in sources if "status" in each], "none was waited for to the end"


def test_an_api_server_that_is_slow_for_one(
    world: World, hostile: World, proxy: ApiProxy, operator: Operator
) -> None:
    ready(world)
    hostile.repo.commit({f"{number}/a.yaml": config(f"a{number}") for number in range(BUSY)}, "First")
    hostile.source()
    hold = Hold()
    with proxy.on(lambda request: hostile.namespace in request.impersonate_user, hold):
        for number in range(BUSY):
            hostile.sync(f"slow-{number}", path=str(number))
        assert hold.arrived.wait(SECONDS), "no request came"
        queued(operator, "sync", BUSY - 16)
        converged(world, commit(world, "2"), "2")
        asked = [each for each in proxy.requests if hostile.namespace in each.impersonate_user]
        assert asked
        assert not [each for each in asked if each.ended], "none was waited for to the end"
        hold.release()
    for number in range(BUSY):
        hostile.until("Sync", f"slow-{number}", is_ready)


def test_builds_that_hang(world: World, hostile: World, operator: Operator) -> None:
    files = {"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": config("a", k="1")}
    sha = world.repo.commit(files, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    generator = "configMapGenerator: [{name: g, files: [hangs]}]\n"
    paths = [str(number) for number in range(BUSY)]
    hostile.repo.commit(
        {
            f"{path}/{name}": text
            for path in paths
            for name, text in (("kustomization.yaml", generator), ("hangs", path))
        },
        "Hangs",
    )
    hostile.source()
    for path in paths:
        hostile.sync(f"hangs-{path}", path=path)
    queued(operator, "sync", BUSY - 16)
    sha = world.repo.commit({"a.yaml": config("a", k="2")}, "Goes on")
    world.until("Sync", "app", ready_at(sha))
    assert world.get("ConfigMap", "a")["data"] == {"k": "2"}
    syncs = hostile.api.list("Sync", hostile.namespace)
    assert len(syncs) == BUSY
    assert not [each for each in syncs if says("RenderFailed")(each)], "none was waited for to the end"
