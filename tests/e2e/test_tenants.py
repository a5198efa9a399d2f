"""Two tenants of one operator: what one of them writes reads nothing of the operator, and nothing of the other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.cluster.base import Cluster
from tests.e2e.api import Api, condition, is_ready
from tests.e2e.conftest import World, config
from tests.e2e.test_sync import ready_at
from tests.servers.githttp import GitHttp

pytestmark = pytest.mark.cluster

SPELLINGS = {
    "twins": "configMapGenerator: [{name: stolen, Files: [../ok.txt], files: [t=/proc/self/status]}]",
    "a long s": "configMapGenerator: [{name: stolen, file\u017f: [t=/proc/self/status]}]",
}


@pytest.fixture
def other(installed: Cluster, api: Api, git: GitHttp) -> Iterator[World]:
    made = World(installed, api, git)
    yield made
    made.remove()


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_kustomization_reads_no_file_of_the_operator(world: World, other: World, spelling: str) -> None:
    sha = other.repo.commit({"a.yaml": config("a", k="1")}, "Peaceful")
    other.source()
    other.sync()
    other.until("Sync", "app", ready_at(sha))
    world.repo.commit({"ok.txt": "fine", "k/kustomization.yaml": SPELLINGS[spelling]}, "Hostile")
    world.source()
    world.sync(path="k")
    found = world.until("Sync", "app", lambda o: condition(o).get("reason") == "RenderFailed")
    assert "k/kustomization.yaml:1" in condition(found)["message"]
    assert "file" in condition(found)["message"]
    maps = world.api.list("ConfigMap", world.target)
    assert not [m for m in maps if m["metadata"]["name"].startswith("stolen")]
    again = other.repo.commit({"a.yaml": config("a", k="2")}, "Still at peace")
    other.until("Sync", "app", ready_at(again))
    assert is_ready(other.api.get("Sync", other.namespace, "app"))
