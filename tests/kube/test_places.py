"""Where the API server is, as the operator finds it out at its start, so that Git does not connect to it."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest
from tests.kit.cluster.base import Cluster as Environment
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.apirules import reply

from setpoint.kube.client import Cluster
from setpoint.manager.cluster_identity import ClusterIdentity, read_identity
from setpoint.settings import Settings

pytestmark = pytest.mark.cluster


async def identity(api: Cluster) -> ClusterIdentity:
    return await read_identity(Settings(hmac_secret="absent"), api)


async def test_it_is_where_we_connect_and_behind_its_service(
    cluster: Environment, api: Cluster, proxied: Cluster, api_proxy: ApiProxy
) -> None:
    kind = api.kind("discovery.k8s.io/v1", "EndpointSlice")
    assert kind
    slices, _ = await api.list(
        kind, namespace="default", label_selector="kubernetes.io/service-name=kubernetes"
    )
    (behind,) = [
        (address, port["port"])
        for each in slices
        for endpoint in each["endpoints"]
        for address in endpoint["addresses"]
        for port in each["ports"]
    ]
    here = urlsplit(api.server)
    assert set((await identity(api)).api_places) == {(here.hostname, here.port), behind}
    between = urlsplit(api_proxy.url)
    assert set((await identity(proxied)).api_places) == {(between.hostname, between.port), behind}


async def test_who_may_not_list_endpoints_knows_where_we_connect(
    proxied: Cluster, api_proxy: ApiProxy
) -> None:
    status = {"kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden", "message": "no"}
    api_proxy.on(lambda request: "endpointslices" in request.path, reply(403, json.dumps(status).encode()))
    between = urlsplit(api_proxy.url)
    assert (await identity(proxied)).api_places == ((between.hostname, between.port),)
