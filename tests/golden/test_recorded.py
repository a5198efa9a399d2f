"""The records of the golden cases are what a real API server says today."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml
from tests.golden.case import Case, cases
from tests.golden.record import record
from tests.kit.cluster.local import LocalCluster
from tests.kit.cluster.processes import interrupt_on_sigterm

from setpoint.kube.client import Cluster

pytestmark = pytest.mark.cluster
ALL = {case.name: case for case in cases()}


@pytest.fixture(scope="module")
def bare() -> Iterator[LocalCluster]:
    """A cluster without the chart, whose policies would leave their stamps."""
    interrupt_on_sigterm()
    with LocalCluster() as started:
        yield started


@pytest.fixture(params=ALL)
def case(request: pytest.FixtureRequest) -> Case:
    return ALL[request.param]


async def test_the_record_is_what_the_server_says(bare: LocalCluster, case: Case) -> None:
    api = await Cluster.connect(str(bare.kubeconfig), user_agent="setpoint-tests")
    try:
        await api.discover()
        found = await record(api, bare, case)
    finally:
        await api.close()
    assert found == yaml.safe_load(case.recorded.read_text())
