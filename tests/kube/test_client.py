"""The verbs of our client against a real API server, and through a proxy that lets things go wrong."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from pathlib import Path

import orjson
import pytest
from tests.kit.cluster.base import Cluster as Environment
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.apirules import Hold, Reply, Request, cut, reply
from tests.kube.objects import config_map, deployment, gone, kind, until_accepted

from setpoint.api import names
from setpoint.api.reasons import Reason
from setpoint.apply.writer import existing
from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError, Fenced, classify
from setpoint.kube.explain import problem_of
from setpoint.kube.requests import Selection
from setpoint.objects.identity import identity
from setpoint.objects.kinds import Kind
from setpoint.plan.diff import STAMPS

pytestmark = pytest.mark.cluster


class Fence:
    """A leadership that lasts as long as a test says."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> None:
        if self.seconds <= 0:
            raise Fenced

    def remaining(self) -> float:
        return self.seconds


@pytest.fixture
async def proxied(api_proxy: ApiProxy, counts: Counter[tuple[str, int]]) -> AsyncIterator[Cluster]:
    """Our client behind the proxy."""
    connection = await Cluster.connect(
        str(api_proxy.kubeconfig()), user_agent="setpoint-tests", count=lambda v, c: counts.update([(v, c)])
    )
    try:
        await connection.discover()
        yield connection
    finally:
        await connection.close()


@pytest.fixture
def counts() -> Counter[tuple[str, int]]:
    return Counter()


async def test_discovery(api: Cluster) -> None:
    assert (await api.version()).startswith("v1.")
    async with asyncio.timeout(20):  # other tests may add kinds meanwhile
        while await api.discover():
            pass
    assert kind(api, "apps/v1", "Deployment").namespaced
    assert not kind(api, "v1", "Namespace").namespaced
    assert api.kind("apps/v1", "Nonesuch") is None
    preferred = api.kind_of_group("autoscaling", "HorizontalPodAutoscaler")
    assert preferred is not None
    assert preferred.version == "v2"
    listable = {k.kind for k in api.listable()}
    assert {"Pod", "Secret", "ClusterRole"} <= listable
    assert "TokenReview" not in listable


async def test_the_legacy_form_of_discovery_gives_the_same(api: Cluster, api_proxy: ApiProxy) -> None:
    """An older server ignores the Accept header; asking for plain JSON gives just that."""
    connection = await Cluster.connect(str(api_proxy.kubeconfig()), user_agent="setpoint-tests")

    indexes = {
        "/api": b'{"kind":"APIVersions","versions":["v1"]}',
        "/apis": b'{"kind":"APIGroupList","groups":[{"name":"apps","versions":[{"version":"v1"}],'
        b'"preferredVersion":{"version":"v1"}},{"name":"gone.example.org","versions":[{"version":"v1"}],'
        b'"preferredVersion":{"version":"v1"}}]}',
    }
    for path, body in indexes.items():
        api_proxy.on(partial(lambda of, request: request.path == of, path), reply(200, body))
    try:
        assert await connection.discover() is True
        for api_version, name in (("v1", "Secret"), ("apps/v1", "Deployment"), ("v1", "Node")):
            ours, theirs = kind(connection, api_version, name), kind(api, api_version, name)
            assert (ours.plural, ours.namespaced, ours.verbs) == (
                theirs.plural,
                theirs.namespaced,
                theirs.verbs,
            )
        assert connection.broken_groups == {"gone.example.org"}
    finally:
        await connection.close()


