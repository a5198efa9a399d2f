"""What `Informers` knows, while objects change, watches break and kinds come and go."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest
from tests.kit.cluster.base import Cluster as Environment
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.apirules import Hold, reply
from tests.kube.objects import config_map, crd, deployment, gone, kind, served, until_accepted

from setpoint.api import names
from setpoint.health.verdict import Health
from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError
from setpoint.objects.identity import ObjectId
from setpoint.objects.kinds import Kind
from setpoint.objects.kinds import Kind as DiscoveredKind
from setpoint.watch.informers import FIRST_FORBIDDEN_PAUSE, Informers
from setpoint.watch.observations import LiveChange

pytestmark = pytest.mark.cluster
EXPIRED = b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}\n'


@dataclass
class Told:
    """The changes that were told, and a way to wait for one."""

    changes: list[LiveChange] = field(default_factory=list)
    _new: asyncio.Event = field(default_factory=asyncio.Event)

    def __call__(self, change: LiveChange) -> None:
        self.changes.append(change)
        self._new.set()

    async def until(self, good: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait for changes until that holds."""
        async with asyncio.timeout(seconds):
            while not good():
                await self._new.wait()
                self._new.clear()

    def of(self, name: str) -> list[LiveChange]:
        return [c for c in self.changes if c.oid.name == name]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def label() -> str:
    """A label value of this test alone."""
    return secrets.token_hex(8)


@pytest.fixture
async def live(api: Cluster, told: Told, namespace: str) -> AsyncIterator[Informers]:
    """Live objects of the test's own namespace, straight from the server."""
    watching = Informers(api, frozenset(), told, (namespace,))
    yield watching
    await watching.close()


@pytest.fixture
async def behind_proxy(
    api_proxy: ApiProxy, told: Told, namespace: str
) -> AsyncIterator[tuple[Informers, Cluster]]:
    """The same through the proxy."""
    connection = await Cluster.connect(str(api_proxy.kubeconfig()), user_agent="setpoint-tests")
    await connection.discover()
    watching = Informers(connection, frozenset(), told, (namespace,))
    yield watching, connection
    await watching.close()
    await connection.close()


def config(namespace: str, name: str) -> ObjectId:
    return ObjectId("", "ConfigMap", namespace, name)


async def test_what_is_there_at_the_start_is_known(
    api: Cluster, live: Informers, namespace: str, label: str
) -> None:
    of = kind(api, "v1", "ConfigMap")
    await api.apply(of, config_map(namespace, "ours", label))
    await api.apply(of, config_map(namespace, "other"))
    await live.require([of])
    assert live.get(config(namespace, "ours")) is not None
    assert live.get(config(namespace, "other")) is None
    assert len(live._observations) == 1


async def test_our_own_write_is_known_at_once_and_not_told(
    behind_proxy: tuple[Informers, Cluster],
    api: Cluster,
    api_proxy: ApiProxy,
    told: Told,
    namespace: str,
    label: str,
) -> None:
    live, connection = behind_proxy
    of = kind(connection, "v1", "ConfigMap")
    late = Hold()
    api_proxy.on(lambda r: r.is_watch, late)
    await live.require([of])
    live.store(of, (await api.apply(of, config_map(namespace, "a", label))).object)
    assert live.get(config(namespace, "a")) is not None
    last = await api.apply(of, config_map(namespace, "last", label))
    late.release()
    await told.until(lambda: bool(told.of("last")))
    assert told.of("a") == [], "the watch, which is past it, had nothing new"
    assert live.store(of, last.object).resource_version == int(last.object["metadata"]["resourceVersion"])


async def test_drift_and_deletions_are_told(
    api: Cluster, cluster: Environment, live: Informers, told: Told, namespace: str, label: str
) -> None:
    of = kind(api, "v1", "ConfigMap")
    await live.require([of])
    live.store(of, (await api.apply(of, config_map(namespace, "a", label, key="1"))).object)
    cluster.kubectl("patch", "configmap", "a", "--namespace", namespace, "--patch", '{"data":{"key":"2"}}')

    def people() -> list[str]:
        change = told.of("a")[-1] if told.of("a") else None
        return [p.manager for p in change.after.ownership.people] if change and change.after else []

    await told.until(lambda: people() == ["kubectl-patch"])
    drift = told.of("a")[-1]
    assert drift.before is not None
    assert drift.after is not None
    assert drift.before.ownership.ours != drift.after.ownership.ours
    cluster.kubectl("delete", "configmap", "a", "--namespace", namespace)
    await told.until(lambda: told.of("a")[-1].after is None)
    assert live.get(config(namespace, "a")) is None


