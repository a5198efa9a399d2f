"""Status of a Sync: previous status + outcome + now -> status (pure).

The same outcome gives the same status, byte for byte, so that "did anything change?" is `==` and a reconcile
that changed nothing writes nothing. Conditions follow the Kubernetes API conventions and are kstatus-compatible.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from setpoint.health import Health, Verdict
from setpoint.objects import ObjectId
from setpoint.reasons import Problem, Reason
from setpoint.revisions import short

Json = dict[str, Any]

MOST_DIFFERENCES = 50
MOST_DRIFT = 20
MOST_HISTORY = 10
LONGEST_MESSAGE = 1024
RECONCILING_AFTER = 2.0
"""Seconds before a rollout is announced as Reconciling (design, 1)."""


class SyncState(StrEnum):
    """How one object relates to Git."""

    SYNCED = "Synced"
    OUT_OF_SYNC = "OutOfSync"
    MISSING = "Missing"
    FAILED = "Failed"
    REFUSED = "Refused"
    CONTESTED = "Contested"
    WAITING = "Waiting"


@dataclass(frozen=True, slots=True)
class ObjectState:
    """What is to be said of one object; `verdict` is None while it is not there."""

    id: ObjectId
    api_version: str
    sync: SyncState = SyncState.SYNCED
    reason: Reason | str = Reason.Succeeded
    message: str = ""
    patch: tuple[Json, ...] | None = None
    verdict: Verdict | None = None
    counted: bool = True
    """Whether it counts among the Sync's objects (a Contested one of another Sync does not)."""


@dataclass(frozen=True, slots=True)
class Correction:
    """One manual change that was put back (`corrected` set) or seen."""

    id: ObjectId
    api_version: str
    manager: str | None
    user: str | None
    detected: str
    corrected: str | None
    patch: tuple[Json, ...]
    was: Any = None
    """The value that the first operation replaces."""


@dataclass(frozen=True, slots=True)
class Revision:
    """A revision, and the digest of the inputs it stands for."""

    revision: str
    digest: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one reconcile found and did."""

    namespace: str
    generation: int
    desired: Revision | None = None
    attempted: str = ""
    """The revision that could not be made into a desired state."""
    requested: str | None = None
    problem: Problem | None = None
    """Why the desired revision cannot be had or written; what is applied stays enforced."""
    waiting: Problem | None = None
    """What it waits for (its reason and message)."""
    refused: str = ""
    complete: bool = False
    """Whether everything of `desired` is written and pruned."""
    ownership: str = ""
    states: tuple[ObjectState, ...] = ()
    inventory: tuple[tuple[str, ObjectId], ...] = ()
    corrections: tuple[Correction, ...] = ()
    changed: int = 0
    started: str = ""
    trigger: str = ""
    timeout: float = 300.0
    waited: float = 0.0
    """Seconds since what the previous status says was applied, by a clock that is never set."""
    suspended: bool = False


def stamp(now: datetime) -> str:
    """Give an RFC 3339 time in UTC, in whole seconds, as Kubernetes writes it."""
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


def parse(text: str) -> datetime:
    """Read an RFC 3339 time."""
    return datetime.fromisoformat(text)


def build(previous: Mapping[str, Any], o: Outcome, now: datetime) -> Json:
    """Give the next status. `previous` is the status as stored (may be empty); `now` is aware UTC."""
    at = stamp(now)
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
    waited = o.waited if applied and applied["at"] == (previous.get("applied") or {}).get("at") else 0.0
    phrase = _phrase(o, counted, applied, waited)
    healthy = previous.get("healthy")
    if phrase.healthy and o.complete and o.desired is not None:
        healthy = _revision(healthy, o.desired, at)
    differences = _differences(previous.get("differences") or [], o, at)
    for key, value in (
        ("desired", desired),
        ("applied", applied),
        ("healthy", healthy),
        ("summary", summary),
        ("inventory", grouped(o.inventory)),
        ("differences", differences[:MOST_DIFFERENCES]),
        ("omitted", max(0, len(differences) - MOST_DIFFERENCES)),
        ("driftLog", [*map(_drift, reversed(o.corrections)), *(previous.get("driftLog") or [])][:MOST_DRIFT]),
        ("history", _history(previous.get("history") or [], o, phrase, at)),
    ):
        if value:
            status[key] = value
    status["conditions"] = _conditions(previous.get("conditions") or [], o, phrase, at)
    return status


def progresses(status: Mapping[str, Any]) -> bool:
    """Tell whether a status says that a rollout is on its way."""
    return (condition_of(status, "Ready") or {}).get("reason") == str(Reason.Progressing)


def passing(stored: Mapping[str, Any], new: Mapping[str, Any], *, fresh: bool) -> bool:
    """Tell whether a status says nothing that must be known at once: how far something is that was just written.

    `fresh`: the run wrote something. A rollout that began by itself is told at once, and so is whatever somebody
    else goes by: the ledger of drift, the inventory, the answer to a request.
    """
    if not progresses(new) or not (fresh or progresses(stored)):
        return False
    return all(stored.get(key) == new.get(key) for key in ("driftLog", "inventory", "requested"))


# --- parts ----------------------------------------------------------------------------------------


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
        "healthy": sum(s.verdict is not None and _is_healthy(s.verdict) for s in states),
        "drifted": sum(s.sync is SyncState.OUT_OF_SYNC for s in states),
        "corrected": int(previous.get("corrected") or 0) + corrected,
    }


def grouped(inventory: Iterable[tuple[str, ObjectId]]) -> list[Json]:
    """Group (apiVersion, identity) pairs by kind and namespace, sorted: 10,000 objects must fit into a status."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for api_version, oid in inventory:
        groups.setdefault((api_version, oid.kind, oid.namespace), []).append(oid.name)
    result = []
    for (api_version, kind, namespace), members in sorted(groups.items()):
        place = {"namespace": namespace} if namespace else {}
        result.append({"apiVersion": api_version, "kind": kind, **place, "names": sorted(members)})
    return result


