"""Lists what differs and what was corrected, object by object (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from setpoint.health.verdict import Health, Verdict
from setpoint.objects.identity import Json, ObjectId
from setpoint.status.messages import cut
from setpoint.status.outcome import Correction, ObjectState, Outcome, SyncState


def _reference(oid: ObjectId, api_version: str) -> Json:
    place = {"namespace": oid.namespace} if oid.namespace else {}
    return {"apiVersion": api_version, "kind": oid.kind, **place, "name": oid.name}


def differences_of(previous: Sequence[Json], o: Outcome, at: str) -> list[Json]:
    """Return what differs, worst first; `since` stays as it was for what differed alike in `previous`."""
    since = {_difference_key(d): d["since"] for d in previous}
    worst = sorted((s for s in o.states if _differs(s)), key=lambda s: (_rank(s), s.id))
    result = []
    for s in worst:
        entry: Json = {
            **_reference(s.id, s.api_version),
            "sync": str(s.sync),
            **({"health": str(s.verdict.health)} if s.verdict else {}),
            "reason": str(s.reason) if s.sync is not SyncState.SYNCED or not s.verdict else s.verdict.reason,
            "message": cut(s.message or (s.verdict.message if s.verdict else "")),
        }
        entry["since"] = since.get(_difference_key(entry), at)
        if s.patch:
            entry["patch"] = list(s.patch)
        result.append(entry)
    return result


def _difference_key(d: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(d.get(k) for k in ("apiVersion", "kind", "namespace", "name", "sync", "health", "reason"))


def is_healthy(v: Verdict) -> bool:
    """Return whether a verdict is as good as it gets: a suspended object is not waited for."""
    return v.health in (Health.Healthy, Health.Suspended)


def _differs(s: ObjectState) -> bool:
    return s.sync is not SyncState.SYNCED or (s.verdict is not None and not is_healthy(s.verdict))


def _rank(s: ObjectState) -> int:
    order = [
        SyncState.FAILED,
        SyncState.CONTESTED,
        SyncState.REFUSED,
        SyncState.MISSING,
        SyncState.OUT_OF_SYNC,
    ]
    if s.sync in order:
        return order.index(s.sync)
    if s.verdict is not None and s.verdict.health is Health.Degraded:
        return len(order)
    return len(order) + (2 if s.sync is SyncState.WAITING else 1)


def drift_entry(c: Correction) -> Json:
    """Return the entry of a correction in `driftLog`."""
    entry = {
        **_reference(c.id, c.api_version),
        "manager": c.manager,
        "user": c.user,
        "detected": c.detected,
        "corrected": c.corrected,
        "patch": list(c.patch) or None,
        "fields": c.beyond or None,
    }
    return {k: v for k, v in entry.items() if v is not None}