async def test_an_object_that_loses_our_label_is_gone_for_us(
    api: Cluster, cluster: Environment, live: Informers, told: Told, namespace: str, label: str
) -> None:
    of = kind(api, "v1", "ConfigMap")
    await api.apply(of, config_map(namespace, "a", label))
    await live.require([of])
    cluster.kubectl("label", "configmap", "a", "--namespace", namespace, f"{names.LABEL_SYNC}-")
    await told.until(lambda: bool(told.of("a")) and told.of("a")[-1].after is None)
    assert len(live._observations) == 0


async def test_health_is_told_and_metadata_is_enough_for_trivial_kinds(
    behind_proxy: tuple[Informers, Cluster], api_proxy: ApiProxy, told: Told, namespace: str, label: str
) -> None:
    live, api = behind_proxy
    of, trivial = kind(api, "apps/v1", "Deployment"), kind(api, "v1", "Secret")
    await live.require([of, trivial])
    secret = {**config_map(namespace, "s", label), "kind": "Secret", "data": {"pin": "aHVudGVyMg=="}}
    await api.apply(trivial, secret)
    await api.apply(of, deployment(namespace, "web", label))
    await told.until(
        lambda: any(c.after and c.after.verdict.health is Health.Healthy for c in told.of("web"))
    )
    await told.until(lambda: bool(told.of("s")))
    assert "aHVudGVyMg==" not in repr(told.changes)
    assert {r.path.rpartition("/")[2] for r in api_proxy.watches} == {"deployments", "secrets"}


async def test_requiring_again_costs_nothing(
    behind_proxy: tuple[Informers, Cluster], api_proxy: ApiProxy, namespace: str
) -> None:
    live, api = behind_proxy
    of = kind(api, "v1", "ConfigMap")
    await asyncio.gather(*(live.require([of]) for _ in range(5)))
    await live.require([of])
    listed = api_proxy.select(lambda r: r.is_read and r.path.endswith(f"{namespace}/configmaps"))
    assert len(listed) == 1
    api_proxy.wait_for(lambda r: r.is_watch)
    assert len(api_proxy.watches) == 1


async def test_a_broken_watch_goes_on_where_it_was(
    behind_proxy: tuple[Informers, Cluster],
    api: Cluster,
    api_proxy: ApiProxy,
    told: Told,
    namespace: str,
    label: str,
) -> None:
    live, connection = behind_proxy
    of = kind(connection, "v1", "ConfigMap")
    await api.apply(of, config_map(namespace, "a", label))
    await live.require([of])
    await asyncio.to_thread(api_proxy.wait_for, lambda r: r.is_watch and r.status == 200)
    api_proxy.clear()
    with api_proxy.on(lambda r: r.is_watch, reply(503, b"{}")):
        await asyncio.to_thread(api_proxy.cut_open)
        await gone(api, of, namespace, "a")
        await api.apply(of, config_map(namespace, "b", label))
        await asyncio.to_thread(api_proxy.wait_for, lambda r: r.is_watch and r.status == 503)
    await told.until(lambda: bool(told.of("b")) and live.get(config(namespace, "a")) is None)
    assert told.of("a")[-1].after is None
    assert api_proxy.reads == [], "no list was needed"


async def test_a_deletion_while_nobody_watched_is_found_by_the_list(
    behind_proxy: tuple[Informers, Cluster],
    api: Cluster,
    api_proxy: ApiProxy,
    told: Told,
    namespace: str,
    label: str,
) -> None:
    live, connection = behind_proxy
    of = kind(connection, "v1", "ConfigMap")
    for name in ("a", "b"):
        await api.apply(of, config_map(namespace, name, label))
    await live.require([of])
    await asyncio.to_thread(api_proxy.wait_for, lambda r: r.is_watch and r.status == 200)
    rule = api_proxy.on(lambda r: r.is_watch, reply(200, EXPIRED), times=1)
    api_proxy.clear()
    held = api_proxy.on(lambda r: r.is_read, reply(500, b"{}"))
    await asyncio.to_thread(api_proxy.cut_open)
    await asyncio.to_thread(api_proxy.wait_for, lambda r: r.is_read)
    await gone(api, of, namespace, "a")
    held.remove()
    await told.until(lambda: live.get(config(namespace, "a")) is None)
    assert rule.hits == 1
    assert told.of("a")[-1].after is None
    assert live.get(config(namespace, "b")) is not None
    assert len(told.of("b")) == 1, "what did not change is not told again"


async def test_a_kind_that_cannot_be_listed_is_an_error_and_can_be_asked_again(
    behind_proxy: tuple[Informers, Cluster], api_proxy: ApiProxy, namespace: str
) -> None:
    live, api = behind_proxy
    of = kind(api, "v1", "ConfigMap")
    broken = b'{"kind":"Status","code":500,"reason":"InternalError","message":"no"}'
    with api_proxy.on(lambda r: r.path.endswith(f"{namespace}/configmaps"), reply(500, broken)):
        with pytest.raises(ApiError) as caught:
            await live.require([of, kind(api, "v1", "Service")])
        assert caught.value.status == 500
    await live.require([of])
    assert not live.unwatched(config(namespace, "any"))


