"""Builds the status of a Source, and finds what is worth an Event (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from setpoint.api.formats import short
from setpoint.api.reasons import Reason
from setpoint.sources.check import CheckResult, Fetched
from setpoint.status.conditions import condition, condition_of

KEPT = ("revision", "short", "commit", "lastFetched")


@dataclass(frozen=True, slots=True)
class News:
    """One Event."""

    type: str
    reason: str
    message: str


def build(previous: Mapping[str, Any], checked: CheckResult, at: str) -> dict[str, Any]:
    """Return the next status of a Source from the stored one; `at` is the time now, in RFC 3339."""
    status: dict[str, Any] = {k: previous[k] for k in KEPT if k in previous}
    new = checked.fetched
    if new is not None and (previous.get("revision") != new.revision or "commit" not in previous):
        status |= {"revision": new.revision, "short": short(new.revision), "lastFetched": at}
        status["commit"] = _commit(new)
    status["observedGeneration"] = checked.generation
    if checked.requested is not None:
        status["requested"] = checked.requested
    ready, reason, message = words(checked, status)
    rows = [("Ready", ready)]
    if checked.problem is not None and not checked.problem.transient:
        rows.append(("Stalled", True))
    old = previous.get("conditions") or []
    status["conditions"] = [
        condition(old, checked.generation, kind=k, true=t, reason=str(reason), message=message, at=at)
        for k, t in rows
    ]
    return status


def replaced(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> bool:
    """Return whether a Source is another than it was, from its bodies: new, created again, with a new spec, or ending."""
    return old is None or _identity(old["metadata"]) != _identity(new["metadata"])


def retold(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Return whether a Source's status says anything else to a Sync that has no commit of it."""
    return _told(old.get("status") or {}) != _told(new.get("status") or {})


def _identity(metadata: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(metadata.get(field) for field in ("uid", "generation", "deletionTimestamp"))


def _told(status: Mapping[str, Any]) -> tuple[Any, ...]:
    ready = condition_of(status, "Ready") or {}
    works = ready.get("status") == "True"
    return "revision" in status, works, *(() if works else (ready.get("reason"), ready.get("message")))


def _commit(new: Fetched) -> dict[str, Any]:
    return {
        "sha": new.sha,
        "subject": new.subject[:200],
        "author": new.author[:100],
        "time": new.time,
        "summary": f"{new.subject[:72]} ({new.author[:40]})",
    }


def words(checked: CheckResult, status: Mapping[str, Any]) -> tuple[bool, Reason, str]:
    """Return Ready, its reason and its message."""
    ready, reason, message = _words(checked, status)
    return ready, reason, f"{message}; {checked.note}" if checked.note else message


def _words(checked: CheckResult, status: Mapping[str, Any]) -> tuple[bool, Reason, str]:
    if checked.suspended:
        return False, Reason.Suspended, "suspended: the remote is not asked"
    problem = checked.problem
    if problem is None:
        return True, Reason.Succeeded, f"{status['short']}"
    if not status.get("short"):
        return False, problem.reason, problem.message
    lost = "is not in the cache now: what drifts is put back once it is fetched again"
    return (
        False,
        problem.reason,
        f"{problem.message}; {status['short']} {'stays enforced' if checked.held else lost}",
    )


def news(previous: Mapping[str, Any], status: Mapping[str, Any]) -> News | None:
    """Return what a person should hear of: a new commit, a failure that is new, a recovery."""
    was, now = condition_of(previous, "Ready"), condition_of(status, "Ready") or {}
    reason, message = str(now.get("reason")), str(now.get("message"))
    if now.get("status") != "True":
        if was is not None and (was["reason"], was["message"]) == (reason, message):
            return None
        return News("Normal" if reason == Reason.Suspended else "Warning", reason, message)
    if previous.get("revision") != status.get("revision"):
        return News("Normal", str(Reason.Fetched), f"{status['short']}: {status['commit']['summary']}")
    if was is not None and was["status"] != "True":
        return News("Normal", str(Reason.Recovered), message)
    return None
