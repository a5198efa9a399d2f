"""Fields that a controller owns by contract: which they are, and what is sent in their place."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from setpoint.objects.identity import identity
from setpoint.objects.managed_fields import Step
from setpoint.plan.ignore import contracts
from setpoint.plan.ignore.rules import ignored_paths, is_ignored, with_ignored

Json = dict[str, Any]
RBAC, ADMISSION = "rbac.authorization.k8s.io/v1", "admissionregistration.k8s.io/v1"
INJECT = {"cert-manager.io/inject-ca-from": "shop/ca"}
SELECTORS = {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}
NODE, UID = "volume.kubernetes.io/selected-node", "kubernetes.io/service-account.uid"
ROBOT = {"kubernetes.io/service-account.name": "robot"}
ONE, TWO = {"verbs": ["get"]}, {"verbs": ["list"]}


def made(api: str, kind: str, annotations: Json | None = None, **rest: Any) -> Json:
    meta: Json = {"name": "x", **({"annotations": annotations} if annotations else {})}
    return {"apiVersion": api, "kind": kind, "metadata": meta, **rest}


def webhooks(kind: str, *bundles: tuple[str, str | None], annotations: Json | None = None) -> Json:
    hooks = [{"name": n, "clientConfig": {"caBundle": b} if b else {}} for n, b in bundles]
    obj = made(ADMISSION, kind, annotations, webhooks=hooks)
    trie: Json = {f'k:{{"name":"{n}"}}': {".": {}} for n, _ in bundles}
    entry = {"manager": "x", "apiVersion": ADMISSION, "fieldsV1": {"f:webhooks": trie}}
    return {**obj, "metadata": {**obj["metadata"], "managedFields": [entry]}}


def sent(git: Json, live: Json | None) -> Json:
    """Return what is sent, without metadata that is only live."""
    found = with_ignored(git, live, (), identity(git))
    assert found.doubts == ()
    return dict(found.manifest)


def job(uid: str, **spec: Any) -> Json:
    labels = {"batch.kubernetes.io/controller-uid": uid, "controller-uid": uid, "app": "a"}
    template = {"metadata": {"labels": labels}, "spec": {}}
    return made(
        "batch/v1", "Job", spec={"selector": {"matchLabels": {"u": uid}}, "template": template, **spec}
    )


CASES = [
    pytest.param(
        made(RBAC, "ClusterRole", aggregationRule=SELECTORS, rules=[]),
        made(RBAC, "ClusterRole", aggregationRule=SELECTORS, rules=[ONE]),
        made(RBAC, "ClusterRole", aggregationRule=SELECTORS, rules=[ONE]),
        id="aggregated rules",
    ),
    pytest.param(
        made(RBAC, "ClusterRole", aggregationRule=SELECTORS),
        made(RBAC, "ClusterRole", aggregationRule=SELECTORS, rules=[ONE]),
        made(RBAC, "ClusterRole", aggregationRule=SELECTORS),
        id="rules that Git does not set are not taken over",
    ),
    pytest.param(
        made(RBAC, "ClusterRole", rules=[TWO]),
        made(RBAC, "ClusterRole", aggregationRule=SELECTORS, rules=[ONE]),
        made(RBAC, "ClusterRole", rules=[TWO]),
        id="rules of a role that Git does not aggregate",
    ),
    pytest.param(
        made(RBAC, "Role", aggregationRule=SELECTORS, rules=[TWO]),
        made(RBAC, "Role", rules=[ONE]),
        made(RBAC, "Role", aggregationRule=SELECTORS, rules=[TWO]),
        id="another kind",
    ),
    pytest.param(
        made("apps/v1", "Deployment", {"deployment.kubernetes.io/revision": "7", "a": "git"}),
        made("apps/v1", "Deployment", {"deployment.kubernetes.io/revision": "2", "a": "live"}),
        made("apps/v1", "Deployment", {"deployment.kubernetes.io/revision": "2", "a": "git"}),
        id="revision",
    ),
    pytest.param(
        made("v1", "PersistentVolumeClaim", {"pv.kubernetes.io/bind-completed": "yes", "a": "1"}),
        made("v1", "PersistentVolumeClaim", {"a": "1"}),
        made("v1", "PersistentVolumeClaim", {"a": "1"}),
        id="a claim that is not bound here",
    ),
    pytest.param(job("old"), job("new"), job("new"), id="the selector of a Job"),
    pytest.param(
        job("old", manualSelector=True),
        job("new"),
        job("old", manualSelector=True),
        id="a selector of one's own",
    ),
    pytest.param(
        made("v1", "PersistentVolumeClaim", {NODE: "of-another-cluster", "a": "1"}),
        made("v1", "PersistentVolumeClaim", {NODE: "of-this-one", "a": "1"}),
        made("v1", "PersistentVolumeClaim", {NODE: "of-this-one", "a": "1"}),
        id="a claim whose node the scheduler has chosen",
    ),
    pytest.param(
        made("v1", "Secret", {**ROBOT, UID: "old"}, data={"ca.crt": "Cg==", "token": "Cg=="}),
        made("v1", "Secret", {**ROBOT, UID: "new"}, data={"ca.crt": "Q0E=", "token": "VA=="}),
        made("v1", "Secret", {**ROBOT, UID: "new"}, data={"ca.crt": "Q0E=", "token": "Cg=="}),
        id="a token of another ServiceAccount of this name",
    ),
    pytest.param(
        made("v1", "Secret", data={"ca.crt": "Cg=="}),
        made("v1", "Secret", data={"ca.crt": "Q0E="}),
        made("v1", "Secret", data={"ca.crt": "Cg=="}),
        id="a certificate that has nothing to do with a ServiceAccount",
    ),
    pytest.param(
        made(
            "v1", "PersistentVolume", spec={"claimRef": {"name": "c", "uid": "old", "resourceVersion": "1"}}
        ),
        made("v1", "PersistentVolume", spec={"claimRef": {"name": "c", "uid": "new"}}),
        made("v1", "PersistentVolume", spec={"claimRef": {"name": "c", "uid": "new"}}),
        id="the claim of a volume",
    ),
    pytest.param(
        made("apiregistration.k8s.io/v1", "APIService", INJECT, spec={"caBundle": "Cg=="}),
        made("apiregistration.k8s.io/v1", "APIService", INJECT, spec={"caBundle": "cmVhbA=="}),
        made("apiregistration.k8s.io/v1", "APIService", INJECT, spec={"caBundle": "cmVhbA=="}),
        id="bundle of an APIService",
    ),
    pytest.param(
        made("apiregistration.k8s.io/v1", "APIService", spec={"caBundle": "Cg=="}),
        made("apiregistration.k8s.io/v1", "APIService", INJECT, spec={"caBundle": "cmVhbA=="}),
        made("apiregistration.k8s.io/v1", "APIService", spec={"caBundle": "Cg=="}),
        id="bundle without an injector",
    ),
]


@pytest.mark.parametrize(("git", "live", "wanted"), CASES)
def test_the_live_value_is_sent(git: Json, live: Json, wanted: Json) -> None:
    assert sent(git, live) == wanted


@pytest.mark.parametrize("kind", ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"])
def test_a_bundle_goes_to_the_webhook_of_that_name(kind: str) -> None:
    git = webhooks(kind, ("new", None), ("a", "Cg=="), ("b", None), annotations=INJECT)
    live = webhooks(kind, ("b", "Yg=="), ("a", "YQ=="), annotations=INJECT)
    found = [w["clientConfig"] for w in sent(git, live)["webhooks"]]
    assert found == [{}, {"caBundle": "YQ=="}, {}], "what Git does not set is not taken over"


def test_a_bundle_of_a_conversion_webhook() -> None:
    def crd(bundle: str) -> Json:
        client = {"clientConfig": {"caBundle": bundle, "service": {"name": "w"}}}
        spec = {"conversion": {"strategy": "Webhook", "webhook": client}}
        return made("apiextensions.k8s.io/v1", "CustomResourceDefinition", INJECT, spec=spec)

    assert sent(crd("Cg=="), crd("cmVhbA==")) == crd("cmVhbA==")


def test_what_describes_another_object_creates_none() -> None:
    bound = {"pv.kubernetes.io/bind-completed": "yes", "a": "1"}
    assert sent(made("v1", "PersistentVolumeClaim", bound), None) == made(
        "v1", "PersistentVolumeClaim", {"a": "1"}
    )
    volume = made("v1", "PersistentVolume", spec={"claimRef": {"name": "c", "uid": "old"}})
    assert sent(volume, None)["spec"] == {"claimRef": {"name": "c"}}
    assert sent(made("v1", "PersistentVolumeClaim", {NODE: "x", "a": "1"}), None) == made(
        "v1", "PersistentVolumeClaim", {"a": "1"}
    )
    assert sent(made("v1", "Secret", {**ROBOT, UID: "old"}, data={"ca.crt": "Cg=="}), None) == made(
        "v1", "Secret", ROBOT, data={}
    )
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {}}
    assert sent(job("old"), None) == made("batch/v1", "Job", spec={"template": template})
    assert sent(job("old", manualSelector=True), None) == job("old", manualSelector=True)
    by = made("v1", "PersistentVolume", {"pv.kubernetes.io/provisioned-by": "csi"})
    assert sent(by, None) == by
    role = made(RBAC, "ClusterRole", aggregationRule=SELECTORS, rules=[ONE])
    assert sent(role, None) == role


def test_what_is_told() -> None:
    role = made(RBAC, "ClusterRole", aggregationRule=SELECTORS, rules=[ONE])
    assert contracts.told_paths(identity(role), role) == ("/rules",)
    assert contracts.told_paths(identity(role), {**role, "rules": []}) == ()
    hook = webhooks("MutatingWebhookConfiguration", ("a", "Cg=="), annotations=INJECT)
    assert contracts.told_paths(identity(hook), hook) == ()


def test_what_a_person_adds_there_is_no_drift() -> None:
    git = made("apps/v1", "Deployment")
    tree = ignored_paths((), identity(git), git)
    live = made("apps/v1", "Deployment", {"deployment.kubernetes.io/revision": "2", "a": "1"})

    def ignored(key: str) -> bool:
        path = (Step("metadata"), Step("annotations"), Step(key))
        return is_ignored(path, tree or {"x": {}}, git, live)

    assert ignored("deployment.kubernetes.io/revision")
    assert not ignored("a")
    plain = made("v1", "ConfigMap")
    assert ignored_paths((), identity(plain), plain) is None


def test_a_manifest_of_any_shape_is_left_to_the_server() -> None:
    for spec in (None, "x", [1], {"claimRef": "x"}, {"conversion": [1]}):
        for api, kind in (
            ("v1", "PersistentVolume"),
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
            (ADMISSION, "MutatingWebhookConfiguration"),
        ):
            git = made(api, kind, INJECT, spec=spec, webhooks=spec)
            assert sent(git, None) == git


def test_the_page_has_the_table() -> None:
    text = Path("docs/concepts.md").read_text()
    for contract in contracts.CONTRACTS:
        for path in contract.paths:
            last = path.rpartition("/")[2].replace("~1", "/")
            assert re.search(rf"^\| .*{contract.kind}.*{re.escape(last)}", text, re.MULTILINE), contract
