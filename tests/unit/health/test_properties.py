"""Whatever JSON an object is made of, there is a verdict, and it is fit to be shown."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from setpoint.health import evaluate as health
from setpoint.health import verdict
from setpoint.health.verdict import Health

NAMES = st.sampled_from(
    [
        "status",
        "spec",
        "metadata",
        "conditions",
        "type",
        "reason",
        "message",
        "phase",
        "state",
        "health",
        "replicas",
        "readyReplicas",
        "updatedReplicas",
        "observedGeneration",
        "generation",
        "deletionTimestamp",
        "finalizers",
        "ancestors",
        "parents",
        "listeners",
        "parentRef",
        "name",
        "containerStatuses",
        "initContainerStatuses",
        "waiting",
        "terminated",
        "lastState",
        "exitCode",
        "updateStrategy",
        "rollingUpdate",
        "partition",
        "suspend",
        "paused",
        "severity",
        "items",
        "error",
        "failureMessage",
        "statuses",
        "desiredState",
        "currentState",
        "loadBalancer",
        "desiredNumberScheduled",
        "annotations",
        "pauseConditions",
        "operationState",
        "stage",
        "stageStatus",
        "ready",
        "healthy",
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["True", "False", "Unknown", "Ready", "Failed", "Progressing", "Stalled", "Reconciling", "Issuing"]
    )
)
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.text(max_size=8), inner, max_size=6)
    ),
    max_leaves=25,
)
KINDS = st.sampled_from(
    [
        ("apps/v1", "Deployment"),
        ("apps/v1", "StatefulSet"),
        ("apps/v1", "DaemonSet"),
        ("apps/v1", "ReplicaSet"),
        ("v1", "Pod"),
        ("v1", "Secret"),
        ("v1", "Service"),
        ("v1", "Node"),
        ("v1", "Namespace"),
        ("v1", "PersistentVolume"),
        ("v1", "PersistentVolumeClaim"),
        ("batch/v1", "Job"),
        ("batch/v1", "CronJob"),
        ("policy/v1", "PodDisruptionBudget"),
        ("autoscaling/v2", "HorizontalPodAutoscaler"),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
        ("apiregistration.k8s.io/v1", "APIService"),
        ("argoproj.io/v1alpha1", "Rollout"),
        ("argoproj.io/v1alpha1", "Application"),
        ("apps.kruise.io/v1alpha1", "CloneSet"),
        ("gloo.solo.io/v1", "Upstream"),
        ("grafana.integreatly.org/v1beta1", "Grafana"),
        ("s3.aws.upbound.io/v1beta1", "Bucket"),
        ("cert-manager.io/v1", "Certificate"),
        ("promoter.argoproj.io/v1alpha1", "CommitStatus"),
        ("gateway.networking.k8s.io/v1", "HTTPRoute"),
        ("example.org/v1", "Thing"),
    ]
)


def fit_to_be_shown(verdict: verdict.Verdict) -> None:
    assert isinstance(verdict.health, Health)
    assert verdict.reason.isascii()
    assert verdict.reason.isalnum()
    assert len(verdict.message) <= 300
    assert "\n" not in verdict.message


@given(obj=st.dictionaries(NAMES | st.text(max_size=8), JSON, max_size=8))
@settings(max_examples=200)
def test_any_mapping(obj: dict[str, Any]) -> None:
    fit_to_be_shown(health.evaluate(obj))


@given(kind=KINDS, status=JSON, spec=JSON, metadata=JSON)
@settings(max_examples=500)
def test_any_status_of_a_known_kind(kind: tuple[str, str], status: Any, spec: Any, metadata: Any) -> None:
    obj = {"apiVersion": kind[0], "kind": kind[1], "metadata": metadata, "spec": spec, "status": status}
    before = copy.deepcopy(obj)
    fit_to_be_shown(health.evaluate(obj))
    assert repr(obj) == repr(before)


CONDITIONS = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["Ready", "Available", "Synced", "Degraded", "Progressing", "DiskReady"])},
        optional={
            "status": st.sampled_from(["True", "False", "Unknown", True, False, None, 3]),
            "reason": st.sampled_from(["Succeeded", "BuildFailed", "Waiting", "Paused", ""]),
            "message": st.text(max_size=30),
        },
    ),
    max_size=5,
)


@given(conditions=CONDITIONS)
@settings(max_examples=200)
def test_the_order_of_different_conditions_does_not_matter(conditions: list[dict[str, Any]]) -> None:
    once = list({condition["type"]: condition for condition in conditions}.values())
    forth, back = ({"kind": "Thing", "status": {"conditions": order}} for order in (once, once[::-1]))
    assert health.evaluate(forth).health is health.evaluate(back).health


@given(text=st.text(max_size=3000))
@settings(max_examples=200)
def test_what_a_controller_writes_cannot_break_the_line(text: str) -> None:
    ready = {"type": "Ready", "status": "False", "reason": text, "message": text}
    fit_to_be_shown(
        health.evaluate({"kind": "Thing", "status": {"conditions": [ready], "phase": text, "state": text}})
    )
