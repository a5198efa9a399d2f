"""What is due and cannot be done takes no CPU: a Sync that is hindered is looked at no more often than one that is not."""

from __future__ import annotations

import pytest
from tests.e2e.conftest import World, config
from tests.faults.operators import Operator
from tests.kit.api import is_ready, says
from tests.kit.cluster.processes import until

pytestmark = pytest.mark.cluster

HINDERED = {"paused": "Suspended", "broken": "RenderFailed", "waiting": "DependencyNotReady"}
NAMES = ("sound", *HINDERED)
BEATS = 5
# Runs of a Sync while another has a few: one that is looked at without end has thousands.
MOST = 20 * BEATS


def runs(operator: Operator, reason: str) -> float:
    return operator.metric("setpoint_reconciles_total", kind="Sync", reason=reason)


def test_syncs_that_cannot_do_what_is_due_rest(world: World, operator: Operator) -> None:
    world.repo.commit({f"{name}/a.yaml": config(name) for name in NAMES}, "First")
    world.source()
    more = {"waiting": {"dependsOn": [{"name": "broken"}]}}
    for name in NAMES:
        world.sync(name, path=name, interval="1s", **more.get(name, {}))
        world.until("Sync", name, is_ready)
    world.sync("paused", path="paused", interval="1s", suspend=True)
    world.repo.commit({"broken/a.yaml": "{", "waiting/a.yaml": config("waiting", k="2")}, "Break it")
    for name, reason in HINDERED.items():
        world.until("Sync", name, says(reason))
    before = {reason: runs(operator, reason) for reason in ("Succeeded", *HINDERED.values())}
    until(lambda: runs(operator, "Succeeded") >= before["Succeeded"] + BEATS, "a few intervals", 120)
    for reason in HINDERED.values():
        assert runs(operator, reason) - before[reason] <= MOST, reason
