"""Each refusal that a person can meet, provoked on a real API server."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from tests.kit.cluster.base import Cluster as Environment
from tests.kube.objects import Json, config_map, crd, deployment, gone, kind

from setpoint.api.reasons import Problem, Reason
from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError
from setpoint.kube.explain import problem_of
from setpoint.objects.identity import identity
from setpoint.objects.kinds import Kind

pytestmark = pytest.mark.cluster


async def refused(
    api: Cluster, manifest: Json, *, user: str | None = None, of: Kind | None = None
) -> Problem:
    """The problem of an apply, which must fail; a dry run must fail alike."""
    found = of or kind(api, manifest["apiVersion"], manifest["kind"])
    with pytest.raises(ApiError) as caught:
        await api.apply(found, manifest, user=user)
    problem = problem_of(
        caught.value, identity(manifest), "apply", user, home=manifest["metadata"].get("namespace", "")
    )
    assert "hunter2" not in f"{problem}{caught.value!s}{caught.value!r}{caught.value.causes}"
    return problem


async def applied(api: Cluster, manifest: Json) -> Json:
    return (await api.apply(kind(api, manifest["apiVersion"], manifest["kind"]), manifest)).object


def secret(namespace: str, name: str = "s", **content: Any) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"namespace": namespace, "name": name},
        **content,
    }


def role(namespace: str, name: str, *rules: Json) -> Json:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"namespace": namespace, "name": name},
        "rules": list(rules),
    }


async def test_forbidden(api: Cluster, namespace: str) -> None:
    user = f"system:serviceaccount:{namespace}:nobody"
    problem = await refused(api, deployment(namespace, "web"), user=user)
    assert problem.reason is Reason.Forbidden
    expected = f"Deployment/web: ServiceAccount {namespace}/nobody may not patch deployments.apps in namespace {namespace}"
    assert problem.message == expected
    hidden = await refused(api, secret(namespace, stringData={"a": "hunter2"}), user=user)
    assert (
        hidden.message
        == f"Secret/s: ServiceAccount {namespace}/nobody may not patch secrets in namespace {namespace}"
    )


async def test_rights_that_the_writer_does_not_hold(api: Cluster, namespace: str) -> None:
    manager = role(
        namespace,
        "manager",
        {
            "apiGroups": ["rbac.authorization.k8s.io"],
            "resources": ["roles"],
            "verbs": ["create", "get", "patch"],
        },
    )
    await applied(api, manager)
    await applied(
        api,
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"namespace": namespace, "name": "manager"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "manager"},
            "subjects": [{"kind": "ServiceAccount", "name": "manager", "namespace": namespace}],
        },
    )
    wanted = role(namespace, "wanted", {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]})
    user = f"system:serviceaccount:{namespace}:manager"
    # The authorizer learns of the binding from its own watch.
    problem = await until(lambda: refused(api, wanted, user=user), lambda p: "grant" in p.message)
    assert problem.reason is Reason.Forbidden
    expected = (
        f"Role/wanted: ServiceAccount {namespace}/manager may not grant rights that it does not hold itself: "
    )
    assert problem.message == expected + '{APIGroups:[""], Resources:["pods"], Verbs:["get"]}'


async def until(ask: Any, good: Any) -> Any:
    """Ask until the answer is good: what a server's caches delay has no event to wait for."""
    for _ in range(600):
        answer = await ask()
        if good(answer):
            return answer
        await asyncio.sleep(0.1)
    raise AssertionError(f"still {answer}")