def ungrouped(inventory: Iterable[Mapping[str, Any]]) -> dict[ObjectId, str]:
    """Read an inventory back: identity -> apiVersion."""
    result: dict[ObjectId, str] = {}
    for g in inventory:
        group = g["apiVersion"].rpartition("/")[0]
        for name in g["names"]:
            result[ObjectId(group, g["kind"], g.get("namespace") or "", name)] = g["apiVersion"]
    return result


def _reference(oid: ObjectId, api_version: str) -> Json:
    place = {"namespace": oid.namespace} if oid.namespace else {}
    return {"apiVersion": api_version, "kind": oid.kind, **place, "name": oid.name}


def _differences(previous: Sequence[Json], o: Outcome, at: str) -> list[Json]:
    since = {_difference_key(d): d["since"] for d in previous}
    worst = sorted((s for s in o.states if _differs(s)), key=lambda s: (_rank(s), s.id))
    result = []
    for s in worst:
        entry: Json = {
            **_reference(s.id, s.api_version),
            "sync": str(s.sync),
            **({"health": str(s.verdict.health)} if s.verdict else {}),
            "reason": str(s.reason) if s.sync is not SyncState.SYNCED or not s.verdict else s.verdict.reason,
            "message": _cut(s.message or (s.verdict.message if s.verdict else "")),
        }
        entry["since"] = since.get(_difference_key(entry), at)
        if s.patch:
            entry["patch"] = list(s.patch)
        result.append(entry)
    return result