async def test_an_object_from_its_creation_to_its_deletion(api: Cluster, namespace: str) -> None:
    of = kind(api, "apps/v1", "Deployment")
    assert await api.get(of, namespace, "web") is None
    predicted = await api.apply(of, deployment(namespace, "web"), dry_run=True)
    assert predicted.created
    assert await api.get(of, namespace, "web") is None
    written = await api.apply(of, deployment(namespace, "web"))
    assert written.created
    again = await api.apply(of, deployment(namespace, "web"))
    assert not again.created
    meta = again.object["metadata"]
    assert [e["manager"] for e in meta["managedFields"] if e["operation"] == "Apply"] == [names.FIELD_MANAGER]

    test = {"op": "test", "path": "/metadata/uid", "value": "other"}
    change = {"op": "replace", "path": "/spec/replicas", "value": 1}
    with pytest.raises(ApiError) as caught:
        await api.patch(of, namespace, "web", [test, change])
    assert caught.value.status == 422
    predicted_patch = await api.patch(of, namespace, "web", [change], dry_run=True)
    assert predicted_patch["spec"]["replicas"] == 1
    patched = await api.patch(of, namespace, "web", [{**change, "value": 0}], subresource="scale")
    assert patched["spec"].get("replicas", 0) == 0

    assert not await api.delete(of, namespace, "web", uid="00000000-0000-0000-0000-000000000000")
    assert await api.get(of, namespace, "web") is not None
    assert await api.delete(of, namespace, "web", uid=meta["uid"])
    assert not await api.delete(of, namespace, "web", uid=meta["uid"])
    await api.create(kind(api, "v1", "ConfigMap"), config_map(namespace, "there"))
    with pytest.raises(ApiError) as caught:
        await api.create(kind(api, "v1", "ConfigMap"), config_map(namespace, "there"))
    assert (caught.value.status, caught.value.reason) == (409, "AlreadyExists")


@pytest.mark.parametrize("group", ["apps", "nowhere.example.org"])
async def test_that_a_kind_is_not_served_says_nothing_about_its_objects(
    api: Cluster, namespace: str, group: str
) -> None:
    of = Kind(group, "v1", "Widget", "widgets", True, frozenset())
    for ask in (partial(api.get, of, namespace, "w"), partial(api.delete, of, namespace, "w", uid="u")):
        with pytest.raises(ApiError) as caught:
            await ask()
        assert (caught.value.status, classify(caught.value)) == (404, Reason.KindUnknown)


async def test_what_kubectl_copied_into_an_annotation_is_dropped(
    api: Cluster, cluster: Environment, namespace: str
) -> None:
    manifest = config_map(namespace, "c", "x", a="hunter2")
    cluster.kubectl("apply", "--filename=-", input=orjson.dumps(manifest).decode())
    raw = cluster.kubectl("get", "configmap", "c", "--namespace", namespace, "--output=yaml")
    assert names.ANNOTATION_LAST_APPLIED in raw
    of = kind(api, "v1", "ConfigMap")
    read = await api.get(of, namespace, "c")
    (listed,), version = await api.list(of, namespace=namespace, label_selector=names.LABEL_SYNC)
    written = (await api.apply(of, config_map(namespace, "c", "x", a="new"))).object
    metas = [read["metadata"] if read else {}, listed["metadata"], written["metadata"]]
    watch = api.watch(of, resource_version=version, namespace=namespace, label_selector=names.LABEL_SYNC)
    async with aclosing(watch) as events:
        async for what, obj in events:
            assert what == "MODIFIED"
            metas.append(obj["metadata"])
            break
    assert len(metas) == 4
    for meta in metas:
        # Where the chart is installed, its policy stamps who wrote.
        assert meta["annotations"].keys() <= STAMPS
        assert meta["managedFields"]


async def test_warnings_of_the_server_are_collected(api: Cluster) -> None:
    manifest = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "warnings.warn.example.org"},
        "spec": {
            "group": "warn.example.org",
            "scope": "Namespaced",
            "names": {"plural": "warnings", "singular": "warning", "kind": "Warn", "listKind": "WarnList"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "deprecated": True,
                    "deprecationWarning": 'say "v2" instead',
                    "schema": {"openAPIV3Schema": {"type": "object"}},
                }
            ],
        },
    }
    of = kind(api, "apiextensions.k8s.io/v1", "CustomResourceDefinition")
    await api.apply(of, manifest)
    try:
        for _ in range(100):
            await api.discover()
            if api.kind("warn.example.org/v1", "Warn"):
                break
            await asyncio.sleep(0.1)
        warn = kind(api, "warn.example.org/v1", "Warn")
        body = {
            "apiVersion": "warn.example.org/v1",
            "kind": "Warn",
            "metadata": {"namespace": "default", "name": "a"},
        }
        written = await api.apply(warn, body, dry_run=True)
        assert written.warnings == ('say "v2" instead',)
    finally:
        await gone(api, of, None, "warnings.warn.example.org")


