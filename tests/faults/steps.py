"""What these tests do again and again."""

from __future__ import annotations

from typing import Any

from tests.e2e.conftest import World, config
from tests.e2e.test_sync import ready_at
from tests.kit.api import SECONDS, Json
from tests.kit.servers.tcpproxy import TcpProxy


def url(world: World, wire: TcpProxy) -> str:
    """Return the URL of a world's repository behind a proxy."""
    return f"http://127.0.0.1:{wire.port}/{world.namespace}.git"


def ready(world: World, **source: Any) -> str:
    """Bring a first commit to the cluster; returns its id."""
    sha = world.repo.commit({"a.yaml": config("a", k="1")}, "First")
    world.source(**source)
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    return sha


def commit(world: World, value: str) -> str:
    """Commit another value of the ConfigMap, and one more ConfigMap."""
    files = {"a.yaml": config("a", k=value), "b.yaml": config("b", k=value)}
    return world.repo.commit(files, f"Value {value}")


def converged(world: World, sha: str, value: str, seconds: float = SECONDS) -> Json:
    """Wait until a commit of `commit` is what the cluster holds, and nothing else."""
    sync = world.until("Sync", "app", ready_at(sha), seconds=seconds)
    for name in ("a", "b"):
        found = world.get("ConfigMap", name)
        assert found["data"] == {"k": value}
    (group,) = sync["status"]["inventory"]
    assert (group["kind"], group["names"]) == ("ConfigMap", ["a", "b"])
    return sync


def drift(world: World, value: str = "by hand") -> None:
    """Change the ConfigMap by hand."""
    world.api.merge("ConfigMap", world.target, "a", {"data": {"k": value}})


def corrected(world: World, value: str = "1", seconds: float = SECONDS) -> None:
    """Wait until the ConfigMap is as committed."""
    world.until("ConfigMap", "a", lambda o: o and o["data"] == {"k": value}, seconds=seconds)


def enforced(world: World, value: str = "1", seconds: float = SECONDS) -> None:
    """Change the ConfigMap by hand, and see it put back."""
    drift(world)
    corrected(world, value, seconds)
