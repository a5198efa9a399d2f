"""The history of a status: one entry for each application of a revision (pure)."""

from __future__ import annotations

from collections.abc import Sequence

from setpoint.api.reasons import Reason
from setpoint.objects.identity import Json
from setpoint.status.messages import StatusText
from setpoint.status.outcome import Outcome

MOST_HISTORY = 10


def history_of(previous: Sequence[Json], o: Outcome, p: StatusText, at: str) -> list[Json]:
    """Return the next history, newest first: a new entry for a new revision, or the latest one with its new result."""
    result = _result(o, p)
    if o.desired is None:
        return _attempts(previous, o, at)
    if o.suspended or o.trigger == "Drift" or result is None:
        return list(previous)
    latest = previous[0] if previous and previous[0]["revision"] == o.desired.revision else None
    if latest is None or (o.changed and o.trigger == "Spec"):
        entry: Json = {"revision": o.desired.revision, "started": o.started or at, "finished": at}
        entry = {**entry, "result": result, "changed": o.changed, "trigger": o.trigger}
        return [entry, *previous][:MOST_HISTORY]
    if latest["result"] == result and not o.changed:
        return list(previous)
    changed = int(latest.get("changed") or 0) + o.changed
    return [{**latest, "result": result, "finished": at, "changed": changed}, *previous[1:]]


def _attempts(previous: Sequence[Json], o: Outcome, at: str) -> list[Json]:
    """Add a commit that could not be rendered; one entry for those in a row that fail alike."""
    reason = str(o.problem.reason) if o.problem else ""
    if not o.attempted or not reason or (previous and previous[0]["result"] == reason):
        return list(previous)
    entry: Json = {"revision": o.attempted, "started": at, "finished": at, "result": reason, "changed": 0}
    return [{**entry, "trigger": "Commit"}, *previous][:MOST_HISTORY]


def _result(o: Outcome, p: StatusText) -> str | None:
    if o.problem is not None:
        return str(o.problem.reason)
    if not p.synced:
        return (
            None
            if p.sync_reason in (Reason.Waiting, Reason.Progressing, Reason.DependencyNotReady)
            else str(p.sync_reason)
        )
    if p.healthy:
        return "Healthy"
    return "Applied" if p.health_reason is Reason.Progressing else str(p.health_reason)