def _difference_key(d: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(d.get(k) for k in ("apiVersion", "kind", "namespace", "name", "sync", "health", "reason"))


def _is_healthy(v: Verdict) -> bool:
    return v.health in (Health.Healthy, Health.Suspended)


def _differs(s: ObjectState) -> bool:
    return s.sync is not SyncState.SYNCED or (s.verdict is not None and not _is_healthy(s.verdict))


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


def _drift(c: Correction) -> Json:
    entry = {
        **_reference(c.id, c.api_version),
        "manager": c.manager,
        "user": c.user,
        "detected": c.detected,
        "corrected": c.corrected,
        "patch": list(c.patch) or None,
    }
    return {k: v for k, v in entry.items() if v is not None}


# --- the phrase -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Phrase:
    """What READY and STATUS say: `ready`, `synced`, `healthy`, and for each the reason and the words."""

    ready: bool
    reason: Reason
    message: str
    synced: bool
    sync_reason: Reason
    sync_message: str
    healthy: bool
    health_reason: Reason
    health_message: str
    stalled: bool = False
    reconciling: bool = False


WORDS = {
    Reason.RenderFailed: "render failed",
    Reason.PathNotFound: "path not found",
    Reason.HelmUnsupported: "Helm is not there yet",
    Reason.DependencyNotReady: "waits",
    Reason.Waiting: "waits",
    Reason.PruneWaiting: "waits",
}


def worded(p: Problem) -> str:
    """Give a problem as STATUS shows it: a word for the reason where it helps, and the message."""
    word = WORDS.get(p.reason)
    return f"{word}: {p.message}" if word else p.message


def _phrase(o: Outcome, states: Sequence[ObjectState], applied: Json | None, waited: float) -> Phrase:
    total = len(states)
    sync_reason, sync_message = _sync_words(o, states, total, applied)
    health = _health_words(o, states, total, waited)
    synced = sync_reason is Reason.Succeeded
    if o.suspended:
        where = f" at {applied['short']}" if applied and applied.get("short") else ""
        ready, reason, message = False, Reason.Suspended, f"suspended{where}: nothing is applied or corrected"
    elif not synced:
        ready, reason, message = False, sync_reason, sync_message
    elif health[0] is not Reason.Succeeded:
        ready, reason, message = False, health[0], health[1]
    else:
        ready, reason, message = True, Reason.Succeeded, f"{total}/{total} healthy"
    revision = short(o.desired.revision) if o.desired else ""
    return Phrase(
        ready,
        reason,
        _cut(message),
        synced,
        sync_reason,
        _cut(f"{revision}, {total} objects" if synced else sync_message),
        health[0] is Reason.Succeeded,
        health[0],
        _cut(health[1]),
        stalled=not o.suspended and _is_stalled(o, states),
        reconciling=health[0] is Reason.Progressing and waited > RECONCILING_AFTER,
    )


def _is_stalled(o: Outcome, states: Sequence[ObjectState]) -> bool:
    if o.problem is not None and not o.problem.transient:
        return True
    return any(
        s.sync is SyncState.FAILED and isinstance(s.reason, Reason) and not s.reason.transient for s in states
    )


def _sync_words(
    o: Outcome, states: Sequence[ObjectState], total: int, applied: Json | None
) -> tuple[Reason, str]:
    kept = _stays(o, applied)
    if o.problem is not None:
        return o.problem.reason, worded(o.problem) + kept
    for sync, word in ((SyncState.FAILED, "failed"), (SyncState.CONTESTED, "contested")):
        found = [s for s in o.states if s.sync is sync and (s.counted or sync is SyncState.FAILED)]
        if found:
            first = min(found, key=lambda s: s.id)
            reason = first.reason if isinstance(first.reason, Reason) else Reason.ApplyFailed
            return (
                reason,
                f"{len(found)} of {max(total, len(found))} {word}: {_first(first, o.namespace)}{kept}",
            )
    if o.waiting is not None:
        return o.waiting.reason, worded(o.waiting)
    if o.refused:
        return Reason.Refused, f"refused: {o.refused}"
    for sync, word, why in (
        (SyncState.MISSING, "missing", Reason.Missing),
        (SyncState.OUT_OF_SYNC, "drifted", Reason.Drift),
    ):
        found = [s for s in states if s.sync is sync]
        if found:
            return (
                why,
                f"{len(found)} of {total} {word}: {_first(min(found, key=lambda s: s.id), o.namespace)}",
            )
    if not o.complete and not o.suspended:
        return Reason.Progressing, f"{total} objects, not written completely yet"
    return Reason.Succeeded, ""


def _stays(o: Outcome, applied: Json | None) -> str:
    if not applied or (o.desired is not None and applied.get("digest") == o.desired.digest):
        return ""
    return f"; {applied.get('short') or short(applied['revision'])} stays enforced"


def _first(s: ObjectState, home: str) -> str:
    words = s.message or (s.verdict.message if s.verdict else "")
    label = s.id.label(home)
    return words if label in words or s.id.label() in words else f"{label}: {words}" if words else label


def _health_words(o: Outcome, states: Sequence[ObjectState], total: int, waited: float) -> tuple[Reason, str]:
    by = {h: [s for s in states if s.verdict is not None and s.verdict.health is h] for h in Health}
    if by[Health.Degraded]:
        first = min(by[Health.Degraded], key=lambda s: s.id)
        return (
            Reason.Degraded,
            f"{len(by[Health.Degraded])} of {total} degraded: {_verdict_words(first, o.namespace)}",
        )
    pending = [
        s
        for s in states
        if s.verdict is None or s.verdict.health in (Health.Progressing, Health.Missing, Health.Unknown)
    ]
    if not pending:
        return Reason.Succeeded, f"{total}/{total} healthy"
    first = min(pending, key=lambda s: (s.verdict is None, s.id))
    words = f"{len(pending)} of {total} progressing: {_verdict_words(first, o.namespace)}"
    if o.complete and waited >= o.timeout:
        return Reason.TimedOut, f"not healthy after {o.timeout:g} s: {words}"
    return Reason.Progressing, words


def _verdict_words(s: ObjectState, home: str) -> str:
    words = s.verdict.message if s.verdict else "is not there yet"
    return f"{s.id.label(home)} ({words})" if words else s.id.label(home)


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_MESSAGE else line[: LONGEST_MESSAGE - 1] + "…"


# --- conditions and history -----------------------------------------------------------------------


def condition_of(status: Mapping[str, Any], kind: str) -> Json | None:
    """Give the condition of that type in a status; None if it has none."""
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
    """Give one condition; `lastTransitionTime` moves only when `status` does (API conventions)."""
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


def _conditions(previous: Sequence[Json], o: Outcome, p: Phrase, at: str) -> list[Json]:
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


def _history(previous: Sequence[Json], o: Outcome, p: Phrase, at: str) -> list[Json]:
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


def _result(o: Outcome, p: Phrase) -> str | None:
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