def with_selector(namespace: str) -> Json:
    manifest = deployment(namespace, "web", selector={"matchLabels": {"app": "other"}})
    manifest["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    return manifest


async def test_immutable(api: Cluster, namespace: str) -> None:
    await applied(api, deployment(namespace, "web"))
    problem = await refused(api, with_selector(namespace))
    assert problem.reason is Reason.Immutable
    assert problem.message.startswith("Deployment/web: spec.selector: ")
    await applied(api, secret(namespace, immutable=True, stringData={"a": "hunter2"}))
    hidden = await refused(api, secret(namespace, immutable=True, stringData={"a": "hunter2-b"}))
    assert (hidden.reason, hidden.message) == (
        Reason.Immutable,
        "Secret/s: data: field is immutable when `immutable` is set",
    )


@pytest.mark.parametrize("image", ["x:1", "x:2"])
async def test_an_immutable_template_is_not_quoted(api: Cluster, namespace: str, image: str) -> None:
    def job(image: str) -> Json:
        pod = {"restartPolicy": "Never", "containers": [{"name": "a", "image": image}]}
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"namespace": namespace, "name": "j"},
            "spec": {"suspend": True, "template": {"spec": pod}},
        }

    await applied(api, job("x:0"))
    problem = await refused(api, job(image))
    assert (problem.reason, problem.message) == (
        Reason.Immutable,
        "Job/j: spec.template.spec: field is immutable",
    )


def service(namespace: str, *ports: Json) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"namespace": namespace, "name": "s"},
        "spec": {"ports": list(ports)},
    }


async def test_invalid(api: Cluster, namespace: str) -> None:
    number = {**config_map(namespace, "c"), "data": {"a": 1, "b": ["x"]}}
    port = {"port": 80, "protocol": "TCP"}
    table = [
        (
            deployment(namespace, "web", replicas=-1),
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            deployment(namespace, "web", replicas="three"),
            "spec.replicas: expected numeric (int or float), got string",
        ),
        (deployment(namespace, "web", foo=1), "spec.foo: field not declared in schema"),
        (service(namespace, port, port), 'spec.ports: duplicate entries for key [port=80,protocol="TCP"]'),
        (number, "data.a: expected string, got 1; data.b: expected string, got a list"),
    ]
    for manifest, words in table:
        problem = await refused(api, manifest)
        assert (problem.reason, problem.transient) == (Reason.Invalid, False)
        assert problem.message == f"{manifest['kind']}/{manifest['metadata']['name']}: {words}"


async def test_invalid_secrets_are_named_by_path_alone(api: Cluster, namespace: str) -> None:
    labelled = secret(namespace)
    labelled["metadata"]["labels"] = {"a": "hunter2 is no label!"}
    table = [
        (secret(namespace, stringData={"hunter": 73519264}), "stringData.hunter: expected string"),
        (secret(namespace, data={"pin": "hunter2!"}), "is not base64"),
        (secret(namespace, hunter="hunter2"), "hunter: field not declared in schema"),
        (
            secret(namespace, type="kubernetes.io/tls", stringData={"tls.crt": "hunter2"}),
            "data[tls.key]: Required value",
        ),
        (labelled, "metadata.labels: the server's words are withheld"),
    ]
    for manifest, words in table:
        problem = await refused(api, manifest)
        assert problem.reason is Reason.Invalid
        assert words in problem.message
        assert "73519264" not in problem.message


