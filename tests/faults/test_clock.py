"""The wall clock is set by an hour while the operator works: nothing is judged by it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.conftest import World, config
from tests.faults.operators import Operator
from tests.faults.steps import commit, converged, enforced, ready
from tests.kit.api import Json, condition, says

pytestmark = pytest.mark.cluster

# Python runs this before the operator and before its worker; what they read of the wall clock is as much off as the file says.
STEPPED = """
import datetime, time
Real, real = datetime.datetime, time.time
def off():
    with open({file!r}) as file:
        return float(file.read())
class Kind(type):
    def __instancecheck__(cls, value):
        return isinstance(value, Real)
class datetime_(Real, metaclass=Kind):
    @classmethod
    def now(cls, tz=None):
        return Real.now(tz) + datetime.timedelta(seconds=off())
datetime_.__name__ = "datetime"
datetime.datetime = datetime_
time.time = lambda: real() + off()
"""
HOUR = 3600
NEVER: Json = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "never"},
    "spec": {
        "replicas": 1,
        "progressDeadlineSeconds": 3000,
        "selector": {"matchLabels": {"app": "never"}},
        "template": {
            "metadata": {"labels": {"app": "never"}},
            "spec": {"containers": [{"name": "c", "image": "none"}]},
        },
    },
}


class Clock:
    """The operator's wall clock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "sitecustomize.py").write_text(STEPPED.format(file=str(folder / "off")))
        self.step(0)

    def step(self, seconds: int) -> None:
        """Set it so many seconds off the true time."""
        made = self.folder / "off.new"
        made.write_text(str(seconds))
        made.replace(self.folder / "off")


@pytest.fixture(scope="module")
def stepped(tmp_path_factory: pytest.TempPathFactory) -> Clock:
    return Clock(tmp_path_factory.mktemp("clock"))


@pytest.fixture
def clock(stepped: Clock) -> Iterator[Clock]:
    yield stepped
    stepped.step(0)


@pytest.fixture(scope="module")
def variables(stepped: Clock) -> dict[str, str]:
    return {"PYTHONPATH": str(stepped.folder)}


def rolling_out(world: World, timeout: str) -> None:
    """Apply what never becomes healthy."""
    world.repo.commit({"never.yaml": json.dumps(NEVER)}, "Never healthy")
    world.source()
    world.sync(timeout=timeout)
    world.until("Sync", "app", says("Progressing", "never"))


@pytest.mark.parametrize("step", [HOUR, -HOUR], ids=["forward", "back"])
def test_it_goes_on(world: World, operator: Operator, clock: Clock, step: int) -> None:
    ready(world)
    clock.step(step)
    converged(world, commit(world, "2"), "2")
    enforced(world, "2")
    world.ask("Sync", "app", "now")
    world.until("Sync", "app", lambda o: o and o["status"].get("requested") == "now")
    assert operator.metric("setpoint_leader") == 1


def test_a_step_forward_ends_no_rollout(world: World, clock: Clock) -> None:
    rolling_out(world, "10m")
    clock.step(HOUR)
    world.ask("Sync", "app", "now")
    sync = world.until("Sync", "app", lambda o: o and o["status"].get("requested") == "now")
    assert condition(sync)["reason"] == "Progressing"
    # A step of the cluster's own time would show here: what was written last has the new one.
    world.repo.commit({"a.yaml": config("a", k="1")}, "Written after the step")
    world.until("Sync", "app", lambda o: o and o["status"]["summary"]["objects"] == 2)
    assert condition(world.api.get("Sync", world.namespace, "app"))["reason"] == "Progressing"


def test_a_step_back_prolongs_no_rollout(world: World, clock: Clock) -> None:
    rolling_out(world, "20s")
    clock.step(-HOUR)
    world.until("Sync", "app", says("TimedOut", "never"))
