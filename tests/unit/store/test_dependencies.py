"""Whom a Sync waits for."""

from __future__ import annotations

from typing import Any

import pytest

from setpoint.objects.bodies import Body
from setpoint.objects.identity import SyncKey
from setpoint.store.dependencies import upstream, waits_for

Bodies = dict[SyncKey, Body]


def body(name: str, *needs: str, ready: str | None = "True", message: str = "") -> tuple[SyncKey, Body]:
    status: dict[str, Any] = {}
    if ready is not None:
        status["conditions"] = [{"type": "Ready", "status": ready, "reason": "R", "message": message}]
    spec = {"dependsOn": [{"name": n} for n in needs]}
    return key(name), {"metadata": {"namespace": "team", "name": name}, "spec": spec, "status": status}


def key(name: str) -> SyncKey:
    return SyncKey("team", name)


def bodies(*items: tuple[SyncKey, Body]) -> Bodies:
    return dict(items)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (bodies(body("app", "db"), body("db")), None),
        (bodies(body("app")), None),
        (bodies(body("app", "db")), "Sync team/db does not exist"),
        (bodies(body("app", "db"), body("db", ready=None)), "Sync team/db is not Ready yet"),
        (
            bodies(body("app", "db"), body("db", ready="False", message="1 of 2 degraded")),
            "Sync team/db is not Ready: 1 of 2 degraded",
        ),
        (
            bodies(body("app", "db"), body("db", "app")),
            "dependsOn forms a cycle through Sync team/db; remove one of its links",
        ),
        (
            bodies(body("app", "a", "b"), body("a"), body("b", ready="False", message="slow")),
            "Sync team/b is not Ready: slow",
        ),
    ],
)
def test_the_first_that_is_not_ready_is_named(found: Bodies, words: str | None) -> None:
    assert waits_for(key("app"), found, lambda *_: True) == words


def test_a_ready_sync_that_has_not_seen_the_commit_is_waited_for() -> None:
    found = bodies(body("app", "db"), body("db"))
    assert waits_for(key("app"), found, lambda *_: False) == "Sync team/db has not seen this commit yet"


def test_upstream_follows_links_and_ends_in_cycles() -> None:
    found = bodies(body("a", "b"), body("b", "c", "d"), body("c", "a"))
    assert upstream(key("a"), found) == {key("a"), key("b"), key("c"), key("d")}
    assert upstream(key("d"), found) == set()


PLATFORM = SyncKey("platform", "crds")


@pytest.mark.parametrize("ready", ["True", "False", None, "gone"])
def test_of_a_dependency_in_another_namespace_nothing_is_told_but_that_it_is_not_ready(
    ready: str | None,
) -> None:
    found = bodies(body("app"))
    found[key("app")]["spec"]["dependsOn"] = [{"name": "crds", "namespace": "platform"}]
    if ready != "gone":
        _, other = body("crds", ready=ready, message="secret")
        found[PLATFORM] = other
    words = "Sync platform/crds is not Ready, or does not exist"
    assert waits_for(key("app"), found, lambda *_: True) == (None if ready == "True" else words)
    assert waits_for(key("app"), found, lambda *_: False) == words


def test_a_circle_through_another_namespace_is_named() -> None:
    found = bodies(body("app"))
    found[key("app")]["spec"]["dependsOn"] = [{"name": "crds", "namespace": "platform"}]
    _, other = body("crds")
    other["metadata"]["namespace"] = "platform"
    other["spec"]["dependsOn"] = [{"name": "app", "namespace": "team"}]
    found[PLATFORM] = other
    assert "forms a cycle" in (waits_for(key("app"), found, lambda *_: True) or "")
