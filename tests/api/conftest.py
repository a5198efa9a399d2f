"""A connection of our own client to the shared cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.cluster.base import Cluster as Environment

from setpoint.cluster import Cluster


@pytest.fixture
async def api(cluster: Environment) -> AsyncIterator[Cluster]:
    """Our client, as administrator, kinds discovered."""
    connection = await Cluster.connect(str(cluster.kubeconfig), user_agent="setpoint-tests")
    try:
        await connection.discover()
        yield connection
    finally:
        await connection.close()
