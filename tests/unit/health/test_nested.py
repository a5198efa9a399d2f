"""The health of a Sync in Git: what it waits for is its own affair, and only what has failed turns its parent red."""

from __future__ import annotations

from typing import Any

import pytest

from setpoint.api.reasons import Reason
from setpoint.health import evaluate as health
from setpoint.health.verdict import Health

WAITING = [
    "Progressing",
    "Waiting",
    "DependencyNotReady",
    "SourceNotReady",
    "PruneWaiting",
    "Contested",
    "Missing",
    "Deleting",
    "NamespaceTerminating",
    "ApiUnavailable",
]
PERSON = ["Suspended", "Refused", "Drift", "OutOfSync"]


def sync(ready: str | None, reason: str = "", *more: str, generation: int = 1, **spec: Any) -> dict[str, Any]:
    rows = [{"type": "Ready", "status": ready, "reason": reason, "message": "words"}] if ready else []
    rows += [{"type": kind, "status": "True", "reason": "DependencyNotReady", "message": ""} for kind in more]
    return {
        "apiVersion": "setpoint.dev/v1alpha1",
        "kind": "Sync",
        "metadata": {"name": "child", "generation": generation},
        "spec": spec,
        "status": {"observedGeneration": 1, "conditions": rows},
    }


@pytest.mark.parametrize("more", [(), ("Reconciling",), ("Stalled",)])
@pytest.mark.parametrize("reason", [r for r in Reason if r is not Reason.Succeeded])
def test_each_reason_has_its_place(reason: Reason, more: tuple[str, ...]) -> None:
    wanted = Health.Degraded
    if reason in WAITING:
        wanted = Health.Progressing
    elif reason in PERSON:
        wanted = Health.Suspended
    found = health.evaluate(sync("False", reason, *more))
    assert (found.health, found.reason, found.message) == (wanted, str(reason), "words")


def test_the_tables_name_reasons_that_there_are() -> None:
    assert {*WAITING, *PERSON} <= {str(r) for r in Reason}


@pytest.mark.parametrize(
    ("obj", "wanted"),
    [
        (sync("True", "Succeeded"), Health.Healthy),
        (sync("Unknown", "X"), Health.Progressing),
        (sync(None), Health.Progressing),
        (sync("True", "Succeeded", generation=2), Health.Progressing),
        (sync("False", "Degraded", suspend=True), Health.Suspended),
        (sync(None, suspend=True), Health.Suspended),
    ],
)
def test_other_states(obj: dict[str, Any], wanted: Health) -> None:
    assert health.evaluate(obj).health is wanted
