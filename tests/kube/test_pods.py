"""What `PodInformers` knows of the pods of a workload: pods of a real Deployment, whose status these tests write for the kubelet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.apirules import Request, reply
from tests.kube.objects import deployment, kind

from setpoint.kube.client import Cluster
from setpoint.objects.identity import ObjectId, SyncKey
from setpoint.runtime.workqueue import WorkQueue
from setpoint.watch.pods import PodInformers

pytestmark = pytest.mark.cluster
SYNC = SyncKey("team", "app")
DENIED = b'{"kind":"Status","code":403,"reason":"Forbidden","message":"no"}'


class Woken(WorkQueue[SyncKey]):
    """Counts how often a Sync was woken, and waits for that."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self._new = asyncio.Event()

    def add(self, key: SyncKey) -> None:
        assert key == SYNC
        self.count += 1
        self._new.set()

    async def until(self, good: Callable[[], bool], seconds: float = 30.0) -> None:
        async with asyncio.timeout(seconds):
            while not good():
                await self._new.wait()
                self._new.clear()


@pytest.fixture
def woken() -> Woken:
    return Woken()


@pytest.fixture
async def pods(proxied: Cluster, woken: Woken) -> AsyncIterator[PodInformers]:
    watching = PodInformers(proxied, woken)
    yield watching
    await watching.close()


def reason(pods: PodInformers, workload: ObjectId) -> str:
    """Return the reason for which its pods do not run; empty if none is known."""
    verdict = pods.verdict(workload)
    return verdict.reason if verdict else ""


async def rolled_out(api: Cluster, namespace: str) -> tuple[ObjectId, str]:
    """Make a Deployment; returns it, and the name of its pod."""
    await api.apply(kind(api, "apps/v1", "Deployment"), deployment(namespace, "web", replicas=1))
    of = kind(api, "v1", "Pod")
    found, version = await api.list(of, namespace=namespace)
    if not found:
        async for _, pod in api.watch(of, resource_version=version, namespace=namespace):
            found = [pod]
            break
    return ObjectId("apps", "Deployment", namespace, "web"), found[0]["metadata"]["name"]


async def say(api: Cluster, namespace: str, pod: str, reason: str) -> None:
    """Have the kubelet say that a container waits."""
    container: dict[str, Any] = {"name": "main", "image": "example.org/x:1", "imageID": "", "ready": False}
    container |= {"restartCount": 0, "state": {"waiting": {"reason": reason, "message": "m"}}}
    change = [{"op": "add", "path": "/status/containerStatuses", "value": [container]}]
    await api.patch(kind(api, "v1", "Pod"), namespace, pod, change, subresource="status")


def of_pods(namespace: str) -> Callable[[Request], bool]:
    return lambda r: r.path.endswith(f"{namespace}/pods")


async def test_what_the_kubelet_says_wakes_who_asked(
    api: Cluster, pods: PodInformers, woken: Woken, namespace: str
) -> None:
    web, pod = await rolled_out(api, namespace)
    await pods.want(SYNC, [web], known=True)
    assert pods.verdict(web) is None
    await say(api, namespace, pod, "ErrImagePull")
    await woken.until(lambda: reason(pods, web) != "")
    assert reason(pods, web) == "ErrImagePull"
    before = woken.count
    await say(api, namespace, pod, "ImagePullBackOff")
    await say(api, namespace, pod, "CrashLoopBackOff")
    await woken.until(lambda: reason(pods, web) == "CrashLoopBackOff")
    assert woken.count == before + 1


async def test_what_was_said_before_is_known_at_once_to_who_told_it(
    api: Cluster, pods: PodInformers, namespace: str
) -> None:
    web, pod = await rolled_out(api, namespace)
    await say(api, namespace, pod, "ErrImagePull")
    await pods.want(SYNC, [web], known=True)
    assert reason(pods, web) == "ErrImagePull"


