"""What `StorageClasses` knows of the classes of a real API server, and how long it watches them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.apirules import Request, reply
from tests.kube.objects import gone, kind
from tests.kube.test_pods import DENIED, SYNC, Woken

from setpoint.health.claims import StorageClass
from setpoint.kube.client import Cluster
from setpoint.watch.storage import StorageClasses

pytestmark = pytest.mark.cluster
DEFAULT = "storageclass.kubernetes.io/is-default-class"


@pytest.fixture
def woken() -> Woken:
    return Woken()


@pytest.fixture
async def storage(proxied: Cluster, woken: Woken) -> AsyncIterator[StorageClasses]:
    watching = StorageClasses(proxied, woken)
    yield watching
    await watching.close()


def of_classes(request: Request) -> bool:
    return request.path.endswith("/storageclasses")


def known(storage: StorageClasses, name: str) -> StorageClass | None:
    return next((c for c in storage.known() or () if c.name == name), None)


async def test_a_class_that_comes_changes_or_goes_wakes_who_asked(
    api: Cluster, storage: StorageClasses, woken: Woken, namespace: str
) -> None:
    of, name = kind(api, "storage.k8s.io/v1", "StorageClass"), f"late-{namespace}"
    assert storage.known() is None
    assert await storage.want(SYNC) is not None
    manifest = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": "disks.example.org",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    try:
        await api.create(of, manifest)
        await woken.until(lambda: known(storage, name) is not None)
        found = known(storage, name)
        assert found is not None
        assert (found.late, found.default, found.created != "") == (True, False, True)
        mark = [{"op": "add", "path": "/metadata/annotations", "value": {DEFAULT: "true"}}]
        await api.patch(of, None, name, mark)
        await woken.until(lambda: (c := known(storage, name)) is not None and c.default)
        count = woken.count
        note = [{"op": "add", "path": "/metadata/annotations/note", "value": "x"}]
        await api.patch(of, None, name, note)
    finally:
        await gone(api, of, None, name)
    await woken.until(lambda: known(storage, name) is None)
    assert woken.count == count + 1


async def test_the_watch_ends_with_the_last_who_asked(storage: StorageClasses, api_proxy: ApiProxy) -> None:
    await asyncio.gather(storage.want(SYNC), storage.want(SYNC))
    await asyncio.to_thread(api_proxy.wait_for, lambda r: r.is_watch and of_classes(r))
    await storage.release(SYNC)
    await asyncio.to_thread(api_proxy.wait_for, lambda r: r.is_watch and of_classes(r) and r.ended)
    assert len([r for r in api_proxy.watches if of_classes(r)]) == 1
    assert storage.known() is None


async def test_where_classes_may_not_be_watched_nothing_is_known(
    storage: StorageClasses, woken: Woken, api_proxy: ApiProxy
) -> None:
    with api_proxy.on(of_classes, reply(403, DENIED)):
        assert await storage.want(SYNC) is None
    assert woken.count == 0