async def test_lists_come_in_pages_of_one_version(api: Cluster, namespace: str) -> None:
    of = kind(api, "v1", "ConfigMap")
    for number in range(7):
        await api.apply(of, config_map(namespace, f"c{number}", "x", a="b"))
    what = Selection(of, namespace, names.LABEL_SYNC, metadata_only=True)
    pages = [page async for page in api.pages(what, limit=3)]
    assert [len(items) for items, _ in pages] == [3, 3, 1]
    assert len({version for _, version in pages}) == 1
    first = pages[0][0][0]
    assert (first["apiVersion"], first["kind"]) == ("v1", "ConfigMap")
    assert "data" not in first
    items, version = await api.list(of, namespace=namespace, label_selector=f"{names.LABEL_SYNC}=x")
    assert len(items) == 7
    assert int(version) >= int(pages[0][1])
    assert items[0]["data"] == {"a": "b"}


async def test_a_list_that_outlives_its_snapshot_is_read_again(
    proxied: Cluster, api_proxy: ApiProxy, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("setpoint.kube.client.PAGE", 2)
    of = kind(proxied, "v1", "ConfigMap")
    for number in range(5):
        await proxied.apply(of, config_map(namespace, f"c{number}", "x"))
    expired = b'{"kind":"Status","code":410,"reason":"Expired","message":"too old"}'
    rule = api_proxy.on(lambda r: "continue=" in r.query, reply(410, expired), times=1)
    items, _ = await proxied.list(of, namespace=namespace, label_selector=names.LABEL_SYNC)
    assert rule.hits == 1
    assert sorted(o["metadata"]["name"] for o in items) == [f"c{n}" for n in range(5)]


async def test_a_watch_tells_and_an_old_version_is_an_error(api: Cluster, namespace: str) -> None:
    of = kind(api, "v1", "ConfigMap")
    _, version = await api.list(of, namespace=namespace)
    watch = api.watch(
        of, resource_version=version, namespace=namespace, label_selector=names.LABEL_SYNC, metadata_only=True
    )
    await api.apply(of, config_map(namespace, "c", "x", a="1"))
    await api.apply(of, config_map(namespace, "c", "x", a="2"))
    await gone(api, of, namespace, "c")
    seen = []
    async with aclosing(watch) as events:
        async for what, obj in events:
            seen.append((what, obj["kind"], "data" in obj))
            if what == "DELETED":
                break
    assert seen == [(w, "ConfigMap", False) for w in ("ADDED", "MODIFIED", "DELETED")]


async def test_an_error_within_a_watch_is_raised(proxied: Cluster, api_proxy: ApiProxy) -> None:
    line = b'{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old resource version"}}\n'
    api_proxy.on(lambda r: r.is_watch, reply(200, line))
    with pytest.raises(ApiError) as caught:
        async for _ in proxied.watch(kind(proxied, "v1", "ConfigMap"), resource_version="1"):
            pass
    assert (caught.value.status, caught.value.reason) == (410, "Expired")


async def test_nothing_is_written_without_the_leadership(
    proxied: Cluster, api_proxy: ApiProxy, namespace: str
) -> None:
    of = kind(proxied, "v1", "ConfigMap")
    fence = Fence(5.0)
    fenced = proxied.fenced(fence)
    made = (await fenced.apply(of, config_map(namespace, "c"))).object
    assert [r.query for r in api_proxy.writes if "timeout=5.000s" in r.query] == [api_proxy.writes[-1].query]
    fence.seconds = 0.0
    await asyncio.to_thread(api_proxy.wait_for, lambda r: r.is_write and r.ended)
    api_proxy.clear()
    writes: list[Callable[[], Awaitable[object]]] = [
        lambda: fenced.apply(of, config_map(namespace, "c", a="b")),
        lambda: fenced.patch(of, namespace, "c", [{"op": "add", "path": "/data", "value": {}}]),
        lambda: fenced.create(of, config_map(namespace, "d")),
        lambda: fenced.delete(of, namespace, "c", uid=made["metadata"]["uid"]),
    ]
    for write in writes:
        with pytest.raises(Fenced):
            await write()
    assert api_proxy.writes == []
    assert await fenced.get(of, namespace, "c") is not None, "reading is free"
    await fenced.apply(of, config_map(namespace, "c", a="b"), dry_run=True)


async def test_a_request_ends_with_the_leadership(
    proxied: Cluster, api_proxy: ApiProxy, namespace: str
) -> None:
    async def never(_request: Request) -> Reply | None:
        await asyncio.sleep(60)
        return None

    rule = api_proxy.on(lambda r: r.is_write, never)
    with pytest.raises(ApiError) as caught:
        await proxied.fenced(Fence(3)).apply(kind(proxied, "v1", "ConfigMap"), config_map(namespace, "c"))
    assert (caught.value.status, caught.value.reason) == (0, "Timeout")
    assert rule.hits == 1
    rule.remove()


async def test_an_apply_with_a_uid_makes_nothing_anew(api: Cluster, namespace: str) -> None:
    """What `writing.existing` relies on: the object that was looked at, or none."""
    of, manifest = kind(api, "v1", "ConfigMap"), config_map(namespace, "c", a="1")
    made = (await api.apply(of, manifest)).object
    late = existing(config_map(namespace, "c", a="2"), made)
    again = (await api.apply(of, late)).object
    assert (again["data"], again["metadata"]["uid"]) == ({"a": "2"}, made["metadata"]["uid"])
    assert "f:uid" not in str(again["metadata"]["managedFields"])
    await gone(api, of, namespace, "c")
    with pytest.raises(ApiError) as caught:
        await api.apply(of, late)
    assert (caught.value.status, caught.value.transient) == (409, True)
    assert "somebody else deleted it" in problem_of(caught.value, identity(late), "apply").message
    assert await api.get(of, namespace, "c") is None
    other = (await api.apply(of, manifest)).object
    with pytest.raises(ApiError) as caught:
        await api.apply(of, late)
    assert (caught.value.status, caught.value.transient) == (409, True)
    assert "another object has this name now" in problem_of(caught.value, identity(late), "apply").message
    assert (await api.get(of, namespace, "c") or {})["data"] == other["data"]


async def test_a_write_whose_caller_went_is_waited_for(
    proxied: Cluster, api: Cluster, api_proxy: ApiProxy, namespace: str
) -> None:
    """So that who gives up the leadership knows that nothing of his comes later."""
    of, hold = kind(proxied, "v1", "ConfigMap"), Hold()
    api_proxy.on(lambda r: r.is_write, hold)
    writer = proxied.fenced(Fence(30))
    caller = asyncio.create_task(writer.apply(of, config_map(namespace, "c")))
    await asyncio.to_thread(hold.arrived.wait, 30)
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    settled = asyncio.create_task(writer.settled())
    assert await api.get(of, namespace, "c") is None
    assert not settled.done()
    hold.release()
    async with asyncio.timeout(30):
        await settled
    assert await api.get(of, namespace, "c") is not None
    await writer.settled()


async def test_too_many_requests_are_sent_again_after_the_pause(
    proxied: Cluster, api_proxy: ApiProxy, namespace: str, counts: Counter[tuple[str, int]]
) -> None:
    busy = reply(429, b"{}", {"Retry-After": "0"})
    of = kind(proxied, "v1", "ConfigMap")
    rule = api_proxy.on(lambda r: r.is_write, busy, times=2)
    await proxied.apply(of, config_map(namespace, "c"))
    assert rule.hits == 2
    assert (counts["apply", 429], counts["apply", 201]) == (2, 1)
    rule = api_proxy.on(lambda r: r.is_write, busy)
    with pytest.raises(ApiError) as caught:
        await proxied.apply(of, config_map(namespace, "c"))
    assert (caught.value.status, rule.hits) == (429, 3)
    assert caught.value.transient


async def test_a_user_who_is_asked_for_patience_is_not_sent_again_before(
    proxied: Cluster, api_proxy: ApiProxy, namespace: str
) -> None:
    of = kind(proxied, "v1", "ConfigMap")
    rule = api_proxy.on(lambda r: r.is_write, reply(429, b"{}", {"Retry-After": "3600"}))
    for _ in range(3):
        with pytest.raises(ApiError) as caught:
            await proxied.apply(of, config_map(namespace, "c"), user="system:serviceaccount:a:b")
        assert caught.value.status == 429
    assert rule.hits == 1
    with pytest.raises(ApiError):
        await proxied.apply(of, config_map(namespace, "c"), user="system:serviceaccount:a:another")
    with pytest.raises(ApiError):
        await proxied.apply(of, config_map(namespace, "c"))
    assert rule.hits == 3, "the others, and we ourselves, are counted apart by the server"


async def test_after_a_silence_what_comes_is_sent_over_new_connections(
    api_proxy: ApiProxy, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await Cluster.connect(str(api_proxy.kubeconfig()), user_agent="setpoint-tests")
    try:
        await connection.discover()
        of = kind(connection, "v1", "ConfigMap")
        with api_proxy.half_open() as dead:
            with monkeypatch.context() as patch:
                patch.setattr(connection._transport, "_timeout", 1)
                with pytest.raises(ApiError) as caught:
                    await connection.get(of, namespace, "c")
            assert caught.value.reason == "Timeout"
            assert await connection.get(of, namespace, "c") is None
        assert dead.hits == 1
    finally:
        await connection.close()


async def test_a_watch_that_falls_silent_ends(api_proxy: ApiProxy, api: Cluster, namespace: str) -> None:
    connection = await Cluster.connect(
        str(api_proxy.kubeconfig()), user_agent="setpoint-tests", watch_silence=5
    )
    try:
        await connection.discover()
        of = kind(connection, "v1", "ConfigMap")
        label = names.LABEL_SYNC
        _, version = await connection.list(of, namespace=namespace, label_selector=label)
        watch = connection.watch(of, resource_version=version, namespace=namespace, label_selector=label)
        async with aclosing(watch) as events, asyncio.timeout(60):
            await api.apply(of, config_map(namespace, "c", "x"))
            assert (await anext(events))[0] == "ADDED"
            await asyncio.to_thread(api_proxy.mute_open)
            await api.apply(of, config_map(namespace, "d", "x"))
            assert [event async for event in events] == []
    finally:
        await connection.close()


async def test_a_broken_connection_is_tried_again_only_where_that_is_safe(
    proxied: Cluster, api_proxy: ApiProxy, namespace: str
) -> None:
    of = kind(proxied, "v1", "ConfigMap")
    rule = api_proxy.on(lambda r: r.method == "PATCH", cut(after=True), times=1)
    written = await proxied.apply(of, config_map(namespace, "c"))
    assert rule.hits == 1
    assert not written.created, "the first attempt had made it"
    create = api_proxy.on(lambda r: r.method == "POST", cut())
    with pytest.raises(ApiError) as caught:
        await proxied.create(of, config_map(namespace, "d"))
    assert (caught.value.reason, create.hits) == ("Dropped", 1)


async def test_who_writes_is_the_one_impersonated(
    proxied: Cluster, api_proxy: ApiProxy, cluster: Environment, namespace: str
) -> None:
    cluster.kubectl("create", "serviceaccount", "writer", "--namespace", namespace)
    cluster.kubectl(
        "create",
        "rolebinding",
        "writer",
        "--clusterrole=edit",
        f"--serviceaccount={namespace}:writer",
        "--namespace",
        namespace,
    )
    of, user = kind(proxied, "v1", "ConfigMap"), f"system:serviceaccount:{namespace}:writer"
    await until_accepted(lambda: proxied.apply(of, config_map(namespace, "c"), user=user), 403)
    assert await proxied.get(of, namespace, "c", user=user) is not None
    with pytest.raises(ApiError) as caught:
        await proxied.get(of, "kube-system", "c", user=user)
    assert caught.value.status == 403
    assert {r.impersonate_user for r in api_proxy.requests if "configmaps/c" in r.path} == {user}


async def test_a_rotated_token_is_read_again(cluster: Environment, tmp_path: Path) -> None:
    cluster.admin_token()
    token = tmp_path / "token"
    token.write_text("not-a-token")
    config = tmp_path / "kubeconfig"
    text = cluster.kubeconfig_for("placeholder").read_text()
    config.write_text(text.replace("token: placeholder", f"tokenFile: {token}"))
    connection = await Cluster.connect(str(config), user_agent="setpoint-tests")
    try:
        with pytest.raises(ApiError) as caught:
            await connection.list(_namespaces())
        assert caught.value.status == 401
        token.write_text(cluster.admin_token() + "\n")
        items, _ = await connection.list(_namespaces())
        assert items
    finally:
        await connection.close()


def _namespaces() -> Kind:
    return Kind("", "v1", "Namespace", "namespaces", False, frozenset())


@pytest.mark.parametrize("text", ["", "a: [", "apiVersion: v1\nkind: Config\n", "token: hunter2: {"])
async def test_a_useless_kubeconfig_is_an_error_for_people(tmp_path: Path, text: str) -> None:
    config = tmp_path / "kubeconfig"
    config.write_text(text)
    with pytest.raises(ApiError) as caught:
        await Cluster.connect(str(config), user_agent="setpoint-tests")
    assert "no usable configuration" in str(caught.value)
    assert "hunter2" not in str(caught.value)
