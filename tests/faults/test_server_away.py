"""The API server or its etcd away: for a moment, and for longer than the lease lasts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.e2e.conftest import World
from tests.faults.operators import Operator
from tests.faults.steps import commit, converged, enforced, ready
from tests.kit.cluster.local import LocalCluster
from tests.kit.cluster.processes import until

pytestmark = pytest.mark.cluster

PARTS = ["apiserver", "etcd"]
WAITS = {"apiserver": "cannot read the list of kinds", "etcd": "cannot acquire or renew the lease"}
"""What one logs that is started meanwhile: without etcd the API server still lists its kinds."""
KINDS = ("ConfigMap", "Sync", "Source", "Event", "Namespace", "ServiceAccount")
LONG, SHORT = "120s", "15s"


@pytest.fixture(scope="module")
def variables() -> dict[str, str]:
    return {"SETPOINT_LEASE_DURATION": LONG, "SETPOINT_REQUEST_TIMEOUT": "8s"}


@pytest.fixture
def short_lease(operator: Operator) -> Iterator[None]:
    operator.vary(SETPOINT_LEASE_DURATION=SHORT)
    yield
    operator.vary(SETPOINT_LEASE_DURATION=LONG)


def stop(cluster: LocalCluster, world: World, part: str) -> None:
    """Stop it, and wait until nothing is answered any more."""
    getattr(cluster, f"stop_{part}")()
    until(lambda: not _answers(world), f"an outage of {part}", 30)


def start(cluster: LocalCluster, world: World, part: str) -> None:
    """Start it, and wait until all is answered that a test asks for: for a while each kind by itself is not."""
    getattr(cluster, f"start_{part}")()
    until(lambda: all(_answers(world, kind) for kind in KINDS), "answers about all kinds", 60)


def _answers(world: World, kind: str = "ConfigMap") -> bool:
    try:
        with world.api.request("GET", world.api.path(kind), timeout=2):
            return True
    except OSError:  # refused, an error of the server, or no answer in time
        return False


@pytest.mark.parametrize("part", PARTS)
def test_away_for_a_moment(world: World, cluster: LocalCluster, operator: Operator, part: str) -> None:
    """The lease outlasts it: the same process goes on."""
    ready(world)
    said, pid = operator.logged(), operator.pid
    stop(cluster, world, part)
    sha = commit(world, "2")
    operator.says("cannot write the status of", said)
    start(cluster, world, part)
    converged(world, sha, "2")
    enforced(world, "2")
    assert operator.pid == pid


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.usefixtures("short_lease")
def test_away_for_longer_than_the_lease(
    world: World, cluster: LocalCluster, operator: Operator, part: str
) -> None:
    """The process ends, and whoever starts it again finds one that waits, not Ready, and goes on by itself."""
    ready(world)
    said = operator.logged()
    stop(cluster, world, part)
    try:
        sha = commit(world, "2")
        assert operator.ended(90) == 1
        operator.says("the lease was lost; shutting down", said)
        operator.start()  # as the kubelet does
        operator.says(WAITS[part], operator.logged())
        assert not operator.ready()
        pid = operator.pid
    finally:
        start(cluster, world, part)
    converged(world, sha, "2")
    enforced(world, "2")
    assert operator.pid == pid
    assert operator.ready()
