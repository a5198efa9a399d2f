"""Patterns in `spec.exclude` that a backtracking matcher would not come back from: nobody notices them."""

from __future__ import annotations

import pytest
from tests.e2e.conftest import World, config
from tests.e2e.test_sync import ready_at
from tests.faults.operators import Operator
from tests.kit.api import condition, says

pytestmark = pytest.mark.cluster

STARS = "*a" * 8 + "*b"
NAME = f"{'a' * 120}.yaml"


def test_stars_stop_nobody(world: World, operator: Operator) -> None:
    """Neither the probe, nor a Sync beside it, nor the next process: and the Sync itself gets its objects."""
    first = world.repo.commit(
        {f"evil/{NAME}": config("evil", k="1"), "a/a.yaml": config("a", k="1")}, "First"
    )
    world.source()
    world.sync("evil", path="evil", exclude=["**/" + STARS, STARS])
    world.until("Sync", "evil", ready_at(first), seconds=60)
    assert operator.alive()
    world.sync(path="a")
    world.until("Sync", "app", ready_at(first))
    operator.stop()
    world.api.merge("ConfigMap", world.target, "evil", {"data": {"k": "by hand"}})
    second = world.repo.commit({"a/a.yaml": config("a", k="2")}, "Second")
    operator.start()
    world.until("Sync", "app", ready_at(second))
    world.until("ConfigMap", "evil", lambda o: o["data"] == {"k": "1"})
    assert operator.alive()


def test_a_pattern_that_can_match_nothing_is_named(world: World) -> None:
    world.repo.commit({"a.yaml": config("a", k="1")}, "First")
    world.source()
    world.sync(exclude=["*.json", "apps/[a-c"])
    sync = world.until("Sync", "app", says("InvalidSpec"))
    assert "'apps/[a-c'" in condition(sync)["message"]
