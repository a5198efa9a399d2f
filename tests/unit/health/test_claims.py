"""Claims that wait for their first consumer, and what else holds no wave until it is healthy."""

from __future__ import annotations

from typing import Any

import pytest

from setpoint.health import accepted, claims
from setpoint.health.claims import StorageClass, Unbound, binds_late, judged, storage_class, unbound
from setpoint.health.verdict import Health, degraded, healthy, progressing, suspended

PENDING = progressing("Pending", "waits for a volume")
LATE, SOON = StorageClass("late", late=True), StorageClass("soon", late=False)
BETA = "volume.beta.kubernetes.io/storage-class"
NODE = "volume.kubernetes.io/selected-node"
DEFAULT = "storageclass.kubernetes.io/is-default-class"


def claim(spec: Any = None, phase: str = "Pending", **meta: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "library", **meta},
        "spec": spec if spec is not None else {"storageClassName": "late"},
        "status": {"phase": phase},
    }


@pytest.mark.parametrize(
    ("obj", "found"),
    [
        (claim(), Unbound("late")),
        (claim({}), Unbound(None)),
        (claim(phase=""), Unbound("late")),
        (claim(annotations={BETA: "old"}), Unbound("old")),
        (claim(annotations={NODE: "n1"}), Unbound("late", selected=True)),
        (claim({"storageClassName": "late", "volumeName": "pv1"}), None),
        (claim({"storageClassName": ""}), None),
        (claim(phase="Bound"), None),
        (claim(phase="Lost"), None),
        (claim(deletionTimestamp="2026-01-01T00:00:00Z"), None),
        ({**claim(), "kind": "PersistentVolume"}, None),
        ({**claim(), "apiVersion": "example.org/v1"}, None),
        ({**claim("text"), "status": None, "metadata": {"annotations": []}}, Unbound(None)),
    ],
)
def test_which_claims_may_wait_for_a_consumer(obj: dict[str, Any], found: Unbound | None) -> None:
    assert unbound(obj) == found


def test_a_class_is_reduced() -> None:
    obj = {"metadata": {"name": "late"}, "volumeBindingMode": "WaitForFirstConsumer"}
    assert storage_class(obj) == LATE
    assert storage_class({"metadata": {"name": "soon"}, "volumeBindingMode": "Immediate"}) == SOON
    assert storage_class({"metadata": {"name": "soon"}}) == SOON
    meta = {"name": "x", "annotations": {DEFAULT: "true"}, "creationTimestamp": "2026-01-01T00:00:00Z"}
    assert storage_class({"metadata": meta}) == StorageClass(
        "x", late=False, default=True, created="2026-01-01T00:00:00Z"
    )


OLD = StorageClass("old", late=False, default=True, created="2025-01-01T00:00:00Z")
NEW = StorageClass("new", late=True, default=True, created="2026-01-01T00:00:00Z")
TWIN = StorageClass("twin", late=False, default=True, created="2026-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("of", "classes", "brought", "late"),
    [
        ("late", [LATE, SOON], [], True),
        ("soon", [LATE, SOON], [], False),
        ("other", [LATE, SOON], [], False),
        ("late", None, [LATE], None),
        (None, [LATE, SOON], [], False),
        (None, [OLD, NEW, LATE], [], True),
        (None, [TWIN, NEW], [], True),
        (None, [OLD], [NEW], False),
        ("soon", [], [SOON], True),
        (None, [], [OLD], True),
    ],
)
def test_the_class_says_when_a_claim_is_bound(
    of: str | None, classes: list[StorageClass] | None, brought: list[StorageClass], late: bool | None
) -> None:
    assert binds_late(Unbound(of), classes, brought) is late


@pytest.mark.parametrize(
    ("selected", "late", "mounted", "health", "words"),
    [
        (False, True, False, Health.Healthy, "waits for its first consumer"),
        (True, True, False, Health.Healthy, "waits for its first consumer"),
        (False, True, True, Health.Progressing, "waits for a volume"),
        (False, True, None, Health.Healthy, "waits for its first consumer"),
        (True, True, None, Health.Progressing, "waits for a volume"),
        (False, False, False, Health.Progressing, "waits for a volume"),
        (False, None, False, Health.Progressing, "may not watch StorageClasses"),
    ],
)
def test_a_claim_that_nobody_mounts_is_healthy(
    selected: bool, late: bool | None, mounted: bool | None, health: Health, words: str
) -> None:
    found = judged(PENDING, Unbound("late", selected), late=late, mounted=mounted)
    assert found.health is health
    assert words in found.message


HELD = [
    ("apps", "Deployment"),
    ("batch", "Job"),
    ("", "Pod"),
    ("cert-manager.io", "Certificate"),
    ("setpoint.dev", "Sync"),
    ("networking.example.org", "Ingress"),
]
FREE = [
    ("", "Service"),
    ("autoscaling", "HorizontalPodAutoscaler"),
    ("autoscaling.k8s.io", "VerticalPodAutoscaler"),
    ("keda.sh", "ScaledObject"),
    ("policy", "PodDisruptionBudget"),
    ("networking.k8s.io", "Ingress"),
    ("gateway.networking.k8s.io", "Gateway"),
    ("gateway.networking.k8s.io", "HTTPRoute"),
    ("gateway.networking.k8s.io", "TLSRoute"),
    ("gateway.networking.x-k8s.io", "XListenerSet"),
    ("route.openshift.io", "Route"),
]


@pytest.mark.parametrize(("group", "kind"), [*HELD, *FREE])
@pytest.mark.parametrize("verdict", [PENDING, degraded("FailedGetScale", "no target")])
def test_what_waits_for_its_users_holds_no_wave(group: str, kind: str, verdict: Any) -> None:
    assert accepted.holds(group, kind, verdict, deleting=False) is ((group, kind) in HELD)
    assert accepted.holds(group, kind, verdict, deleting=True)


@pytest.mark.parametrize("verdict", [healthy("Exists"), suspended("Paused", "paused")])
def test_what_is_healthy_holds_no_wave(verdict: Any) -> None:
    assert not accepted.holds("apps", "Deployment", verdict, deleting=False)


@pytest.mark.parametrize(("late", "held"), [(True, False), (None, False), (False, True)])
def test_a_claim_holds_its_wave_only_if_it_is_bound_at_once(late: bool | None, held: bool) -> None:
    assert accepted.holds(*claims.KIND, PENDING, deleting=False, late=late) is held