async def test_too_large(api: Cluster, namespace: str) -> None:
    for size, limit in ((1_200_000, "1,048,576"), (4_000_000, "3,145,728")):
        problem = await refused(api, config_map(namespace, "c", a="x" * size))
        assert (problem.reason, problem.message) == (
            Reason.TooLarge,
            f"ConfigMap/c: the object is too large (limit {limit} bytes); split it",
        )
        hidden = await refused(api, secret(namespace, stringData={"a": "hunter2" * (size // 7 + 1)}))
        assert hidden.reason is Reason.TooLarge


async def test_a_namespace_that_does_not_exist(api: Cluster) -> None:
    for manifest in (
        config_map("no-such-namespace", "c"),
        secret("no-such-namespace", stringData={"a": "hunter2"}),
    ):
        problem = await refused(api, manifest)
        assert problem.reason is Reason.NamespaceMissing
        assert problem.message.endswith("namespace no-such-namespace does not exist")


async def test_a_namespace_that_is_being_deleted(api: Cluster, namespace: str) -> None:
    of = kind(api, "v1", "ConfigMap")
    await api.apply(of, config_map(namespace, "held"))
    hold = [{"op": "add", "path": "/metadata/finalizers", "value": ["example.org/test"]}]
    await api.patch(of, namespace, "held", hold)
    try:
        home = await api.get(kind(api, "v1", "Namespace"), None, namespace)
        assert home is not None
        uid = home["metadata"]["uid"]
        assert await api.delete(kind(api, "v1", "Namespace"), None, namespace, uid=uid)
        assert await api.delete(kind(api, "v1", "Namespace"), None, namespace, uid=uid), "it is under way"
        for manifest in (config_map(namespace, "late"), secret(namespace, stringData={"a": "hunter2"})):
            problem = await refused(api, manifest)
            assert (problem.reason, problem.transient) == (Reason.NamespaceTerminating, True)
            assert problem.message.endswith(f"namespace {namespace} is being deleted")
    finally:
        await api.patch(of, namespace, "held", [{"op": "remove", "path": "/metadata/finalizers"}])


async def test_a_kind_that_is_not_served(api: Cluster, namespace: str) -> None:
    of = replace(kind(api, "apps/v1", "Deployment"), version="v9")
    problem = await refused(api, deployment(namespace, "web"), of=of)
    assert (problem.reason, problem.message) == (
        Reason.KindUnknown,
        "Deployment/web: the cluster does not serve kind Deployment (any more)",
    )


async def test_a_quota(api: Cluster, namespace: str) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"namespace": namespace, "name": "q"},
        "spec": {"hard": {"count/configmaps": "0", "count/secrets": "0"}},
    }
    await applied(api, quota)
    # Its controller takes a while, and the server's admission hears of what it found still later.
    problem = await refused_at_last(api, config_map(namespace, "c"), "exceeded")
    assert problem.reason is Reason.AdmissionDenied
    assert problem.message.startswith("ConfigMap/c: denied by admission: exceeded quota: q")
    hidden = await refused_at_last(api, secret(namespace, stringData={"a": "hunter2"}), "exceeded")
    assert hidden.message.startswith("Secret/s: denied by admission: exceeded quota: q")


def policy(name: str, namespace: str) -> tuple[Json, Json]:
    rule = {
        "apiGroups": ["", "apps"],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["deployments", "secrets"],
    }
    here = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    head = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    says = {
        "expression": "!has(object.metadata.labels)",
        "messageExpression": "'labels are not wanted: ' + object.metadata.labels['a']",
    }
    return (
        {
            **head,
            "kind": "ValidatingAdmissionPolicy",
            "spec": {"matchConstraints": {"resourceRules": [rule]}, "validations": [says]},
        },
        {
            **head,
            "kind": "ValidatingAdmissionPolicyBinding",
            "spec": {"policyName": name, "validationActions": ["Deny"], "matchResources": here},
        },
    )


def webhook(name: str, namespace: str) -> Json:
    """A webhook whose service does not exist."""
    rule = {
        "apiGroups": ["apps", ""],
        "apiVersions": ["v1"],
        "operations": ["*"],
        "resources": ["deployments", "secrets"],
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [
            {
                "name": "test.example.org",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "clientConfig": {"service": {"name": "nobody", "namespace": namespace}},
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "rules": [rule],
            }
        ],
    }


@pytest.fixture
async def cluster_wide(api: Cluster) -> AsyncIterator[Any]:
    """Applies cluster-scoped objects, and removes them in the end."""
    made: list[Json] = []

    async def apply(manifest: Json) -> None:
        made.append(manifest)
        await applied(api, manifest)

    yield apply
    for manifest in reversed(made):
        await gone(
            api, kind(api, manifest["apiVersion"], manifest["kind"]), None, manifest["metadata"]["name"]
        )


async def refused_at_last(api: Cluster, manifest: Json, words: str = "") -> Problem:
    """The problem, once the server has taken up a new policy, webhook or quota; the first that has these words."""

    said: list[str] = []

    async def ask() -> Problem | None:
        try:
            await api.apply(kind(api, manifest["apiVersion"], manifest["kind"]), manifest, dry_run=True)
        except ApiError as error:
            said.append(f"{error}{error.causes}")
            return problem_of(error, identity(manifest), "apply", home=manifest["metadata"]["namespace"])
        return None

    problem = await until(ask, lambda p: p is not None and words in p.message)
    assert isinstance(problem, Problem)
    assert "hunter2" not in "".join(said)
    return problem


async def test_a_policy_denies(api: Cluster, namespace: str, cluster_wide: Any) -> None:
    for manifest in policy(f"test-{secrets.token_hex(4)}", namespace):
        await cluster_wide(manifest)
    labelled, hidden = deployment(namespace, "web", "because"), secret(namespace)
    labelled["metadata"]["labels"] = {"a": "because"}
    hidden["metadata"]["labels"] = {"a": "hunter2"}
    problem = await refused_at_last(api, labelled)
    assert problem.reason is Reason.AdmissionDenied
    assert problem.message.startswith("Deployment/web: denied by policy test-")
    assert problem.message.endswith(": labels are not wanted: because")
    silent = await refused_at_last(api, hidden)
    assert silent.reason is Reason.AdmissionDenied
    assert silent.message.endswith(", without explanation")


async def test_a_webhook_that_cannot_be_called(api: Cluster, namespace: str, cluster_wide: Any) -> None:
    await cluster_wide(webhook(f"test-{secrets.token_hex(4)}", namespace))
    problem = await refused_at_last(api, deployment(namespace, "web"))
    assert (problem.reason, problem.transient) == (Reason.WebhookFailed, True)
    expected = f'admission webhook test.example.org could not be called (nobody.{namespace}.svc:443, service "nobody" not found)'
    assert problem.message == f"Deployment/web: {expected}"
    hidden = await refused_at_last(api, secret(namespace, stringData={"a": "hunter2"}))
    assert hidden.reason is Reason.WebhookFailed


async def test_custom_resources(api: Cluster, namespace: str, cluster_wide: Any) -> None:
    group = f"t{secrets.token_hex(4)}.example.org"
    definition = crd(group, "things", "Thing")
    await cluster_wide(definition)

    async def found() -> Kind | None:
        await api.discover()
        return api.kind(f"{group}/v1", "Thing")

    await until(found, lambda k: k is not None)
    thing = {"apiVersion": f"{group}/v1", "kind": "Thing", "metadata": {"namespace": namespace, "name": "a"}}
    wrong = await refused(api, {**thing, "spec": {"size": "x"}})
    assert wrong.message == "Thing/a: spec.size: expected numeric (int or float), got string"
    preserving = json.loads(json.dumps(definition))
    schema = preserving["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    schema["x-kubernetes-preserve-unknown-fields"] = True
    await applied(api, preserving)

    async def large() -> Problem:
        return await refused(api, {**thing, "spec": {"blob": "x" * 2_500_000}})

    problem = await until(large, lambda p: p.reason is not Reason.Invalid)
    assert (problem.reason, problem.message) == (
        Reason.TooLarge,
        "Thing/a: the object is too large (limit 2,097,152 bytes); split it",
    )


async def test_a_server_that_is_not_there(cluster: Environment) -> None:
    text = cluster.kubeconfig.read_text()
    path = cluster.folder / "nowhere.kubeconfig"
    path.write_text(text.replace(cluster.server, "https://127.0.0.1:9"))
    nowhere = await Cluster.connect(str(path), user_agent="setpoint-tests")
    try:
        with pytest.raises(ApiError) as caught:
            await nowhere.version()
    finally:
        await nowhere.close()
    problem = problem_of(caught.value, identity(config_map("n", "c")), "get")
    assert (problem.reason, problem.transient) == (Reason.ApiUnavailable, True)
    assert problem.message == "the API server at https://127.0.0.1:9 cannot be reached"
