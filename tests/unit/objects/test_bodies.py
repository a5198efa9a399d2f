"""Our own custom resources as they are stored."""

from __future__ import annotations

from typing import Any

import pytest

from setpoint.api.names import API_VERSION
from setpoint.api.reasons import Problem, Reason
from setpoint.objects import bodies
from setpoint.objects.identity import SyncKey


def stored(kind: str, **spec: Any) -> bodies.Body:
    metadata = {"name": "shop", "namespace": "team", "resourceVersion": "12"}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec, "status": {"a": 1}}


def test_models_are_read_from_bodies() -> None:
    source = bodies.source_model(stored("Source", url="https://git.example.org/shop.git"))
    assert source.spec.url == "https://git.example.org/shop.git"
    sync = bodies.sync_model(stored("Sync", source={"name": "shop"}, path="deploy"))
    assert sync.spec.path == "deploy"


def test_what_is_wrong_is_named_by_field_and_never_quoted() -> None:
    with pytest.raises(Problem) as one:
        bodies.source_model(stored("Source", url=["hunter2"]))
    with pytest.raises(Problem) as other:
        bodies.sync_model(stored("Sync", path=["hunter2"]))
    for problem, field in ((one.value, "spec.url"), (other.value, "spec.path")):
        assert problem.reason is Reason.InvalidSpec
        assert field in problem.message
        assert "hunter2" not in problem.message


def test_whom_a_body_refers_to() -> None:
    body = stored(
        "Sync", source={"name": "s"}, dependsOn=[{"name": "a"}, {"name": "b", "namespace": "other"}]
    )
    assert bodies.key_of(body) == SyncKey("team", "shop")
    assert bodies.version_of(body) == 12
    assert bodies.source_key(body) == SyncKey("team", "s")
    assert bodies.dependency_keys(body) == (SyncKey("team", "a"), SyncKey("other", "b"))
