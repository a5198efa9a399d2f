"""A connection of our own client to the shared cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.kit.cluster.base import Cluster as Environment
from tests.kit.servers.apiproxy import ApiProxy

from setpoint.kube.client import Cluster


@asynccontextmanager
async def connected(kubeconfig: str) -> AsyncIterator[Cluster]:
    """Our client, as administrator, kinds discovered."""
    connection = await Cluster.connect(kubeconfig, user_agent="setpoint-tests")
    try:
        await connection.discover()
        yield connection
    finally:
        await connection.close()


@pytest.fixture
async def api(cluster: Environment) -> AsyncIterator[Cluster]:
    """Our client at the server itself."""
    async with connected(str(cluster.kubeconfig)) as connection:
        yield connection


@pytest.fixture
async def proxied(api_proxy: ApiProxy) -> AsyncIterator[Cluster]:
    """Our client behind the proxy."""
    async with connected(str(api_proxy.kubeconfig())) as connection:
        yield connection
