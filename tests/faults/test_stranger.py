"""Another team's Git server is away when the operator restarts with an empty cache: it holds up nobody else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.e2e.conftest import World, config
from tests.e2e.test_sync import ready_at
from tests.faults.operators import Operator
from tests.faults.steps import url
from tests.kit.api import Api, Json, condition, is_ready
from tests.kit.cluster.local import LocalCluster
from tests.kit.servers.githttp import GitHttp
from tests.kit.servers.tcpproxy import TcpProxy

pytestmark = pytest.mark.cluster

BOTH = {"a.yaml": config("a", k="1"), "c.yaml": config("c", k="1")}


class Stranger(World):
    """A namespace with a repository of its own; its Sync is called `stranger`."""

    def begin(self, **sync: Any) -> None:
        self.repo.commit({"s/s.yaml": config("s", k="0")}, "First")
        self.repo.commit({"s/s.yaml": config("s", k="1"), "elsewhere/s.yaml": config("s", k="2")}, "Second")
        self.source()
        self.sync("stranger", path="s", **sync)


@pytest.fixture
def stranger(installed: LocalCluster, api: Api, git: GitHttp, operator: Operator) -> Iterator[Stranger]:
    del operator
    made = Stranger(installed, api, git)
    yield made
    rules = git.rules(made.namespace)
    rules.status = None
    made.remove()


def begin(world: World) -> str:
    """Bring two ConfigMaps to the cluster."""
    sha = world.repo.commit(BOTH, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    return sha


def restart(operator: Operator, *meanwhile: Callable[[], object]) -> None:
    """Start the operator anew, without what it had fetched; `meanwhile` happens while nobody looks."""
    operator.stop()
    operator.forget_cache()
    for each in meanwhile:
        each()
    operator.start()


def drop(world: World) -> str:
    """Commit that the second ConfigMap goes."""
    return world.repo.commit({"c.yaml": None}, "Drop c")


def pruned(world: World, sha: str) -> None:
    world.until("Sync", "app", ready_at(sha))
    assert world.seek("ConfigMap", "c") is None


def waits_for_a_stranger(sync: Json | None) -> bool:
    words = condition(sync).get("message", "")
    return "a Sync of another namespace" in words and "stranger" not in words


def message(world: World, name: str) -> str:
    return str(condition(world.api.get("Sync", world.namespace, name))["message"])


def answers(status: int | None) -> Callable[[Stranger], object]:
    def change(stranger: Stranger) -> None:
        stranger.git.rules(stranger.namespace).status = status

    return change


def suspended(stranger: Stranger) -> None:
    answers(503)(stranger)
    stranger.api.merge("Source", stranger.namespace, "src", {"spec": {"suspend": True}})


def rewritten(stranger: Stranger) -> None:
    """The Source is suspended, and the server does not have its commit any more."""
    stranger.repo.reset("refs/heads/main~1")
    stranger.api.merge("Source", stranger.namespace, "src", {"spec": {"suspend": True}})


@pytest.mark.parametrize(
    "away",
    [answers(503), answers(401), answers(404), suspended, rewritten],
    ids=["down", "token expired", "removed", "suspended", "commit lost"],
)
def test_what_left_git_goes(
    world: World, stranger: Stranger, operator: Operator, away: Callable[[Stranger], object]
) -> None:
    begin(world)
    stranger.begin()
    stranger.until("Sync", "stranger", is_ready)
    restart(operator, lambda: away(stranger))
    pruned(world, drop(world))
    assert stranger.get("ConfigMap", "s")["data"] == {"k": "1"}


def test_a_server_that_is_silent_holds_up_one_check_and_no_more(
    world: World, stranger: Stranger, operator: Operator, wire: TcpProxy
) -> None:
    begin(world)
    stranger.repo.commit({"s.yaml": config("s", k="1")}, "First")
    stranger.source(url=url(stranger, wire), timeout="20s")
    stranger.sync("stranger")
    stranger.until("Sync", "stranger", is_ready)
    restart(operator, lambda: setattr(wire, "silent", True))
    sha = drop(world)
    world.until("Sync", "app", waits_for_a_stranger)
    assert "is being fetched" not in message(world, "app"), "what ails another namespace is not told"
    told = stranger.announced("PruneWaiting", "stranger")
    assert "A Sync of another namespace" in told["message"]
    assert "is being fetched" in told["message"]
    assert world.namespace not in told["message"]
    pruned(world, sha)


def test_a_sync_and_its_namespace_go(world: World, stranger: Stranger, operator: Operator) -> None:
    begin(world)
    stranger.begin()
    stranger.until("Sync", "stranger", is_ready)
    restart(operator, lambda: answers(503)(stranger))
    world.api.delete("Sync", world.namespace, "app")
    world.until("Sync", "app", lambda o: o is None)
    assert world.seek("ConfigMap", "a") is None
    assert world.seek("ConfigMap", "c") is None
    for name in (world.target, world.namespace):
        world.api.delete("Namespace", None, name)
        world.api.until("Namespace", None, name, lambda o: o is None)


def test_what_the_stranger_waits_for_is_lent_and_not_deleted(
    world: World, stranger: Stranger, operator: Operator
) -> None:
    begin(world)
    before = world.get("ConfigMap", "c")
    stranger.repo.commit({"c.yaml": config("c", k="1")}, "I want c, too")
    stranger.source()
    stranger.sync("stranger", targetNamespace=world.target)
    stranger.until("Sync", "stranger", lambda o: condition(o).get("reason") == "Contested")
    assert stranger.status("stranger")["wants"][0]["names"] == ["c"]
    restart(operator, lambda: answers(503)(stranger))
    sha = drop(world)
    world.until("Sync", "app", lambda o: o["status"]["desired"]["revision"].endswith(sha))
    world.until("Sync", "app", lambda o: o["status"]["applied"]["revision"].endswith(sha))
    assert world.get("ConfigMap", "c")["metadata"]["uid"] == before["metadata"]["uid"]
    answers(None)(stranger)
    stranger.until("Sync", "stranger", is_ready)
    world.until("Sync", "app", ready_at(sha))
    assert world.get("ConfigMap", "c")["metadata"]["uid"] == before["metadata"]["uid"]
    assert "wants" not in stranger.status("stranger")


def moved(stranger: Stranger) -> Callable[[], object]:
    """The stranger's spec changes: what it asks for now is known to nobody."""

    def change() -> None:
        answers(503)(stranger)
        stranger.api.merge("Sync", stranger.namespace, "stranger", {"spec": {"path": "elsewhere"}})

    return change


