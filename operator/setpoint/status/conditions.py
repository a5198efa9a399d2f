"""Conditions as the Kubernetes API conventions define them, kstatus-compatible (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from setpoint.api.reasons import Reason
from setpoint.objects.identity import Json


def progresses(status: Mapping[str, Any]) -> bool:
    """Return whether a status says that a rollout is on its way."""
    return (condition_of(status, "Ready") or {}).get("reason") == str(Reason.Progressing)


def condition_of(status: Mapping[str, Any], kind: str) -> Json | None:
    """Return the condition of that type in a status; None if it has none."""
    return next((c for c in status.get("conditions") or [] if c.get("type") == kind), None)


def condition(
    previous: Sequence[Mapping[str, Any]],
    generation: int,
    *,
    kind: str,
    true: bool,
    reason: str,
    message: str,
    at: str,
) -> Json:
    """Return one condition; `lastTransitionTime` moves only when `status` does (API conventions)."""
    value = "True" if true else "False"
    old = next((c for c in previous if c.get("type") == kind), None)
    moved = old is None or old.get("status") != value
    return {
        "type": kind,
        "status": value,
        "observedGeneration": generation,
        "lastTransitionTime": at if moved or old is None else old["lastTransitionTime"],
        "reason": reason,
        "message": message,
    }
