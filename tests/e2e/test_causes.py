"""Words for causes: what is wrong is told where it is wrong, and not what follows from it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e.conftest import World, config
from tests.e2e.test_rejected import Neighbour
from tests.e2e.test_sync import ready_at
from tests.kit.api import Json, condition, is_ready, says
from tests.kit.cluster import versions
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.apirules import reply

pytestmark = pytest.mark.cluster

OPEN = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}


def crd(group: str, *versions: str, storage: str = "", unserved: tuple[str, ...] = (), **spec: Any) -> str:
    each = [
        {"name": v, "served": v not in unserved, "storage": v == (storage or versions[-1]), "schema": OPEN}
        for v in versions
    ]
    names = {"kind": "Gadget", "plural": "gadgets", "singular": "gadget", "listKind": "GadgetList"}
    whole = {"group": group, "scope": "Namespaced", "names": names, "versions": each, **spec}
    head = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    return json.dumps({**head, "metadata": {"name": f"gadgets.{group}"}, "spec": whole})


def gadget(group: str, version: str, name: str = "one", **fields: Any) -> str:
    return json.dumps(
        {"apiVersion": f"{group}/{version}", "kind": "Gadget", "metadata": {"name": name}, **fields}
    )


@pytest.fixture
def beside(world: World) -> Neighbour:
    """Two Syncs that are Ready: `app` with ConfigMap a, and a neighbour, which is given."""
    world.repo.commit({"app/a.yaml": config("a", k="1"), "good/g.yaml": config("good", k="1")}, "First")
    world.source()
    world.sync(path="app")
    world.until("Sync", "app", is_ready)
    return Neighbour(world)


@pytest.fixture
def group(world: World) -> Iterator[str]:
    """An API group of the test's own; what is left of its CRD goes."""
    name = f"{world.namespace}.example.org"
    yield name
    world.cluster.kubectl("delete", "crd", f"gadgets.{name}", "--ignore-not-found", "--wait=false")


def failed(sync: Json) -> dict[str, Json]:
    found = sync["status"].get("differences") or []
    return {d["name"]: d for d in found if d["sync"] == "Failed"}


def test_a_conversion_webhook_that_is_down_is_named(world: World, beside: Neighbour, group: str) -> None:
    hook = {"service": {"name": "nobody", "namespace": "default", "path": "/convert"}}
    conversion = {
        "strategy": "Webhook",
        "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": hook},
    }
    sha = world.repo.commit(
        {
            "app/crd.yaml": crd(group, "v1alpha1", "v1", conversion=conversion),
            "app/kept.yaml": gadget(group, "v1", "kept", size=1),
        },
        "CRD",
    )
    world.until("Sync", "app", ready_at(sha))
    files = {"app/one.yaml": gadget(group, "v1alpha1", size=3), "app/a.yaml": config("a", k="2")}
    sha = world.repo.commit({**files, "good/g.yaml": config("good", k="2")}, "A version that is not stored")
    sync = world.until("Sync", "app", says("WebhookFailed"))
    message = condition(sync)["message"]
    for word in ("app/one.yaml:1", "Gadget/", f"conversion webhook of gadgets.{group}", "nobody.default.svc"):
        assert word in message
    assert set(failed(sync)) == {"one"}
    assert world.get("ConfigMap", "a")["data"] == {"k": "1"}
    beside.goes_on(sha, k="2")
    # The remedy: the version that is stored needs no conversion.
    sha = world.repo.commit({"app/one.yaml": gadget(group, "v1", size=3)}, "The stored version")
    world.until("Sync", "app", ready_at(sha))