def test_a_new_spec_is_waited_for_where_it_may_matter(
    world: World, stranger: Stranger, operator: Operator
) -> None:
    begin(world)
    stranger.begin()
    stranger.until("Sync", "stranger", is_ready)
    restart(operator, moved(stranger))
    sha = drop(world)
    world.until("Sync", "app", waits_for_a_stranger)
    assert condition(world.api.get("Sync", world.namespace, "app"))["reason"] == "PruneWaiting"
    assert "503" not in message(world, "app")
    stranger.until("Sync", "stranger", lambda o: "other Syncs delete nothing" in condition(o)["message"])
    assert world.get("ConfigMap", "c")
    answers(None)(stranger)
    stranger.until("Sync", "stranger", is_ready)
    pruned(world, sha)


def test_who_may_not_write_an_object_is_not_waited_for(
    world: World, stranger: Stranger, operator: Operator
) -> None:
    begin(world)
    stranger.account("weak", None)
    stranger.api.create(
        "RoleBinding",
        stranger.target,
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "weak"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"},
            "subjects": [{"kind": "ServiceAccount", "namespace": stranger.namespace, "name": "weak"}],
        },
    )
    stranger.begin(serviceAccountName="weak")
    stranger.until("Sync", "stranger", is_ready)
    restart(operator, moved(stranger))
    pruned(world, drop(world))
