"""What the programs inside of an install would write, written by the tests: their pods are kwok's, and run nothing.

It is written the way they do it, as updates under names of their own: bundles into webhooks and CRDs, rules and selectors of
webhooks, failure policies, certificates and their conditions. What the control plane does is real: rules of
aggregated roles, endpoints, and the objects behind a Deployment.
"""

from __future__ import annotations

import base64
import json
from typing import Any, Final

from tests.e2e.conftest import World
from tests.kit.api import Json

ISTIO: Final = "istio-system"
KNATIVE: Final = "knative-eventing"
CAPI: Final = "capi-system"
MUTATING: Final = "MutatingWebhookConfiguration"
VALIDATING: Final = "ValidatingWebhookConfiguration"
CRD: Final = "CustomResourceDefinition"
EVENTING_MUTATING: Final = ("webhook.eventing.knative.dev", "sinkbindings.webhook.sources.knative.dev")
EVENTING_VALIDATING: Final = (
    "validation.webhook.eventing.knative.dev",
    "config.webhook.eventing.knative.dev",
)
EVENTING_SELECTED: Final = "config.webhook.eventing.knative.dev"
"""The one with a selector in Git, which its controller leaves alone."""
ISTIO_MUTATING: Final = ("istio-sidecar-injector",)
ISTIO_VALIDATING: Final = {
    "istio-validator-istio-system": "rev.validation.istio.io",
    "istiod-default-validator": "validation.istio.io",
}
ISTIO_IGNORE: Final = tuple(
    {"target": {"kind": VALIDATING, "name": name}, "paths": [f"/webhooks/[name={hook}]/failurePolicy"]}
    for name, hook in ISTIO_VALIDATING.items()
)
"""istiod begins with Ignore, and makes it Fail once it serves."""


def _definition(kind: str) -> Json:
    plural = f"{kind.lower()}s"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": schema,
        "subresources": {"status": {}},
    }
    names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": CRD,
        "metadata": {"name": f"{plural}.cert-manager.io"},
        "spec": {
            "group": "cert-manager.io",
            "scope": "Namespaced",
            "names": names,
            "versions": [version],
        },
    }


CERTIFICATES: Final = tuple(_definition(kind) for kind in ("Certificate", "Issuer"))
"""cert-manager's part in Cluster API: its kinds, of which only the names matter here."""


def nothing(_world: World) -> None:
    """Play nothing: what is installed becomes ready by itself."""


def eventing(world: World) -> None:
    """Play eventing-webhook: certificates, rules, selectors and paths of the webhooks, bundles of the conversions."""
    secret = dict.fromkeys(("ca-cert.pem", "server-cert.pem", "server-key.pem"), _bundle(world))
    _there(world, "Secret", KNATIVE, "eventing-webhook-certs")
    world.api.merge("Secret", KNATIVE, "eventing-webhook-certs", {"data": secret}, manager="webhook")
    _convert(world, KNATIVE, "webhook")
    exclude = {"matchExpressions": [{"key": "webhooks.knative.dev/exclude", "operator": "DoesNotExist"}]}
    rule = {
        "apiGroups": ["eventing.knative.dev", "messaging.knative.dev", "sources.knative.dev"],
        "apiVersions": ["*"],
        "operations": ["CREATE", "UPDATE", "DELETE"],
        "resources": ["*"],
        "scope": "*",
    }
    owner = _owner(world, KNATIVE)
    for kind, names in ((MUTATING, EVENTING_MUTATING), (VALIDATING, EVENTING_VALIDATING)):
        for name in names:
            filled: Json = {"rules": [rule]} if name.endswith("webhook.eventing.knative.dev") else {}
            if name == EVENTING_SELECTED:
                filled = {"rules": [{**rule, "apiGroups": [""], "resources": ["configmaps/*"]}]}
            else:
                filled["namespaceSelector"] = exclude
            _fill(world, kind, name, "webhook", owner, path="/played", **filled)


def cluster_api(world: World) -> None:
    """Play cert-manager: the certificate with its Secret, and its injector."""
    for kind, name in (("Issuer", "capi-selfsigned-issuer"), ("Certificate", "capi-serving-cert")):
        _there(world, kind, CAPI, name)
        now = {"type": "Ready", "status": "True", "reason": "Ready", "message": "played"}
        path = f"{world.api.path(kind, CAPI, name)}/status?fieldManager=cert-manager"
        body = {"status": {"conditions": [{**now, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}
        world.api.request("PATCH", path, body, "application/merge-patch+json").close()
    if world.api.seek("Secret", CAPI, "capi-webhook-service-cert") is None:
        keys = dict.fromkeys(("tls.crt", "tls.key", "ca.crt"), _bundle(world))
        meta = {"name": "capi-webhook-service-cert"}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "type": "kubernetes.io/tls"}
        world.api.create("Secret", CAPI, {**secret, "data": keys})
    _convert(world, CAPI, "cainjector")
    for kind, word in ((MUTATING, "mutating"), (VALIDATING, "validating")):
        _fill(world, kind, f"capi-{word}-webhook-configuration", "cainjector")


def istio(world: World) -> None:
    """Play istiod: bundles, and Fail for what it validates once it serves."""
    for name in ISTIO_MUTATING:
        _fill(world, MUTATING, name, "pilot-discovery")
    for name in ISTIO_VALIDATING:
        _fill(world, VALIDATING, name, "pilot-discovery", failurePolicy="Fail")


def _bundle(world: World) -> str:
    """Return a certificate that is one: the API server refuses anything else in a CRD."""
    return base64.b64encode(world.cluster.ca.read_bytes()).decode()


def _there(world: World, kind: str, namespace: str | None, name: str) -> Json:
    return world.api.until(kind, namespace, name, lambda o: o is not None)


def _owner(world: World, namespace: str) -> Json:
    uid = _there(world, "Namespace", None, namespace)["metadata"]["uid"]
    owner = {"apiVersion": "v1", "kind": "Namespace", "name": namespace, "uid": uid}
    return {"ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}]}


def _convert(world: World, namespace: str, manager: str) -> None:
    """Write a bundle into each CRD whose objects are converted by a service of a namespace."""
    bundle = {"conversion": {"webhook": {"clientConfig": {"caBundle": _bundle(world)}}}}
    for crd in world.api.list(CRD):
        if f"'namespace': '{namespace}'" in str(crd["spec"].get("conversion")):
            world.api.merge(CRD, None, crd["metadata"]["name"], {"spec": bundle}, manager=manager)


def _fill(
    world: World, kind: str, name: str, manager: str, meta: Json | None = None, path: str = "", **filled: Any
) -> None:
    """Write a bundle and more into each webhook, and into the metadata, as an update of the whole list."""
    config = _there(world, kind, None, name)
    hooks = json.loads(json.dumps(config["webhooks"]))
    for hook in hooks:
        hook["clientConfig"]["caBundle"] = _bundle(world)
        if path:
            hook["clientConfig"]["service"]["path"] = path
        hook.update(filled)
    body = {"metadata": {**(meta or {}), "resourceVersion": config["metadata"]["resourceVersion"]}}
    world.api.merge(kind, None, name, {**body, "webhooks": hooks}, manager=manager)