def test_a_crd_keeps_the_versions_in_which_objects_are_stored(world: World, group: str) -> None:
    sha = world.repo.commit({"crd.yaml": crd(group, "v1alpha1"), "a.yaml": config("a", k="1")}, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    world.repo.commit({"crd.yaml": crd(group, "v1"), "a.yaml": config("a", k="2")}, "Drop it")
    sync = world.until("Sync", "app", says("Invalid", "status.storedVersions"))
    message = condition(sync)["message"]
    assert f"CustomResourceDefinition/gadgets.{group}" in message
    # 1.31 has other words behind it.
    assert '"v1alpha1": ' in message
    assert "spec.versions" in message
    assert world.get("ConfigMap", "a")["data"] == {"k": "1"}
    # A version that is stored but not served any more stays in the list; who asks for it is told what there is.
    files = {"crd.yaml": crd(group, "v1alpha1", "v1", unserved=("v1alpha1",)), "a.yaml": config("a", k="2")}
    world.repo.commit({**files, "one.yaml": gadget(group, "v1alpha1")}, "Not served")
    sync = world.until("Sync", "app", says("KindUnknown"))
    assert f"Gadget is served as {group}/v1, and not as v1alpha1" in condition(sync)["message"]
    # It is in Git, and so counts.
    assert condition(sync)["message"].startswith("1 of 3 failed")
    assert sync["status"]["summary"]["objects"] == 3
    sha = world.repo.commit({"one.yaml": gadget(group, "v1")}, "The one that is served")
    world.until("Sync", "app", ready_at(sha))


def test_a_version_that_somebody_stops_serving_is_named_and_heals(world: World, group: str) -> None:
    def serve(*, v1: bool) -> None:
        text = crd(group, "v1", "v2", unserved=() if v1 else ("v1",))
        world.cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", input=text)
        world.cluster.kubectl("wait", f"crd/gadgets.{group}", "--for=condition=Established", "--timeout=60s")

    serve(v1=True)
    sha = world.repo.commit({"one.yaml": gadget(group, "v1", size=1)}, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    serve(v1=False)
    sha = world.repo.commit({"one.yaml": gadget(group, "v1", size=2)}, "Second")
    world.until("Sync", "app", says("KindUnknown", f"Gadget is served as {group}/v2, and not as v1"))
    assert (
        world.cluster.kubectl(
            "get", f"gadgets.v2.{group}", "one", "-n", world.target, "-o", "jsonpath={.size}"
        )
        == "1"
    )
    serve(v1=True)
    world.ask("Sync", "app", "now")
    world.until("Sync", "app", ready_at(sha))


OLD = {
    "hpa": ("autoscaling/v2beta2", "HorizontalPodAutoscaler"),
    "cron": ("batch/v1beta1", "CronJob"),
    "psp": ("policy/v1beta1", "PodSecurityPolicy"),
    "ingress": ("extensions/v1beta1", "Ingress"),
    "mistyped": ("networking/v1", "Ingress"),
    "future": ("apps/v2", "Deployment"),
    "flow": ("flowcontrol.apiserver.k8s.io/v1beta3", "FlowSchema"),
    "nobodys": ("nobodys.example.org/v1", "Ingress"),
}
"""Versions that are not served (any more), and what is said of each."""
SAID = {
    "hpa": "HorizontalPodAutoscaler is served as autoscaling/v2, autoscaling/v1; v2beta2 was removed in 1.26",
    "cron": "CronJob is served as batch/v1; v1beta1 was removed in 1.25",
    "psp": "PodSecurityPolicy of policy/v1beta1 was removed in 1.25, and nothing takes its place",
    "ingress": "Ingress is served as networking.k8s.io/v1; extensions/v1beta1 was removed in 1.22",
    "mistyped": "correct apiVersion or kind, no CRD brings this group",
    "future": "Deployment is served as apps/v1, and not as v2",
    "flow": "FlowSchema is served as flowcontrol.apiserver.k8s.io/v1; v1beta3 was removed in 1.32",
    "nobodys": "install its CRD first",
}
MANY = 53


def inside(namespace: str, *names: str) -> dict[str, str]:
    """Give the files of ConfigMaps in a namespace."""
    made = [{**json.loads(config(n)), "metadata": {"name": n, "namespace": namespace}} for n in names]
    return {f"{obj['metadata']['name']}.yaml": json.dumps(obj) for obj in made}


def test_versions_that_are_gone_and_many_failures_of_one_cause(world: World) -> None:
    nowhere, names = f"{world.namespace}-n", [f"c{n:02}" for n in range(MANY)]
    served = world.cluster.kubectl("api-versions").split()
    gone = {name: at for name, at in OLD.items() if at[0] not in served}
    assert OLD.keys() - gone.keys() == ({"flow"} if versions.chosen() == "1.31" else set())
    meta = {"name": nowhere, "labels": {"team": "not a label!"}}
    namespace = json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
    wrong = {**json.loads(config("wrong")), "data": {"k": 1}}
    folders = {
        "old": {
            f"{name}.yaml": json.dumps({"apiVersion": api, "kind": kind, "metadata": {"name": name}})
            for name, (api, kind) in gone.items()
        },
        "many": {**inside(nowhere, *names), "wrong.yaml": json.dumps(wrong)},
        "rooted": {**inside(nowhere, *names), "n.yaml": namespace},
    }
    files = {f"{folder}/{name}": text for folder, each in folders.items() for name, text in each.items()}
    world.repo.commit(files, "All kinds of trouble")
    world.source()
    for folder in folders:
        world.sync(folder, path=folder)
    sync = world.until("Sync", "old", says("KindUnknown"))
    told = {name: d["message"] for name, d in failed(sync).items()}
    assert {name: SAID[name] in told[name] for name in gone} == dict.fromkeys(gone, True), told
    # The commonest cause is told once, with its count, and not the first of all failures.
    sync = world.until("Sync", "many", says("NamespaceMissing"))
    assert condition(sync)["message"] == (
        f"{MANY + 1} of {MANY + 1} failed, {MANY} of them: namespace {nowhere} does not exist; "
        f"first: many/c00.yaml:1: ConfigMap/{nowhere}/c00"
    )
    # But what the others fail for is told first.
    sync = world.until("Sync", "rooted", says("Invalid", "metadata.labels"))
    assert condition(sync)["message"].startswith(
        f"{MANY + 1} of {MANY + 1} failed: rooted/n.yaml:1: Namespace/{nowhere}: "
    )
    sha = world.repo.commit({"rooted/n.yaml": namespace.replace("not a label!", "shop")}, "A label")
    world.until("Sync", "rooted", ready_at(sha))
    world.api.merge(
        "Namespace", None, nowhere, {"metadata": {"annotations": {"setpoint.dev/prune": "allow"}}}
    )


UNAUTHORIZED = json.dumps(
    {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": "Unauthorized",
        "reason": "Unauthorized",
        "code": 401,
    }
).encode()
AUTHORIZER = (
    b'Internal Server Error: "/api/v1/namespaces/n/configmaps/a?force=true": Post '
    b'"https://authz.example.org:8443/authorize?timeout=30s": dial tcp 10.0.0.1:8443: connect: connection refused'
)


def test_webhooks_that_the_api_server_asks_about_requests(
    world: World, beside: Neighbour, proxy: ApiProxy
) -> None:
    """Of the two only the answers can be had here: they are put in between."""
    world.account("team", "cluster-admin")
    user = f"system:serviceaccount:{world.namespace}:team"
    files = {"app/a.yaml": config("a", k="2"), "good/g.yaml": config("good", k="2")}
    with proxy.on(lambda r: r.impersonate_user == user, reply(500, AUTHORIZER)) as away:
        world.sync(path="app", serviceAccountName="team")
        sha = world.repo.commit(files, "Second")
        sync = world.until("Sync", "app", says("WebhookFailed"))
        assert (
            "could not be called (authz.example.org:8443, connection refused)" in condition(sync)["message"]
        )
        beside.goes_on(sha, k="2")
        with proxy.on(lambda r: r.impersonate_user == user, reply(401, UNAUTHORIZED)):
            away.remove()
            world.ask("Sync", "app", "now")
            sync = world.until("Sync", "app", says("ApiUnavailable"))
            assert "authentication webhook" in condition(sync)["message"]
            third = world.repo.commit({"good/g.yaml": config("good", k="3")}, "Third")
            beside.goes_on(third, k="3")
    world.ask("Sync", "app", "again")
    world.until("Sync", "app", ready_at(sha))
    assert world.get("ConfigMap", "a")["data"] == {"k": "2"}


def grown(group: str, *fields: str) -> str:
    """Give the CRD with a schema that has just these fields."""
    properties = {name: {"type": "integer"} for name in fields}
    spec = {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}
    made = json.loads(crd(group, "v1"))
    made["spec"]["versions"][0]["schema"] = {"openAPIV3Schema": spec}
    return json.dumps(made)


def test_a_crd_and_an_object_with_its_new_field_come_in_one_commit(world: World, group: str) -> None:
    one = {"crd.yaml": grown(group, "a"), "one.yaml": gadget(group, "v1", spec={"a": 1})}
    sha = world.repo.commit({**one, "a.yaml": config("a", k="1")}, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    both = {"crd.yaml": grown(group, "a", "b"), "one.yaml": gadget(group, "v1", spec={"a": 1, "b": 2})}
    sha = world.repo.commit({**both, "a.yaml": config("a", k="2")}, "A new field")
    world.until("Sync", "app", ready_at(sha))
    assert not world.events("Invalid")
    # A field that the new CRD does not have either is refused as ever, and the commit is not complete.
    wrong = {"crd.yaml": grown(group, "a", "b", "c"), "one.yaml": gadget(group, "v1", spec={"d": 1})}
    world.repo.commit({**wrong, "a.yaml": config("a", k="3")}, "A mistyped field")
    sync = world.until("Sync", "app", says("Invalid", "spec.d: field not declared in schema"))
    assert set(failed(sync)) == {"one"}
    sha = world.repo.commit({"one.yaml": gadget(group, "v1", spec={"c": 1})}, "The field")
    world.until("Sync", "app", ready_at(sha))
    assert world.get("ConfigMap", "a")["data"] == {"k": "3"}