async def test_nothing_is_asked_about_a_workload_that_gets_on_at_once(
    api: Cluster, pods: PodInformers, api_proxy: ApiProxy, namespace: str
) -> None:
    web, _ = await rolled_out(api, namespace)
    await pods.want(SYNC, [web], known=False)
    await pods.want(SYNC, [], known=False)
    assert api_proxy.select(of_pods(namespace)) == []


async def test_the_watch_ends_with_the_question(
    api: Cluster, pods: PodInformers, api_proxy: ApiProxy, namespace: str
) -> None:
    web, _ = await rolled_out(api, namespace)
    await pods.want(SYNC, [web], known=True)
    await asyncio.to_thread(api_proxy.wait_for, lambda r: r.is_watch and of_pods(namespace)(r))
    await pods.want(SYNC, [web], known=False)
    await pods.want(SYNC, [], known=False)
    await asyncio.to_thread(api_proxy.wait_for, lambda r: r.is_watch and of_pods(namespace)(r) and r.ended)
    assert len([r for r in api_proxy.watches if of_pods(namespace)(r)]) == 1


async def test_a_broken_watch_goes_on_and_what_it_missed_is_found(
    api: Cluster, pods: PodInformers, woken: Woken, api_proxy: ApiProxy, namespace: str
) -> None:
    web, pod = await rolled_out(api, namespace)
    await pods.want(SYNC, [web], known=True)
    await asyncio.to_thread(api_proxy.wait_for, lambda r: r.is_watch and of_pods(namespace)(r))
    with api_proxy.on(of_pods(namespace), reply(503, b"{}")):
        await asyncio.to_thread(api_proxy.cut_open)
        await say(api, namespace, pod, "ErrImagePull")
        await asyncio.to_thread(api_proxy.wait_for, lambda r: of_pods(namespace)(r) and r.status == 503)
    await woken.until(lambda: pods.verdict(web) is not None)


async def test_where_pods_may_not_be_watched_nothing_is_known(
    api: Cluster, pods: PodInformers, woken: Woken, api_proxy: ApiProxy, namespace: str
) -> None:
    web, pod = await rolled_out(api, namespace)
    await say(api, namespace, pod, "ErrImagePull")
    with api_proxy.on(of_pods(namespace), reply(403, DENIED)):
        await pods.want(SYNC, [web], known=True)
    assert pods.verdict(web) is None
    assert woken.count == 0


def mounting(namespace: str, name: str, claim: str) -> dict[str, Any]:
    """Give a pod that mounts a claim."""
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": claim}}
    container = {"name": "main", "image": "example.org/x:1"}
    meta = {"namespace": namespace, "name": name}
    spec = {"volumes": [volume], "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}


async def test_who_mounts_a_claim_is_known_and_wakes_who_asked(
    api: Cluster, pods: PodInformers, woken: Woken, namespace: str
) -> None:
    library, of = ObjectId("", "PersistentVolumeClaim", namespace, "library"), kind(api, "v1", "Pod")
    assert pods.mounted(library) is None
    await pods.want(SYNC, [library], known=True)
    assert pods.mounted(library) is False
    made = await api.create(of, mounting(namespace, "reader", "library"))
    await woken.until(lambda: pods.mounted(library) is True)
    before = woken.count
    await api.create(of, mounting(namespace, "other", "another"))
    done = [{"op": "add", "path": "/status/phase", "value": "Succeeded"}]
    await api.patch(of, namespace, "reader", done, subresource="status")
    await woken.until(lambda: pods.mounted(library) is False)
    assert (woken.count, made["metadata"]["name"]) == (before + 1, "reader")


async def test_where_pods_may_not_be_watched_nobody_knows_who_mounts_a_claim(
    pods: PodInformers, api_proxy: ApiProxy, namespace: str
) -> None:
    library = ObjectId("", "PersistentVolumeClaim", namespace, "library")
    with api_proxy.on(of_pods(namespace), reply(403, DENIED)):
        await pods.want(SYNC, [library], known=True)
    assert pods.mounted(library) is None
