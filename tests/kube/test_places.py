"""Where the API server is, as the operator finds it out at its start, so that Git does not connect to it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.apirules import reply

from setpoint.kube.client import Cluster
from setpoint.manager.cluster_identity import ClusterIdentity, read_identity
from setpoint.settings import Settings

pytestmark = pytest.mark.cluster


async def identity(api: Cluster) -> ClusterIdentity:
    return await read_identity(Settings(hmac_secret="absent"), api)


@pytest.fixture
async def behind(api: Cluster) -> AsyncIterator[tuple[str, int]]:
    """Another server behind the Service; a server that listens on loopback alone, as here, notes no endpoint of its own."""
    kind = api.kind("discovery.k8s.io/v1", "EndpointSlice")
    assert kind
    labels = {"kubernetes.io/service-name": "kubernetes"}
    manifest = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "another", "namespace": "default", "labels": labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["192.0.2.9"]}],
        "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}],
    }
    made = await api.create(kind, manifest)
    yield "192.0.2.9", 6443
    await api.delete(kind, "default", "another", uid=made["metadata"]["uid"])


async def test_it_is_where_we_connect_and_behind_its_service(
    api: Cluster, proxied: Cluster, api_proxy: ApiProxy, behind: tuple[str, int]
) -> None:
    here, between = urlsplit(api.server), urlsplit(api_proxy.url)
    assert {(here.hostname, here.port), behind} <= set((await identity(api)).api_places)
    found = (await identity(proxied)).api_places
    assert found[0] == (between.hostname, between.port)
    assert behind in found


async def test_who_may_not_list_endpoints_knows_where_we_connect(
    proxied: Cluster, api_proxy: ApiProxy
) -> None:
    status = {"kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden", "message": "no"}
    api_proxy.on(lambda request: "endpointslices" in request.path, reply(403, json.dumps(status).encode()))
    between = urlsplit(api_proxy.url)
    assert (await identity(proxied)).api_places == ((between.hostname, between.port),)
