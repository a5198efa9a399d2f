"""Builds the status of a Sync: previous status + outcome + now -> status (pure).

The same outcome gives the same status, byte for byte, so that "did anything change?" is `==` and a reconcile
that changed nothing writes nothing. Conditions follow the Kubernetes API conventions and are kstatus-compatible.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from setpoint.api.formats import rfc3339, short
from setpoint.api.reasons import Problem, Reason
from setpoint.objects.identity import Json
from setpoint.objects.inventory import grouped
from setpoint.plan.endings.ending import grouped as grouped_endings
from setpoint.status.conditions import condition, progresses
from setpoint.status.differences import differences_of, drift_entry, is_healthy
from setpoint.status.history import history_of
from setpoint.status.messages import StatusText, status_text
from setpoint.status.outcome import ObjectState, Outcome, Revision, SyncState, is_completed

MOST_DIFFERENCES = 50
MOST_DRIFT = 20


def build(previous: Mapping[str, Any], o: Outcome, now: datetime) -> Json:
    """Return the next status. `previous` is the status as stored (may be empty); `now` is aware UTC."""
    at = rfc3339(now)
    status: Json = {"observedGeneration": o.generation}
    if o.requested is not None:
        status["requested"] = o.requested
    elif "requested" in previous:
        status["requested"] = previous["requested"]
    desired = _revision(previous.get("desired"), o.desired, at)
    applied = _applied(previous.get("applied"), o, at)
    counted = [s for s in o.states if s.counted]
    summary = _summary(
        previous.get("summary") or {}, counted, sum(c.corrected is not None for c in o.corrections)
    )
    if completed := sum(is_completed(s) for s in counted):
        summary["completed"] = completed
    waited = o.waited if applied and applied["at"] == (previous.get("applied") or {}).get("at") else 0.0
    phrase = status_text(o, counted, applied, waited)
    healthy = previous.get("healthy")
    if phrase.healthy and o.complete and o.desired is not None:
        healthy = _revision(healthy, o.desired, at)
    differences = differences_of(previous.get("differences") or [], o, at)
    for key, value in (
        ("desired", desired),
        ("applied", applied),
        ("healthy", healthy),
        ("summary", summary),
        ("inventory", grouped(o.inventory)),
        ("leaving", grouped(o.leaving)),
        ("endings", previous.get("endings") if o.endings is None else grouped_endings(o.endings)),
        ("wants", previous.get("wants") if o.wants is None else grouped(o.wants)),
        ("differences", differences[:MOST_DIFFERENCES]),
        ("omitted", max(0, len(differences) - MOST_DIFFERENCES)),
        (
            "driftLog",
            [*map(drift_entry, reversed(o.corrections)), *(previous.get("driftLog") or [])][:MOST_DRIFT],
        ),
        ("history", history_of(previous.get("history") or [], o, phrase, at)),
    ):
        if value:
            status[key] = value
    status["conditions"] = _conditions(previous.get("conditions") or [], o, phrase, at)
    return status


def broken(previous: Mapping[str, Any], generation: int, problem: Problem, now: datetime) -> Json:
    """Return the status after a run that came to no result: what was told of objects stays, Ready and Synced say why."""
    at, old = rfc3339(now), previous.get("conditions") or []
    rows = [
        condition(
            old, generation, kind=kind, true=False, reason=str(problem.reason), message=problem.message, at=at
        )
        for kind in ("Ready", "Synced")
    ]
    kept = [c for c in old if c.get("type") == "Healthy"]
    return {**previous, "observedGeneration": generation, "conditions": [*rows, *kept]}


def passing(stored: Mapping[str, Any], new: Mapping[str, Any], *, fresh: bool) -> bool:
    """Return whether a status says nothing that must be known at once: how far something is that was just written.

    `fresh`: the run wrote something. A rollout that began by itself is reported at once, and so is whatever somebody
    else goes by: the ledger of drift, the inventory, the answer to a request. How an object ended that is gone
    nobody could find out again.
    """
    if not progresses(new) or not (fresh or progresses(stored)):
        return False
    same = all(stored.get(key) == new.get(key) for key in ("driftLog", "inventory", "requested"))
    return same and _done(stored) == _done(new)


def _done(status: Mapping[str, Any]) -> list[Any]:
    return [g for g in status.get("endings") or () if isinstance(g, Mapping) and g.get("gone")]


def _revision(previous: Json | None, new: Revision | None, at: str) -> Json | None:
    if new is None:
        return previous
    if previous and previous.get("digest") == new.digest and previous.get("revision") == new.revision:
        return previous
    return {"revision": new.revision, "short": short(new.revision), "digest": new.digest, "at": at}


def _applied(previous: Json | None, o: Outcome, at: str) -> Json | None:
    if not o.complete or o.desired is None:
        return previous
    base = _revision(previous, o.desired, at)
    if base is None or base.get("ownership") == o.ownership:
        return base
    return {**base, "ownership": o.ownership, "at": at if o.changed else base["at"]}


def _summary(previous: Json, states: Sequence[ObjectState], corrected: int) -> Json:
    return {
        "objects": len(states),
        "synced": sum(s.sync is SyncState.SYNCED for s in states),
        "healthy": sum(s.verdict is not None and is_healthy(s.verdict) for s in states),
        "drifted": sum(s.sync is SyncState.OUT_OF_SYNC for s in states),
        "corrected": int(previous.get("corrected") or 0) + corrected,
    }


def _conditions(previous: Sequence[Json], o: Outcome, p: StatusText, at: str) -> list[Json]:
    rows = [
        ("Ready", p.ready, p.reason, p.message),
        ("Synced", p.synced, p.sync_reason, p.sync_message),
        ("Healthy", p.healthy, p.health_reason, p.health_message),
    ]
    if p.reconciling:
        rows.append(("Reconciling", True, Reason.Progressing, p.health_message))
    if p.stalled:
        rows.append(("Stalled", True, p.reason, p.message))
    return [
        condition(previous, o.generation, kind=k, true=t, reason=str(r), message=m, at=at)
        for k, t, r, m in rows
    ]