async def test_of_a_kind_that_may_not_be_listed_what_we_store_is_known(
    behind_proxy: tuple[Informers, Cluster], api_proxy: ApiProxy, namespace: str, label: str
) -> None:
    live, api = behind_proxy
    of = kind(api, "v1", "ConfigMap")
    denied = b'{"kind":"Status","code":403,"reason":"Forbidden","message":"no"}'
    path = f"{namespace}/configmaps"
    with api_proxy.on(lambda r: r.path.endswith(path) and r.method == "GET", reply(403, denied)):
        await live.require([of, kind(api, "v1", "Service")])
        answer = await api.apply(of, config_map(namespace, "a", label))
        live.store(of, answer.object)
        before = len(api_proxy.select(lambda r: path in r.path))
        await live.require([of])
        assert 0 < (live.again([of]) or 0) <= FIRST_FORBIDDEN_PAUSE
        assert live.again([kind(api, "v1", "Service")]) is None
    assert live.unwatched(config(namespace, "a"))
    assert live.get(config(namespace, "a")) is not None
    assert len(api_proxy.select(lambda r: path in r.path)) == before, "asked for again at once"
    # That one is not known of is no proof that it is not there, until somebody looks.
    assert not live.knows(config(namespace, "b"))
    live.missing(config(namespace, "b"))
    live.missing(config(namespace, "a"))
    assert (live.knows(config(namespace, "b")), live.get(config(namespace, "a"))) == (True, None)
    live.store(of, answer.object)
    assert not live.knows(config(namespace, "a"))


async def test_all_namespaces_and_cluster_scoped_kinds(
    api: Cluster, told: Told, namespace: str, label: str
) -> None:
    of, role = kind(api, "v1", "ConfigMap"), kind(api, "rbac.authorization.k8s.io/v1", "ClusterRole")
    everywhere, here = (
        Informers(api, frozenset(), told),
        Informers(api, frozenset(), told, (namespace, "default")),
    )
    try:
        await everywhere.require([of, role])
        await here.require([of, role])
        manifest = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": f"test-{label}", "labels": {names.LABEL_SYNC: label}},
            "rules": [],
        }
        await api.apply(role, manifest)
        await api.apply(of, config_map(namespace, "a", label))
        mine = (config(namespace, "a"), ObjectId(role.group, role.kind, "", f"test-{label}"))
        await told.until(lambda: all(each.get(oid) for each in (everywhere, here) for oid in mine))
    finally:
        await gone(api, role, None, f"test-{label}")
        await everywhere.close()
        await here.close()


@pytest.fixture
async def things(api: Cluster) -> AsyncIterator[Callable[[], object]]:
    """Makes a CRD and gives its kind once it is served; makes it anew when called again."""
    definitions = kind(api, "apiextensions.k8s.io/v1", "CustomResourceDefinition")
    group = f"t{secrets.token_hex(4)}.example.org"

    async def make() -> DiscoveredKind:
        await api.apply(definitions, crd(group, "things", "Thing"))
        return await served(api, f"{group}/v1")

    yield make
    await gone(api, definitions, None, f"things.{group}")


async def test_a_kind_goes_with_its_crd_and_comes_back(
    api: Cluster, live: Informers, told: Told, namespace: str, label: str, things: Callable[[], object]
) -> None:
    thing: Kind = await things()  # type: ignore[misc]
    body = {
        "apiVersion": thing.api_version,
        "kind": "Thing",
        "metadata": {"namespace": namespace, "name": "t", "labels": {names.LABEL_SYNC: label}},
    }
    await until_accepted(lambda: api.apply(thing, body), 503)
    await live.require([thing])
    oid = ObjectId(thing.group, "Thing", namespace, "t")
    live.missing(oid)
    assert live.get(oid) is not None, "that one is not there is for the watch to tell"
    assert live.knows(oid)
    definitions = kind(api, "apiextensions.k8s.io/v1", "CustomResourceDefinition")
    await gone(api, definitions, None, f"things.{thing.group}")
    await told.until(lambda: live.get(oid) is None)

    async def refused() -> int:
        try:
            await live.require([thing])
        except ApiError as error:
            return error.status
        return 0

    for _ in range(200):
        if await refused() == 404:
            break
        await asyncio.sleep(0.1)
    else:
        raise AssertionError("the kind is still served")
    assert not live.knows(oid), "whether its objects are there nobody can tell now"
    await things()  # type: ignore[misc]
    await until_accepted(lambda: api.apply(thing, body), 503)
    await live.require([thing])
    assert live.get(oid) is not None
