"""Built-in kinds in states that are seldom met."""

from __future__ import annotations

from typing import Any

import pytest

from setpoint.health import evaluate as health
from setpoint.health.verdict import Health


def made(kind: str, group: str, status: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {"apiVersion": group, "kind": kind, "metadata": {"name": "x"}, "spec": spec, "status": status}


def condition(kind: str, status: str, reason: str, message: str = "why") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


API_SERVICE, CRD = "apiregistration.k8s.io/v1", "apiextensions.k8s.io/v1"
PORTS = condition("LoadBalancerPortsError", "True", "SyncFailed")
CASES = [
    (
        "volume that failed",
        made("PersistentVolume", "v1", {"phase": "Failed", "message": "no"}),
        Health.Degraded,
        "Failed",
    ),
    ("volume that is new", made("PersistentVolume", "v1", {}), Health.Progressing, "Pending"),
    ("volume in use", made("PersistentVolume", "v1", {"phase": "Bound"}), Health.Healthy, "Bound"),
    (
        "ports that cannot be had",
        made("Service", "v1", {"conditions": [PORTS]}, type="LoadBalancer"),
        Health.Degraded,
        "SyncFailed",
    ),
    (
        "server that is not available",
        made(
            "APIService", API_SERVICE, {"conditions": [condition("Available", "False", "MissingEndpoints")]}
        ),
        Health.Progressing,
        "MissingEndpoints",
    ),
    (
        "server that is not checked",
        made("APIService", API_SERVICE, {}),
        Health.Progressing,
        "WaitingForStatus",
    ),
    (
        "definition that goes",
        made("CustomResourceDefinition", CRD, {"conditions": [condition("Terminating", "True", "X")]}),
        Health.Progressing,
        "Terminating",
    ),
    (
        "node without memory",
        made("Node", "v1", {"conditions": [condition("MemoryPressure", "True", "Low")]}),
        Health.Degraded,
        "Low",
    ),
    ("node without a kubelet", made("Node", "v1", {}), Health.Progressing, "WaitingForStatus"),
    (
        "node that is cordoned",
        made("Node", "v1", {"conditions": [condition("Ready", "True", "KubeletReady")]}, unschedulable=True),
        Health.Suspended,
        "Cordoned",
    ),
    (
        "budget that cannot be computed",
        made(
            "PodDisruptionBudget",
            "policy/v1",
            {"conditions": [condition("DisruptionAllowed", "False", "SyncFailed")]},
        ),
        Health.Degraded,
        "SyncFailed",
    ),
]


@pytest.mark.parametrize(("obj", "is_", "reason"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_state_that_is_seldom_met(obj: dict[str, Any], is_: Health, reason: str) -> None:
    verdict = health.evaluate(obj)
    assert (verdict.health, verdict.reason) == (is_, reason)
