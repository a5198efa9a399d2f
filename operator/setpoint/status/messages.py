"""Words the conditions and the columns READY and STATUS: outcome -> text (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from setpoint.api.formats import short
from setpoint.api.reasons import Problem, Reason
from setpoint.health.verdict import Health
from setpoint.objects.identity import Json
from setpoint.plan.endings.ending import RESULT_UNKNOWN
from setpoint.plan.nested import is_sync
from setpoint.status.causes import alike_in, most_alike, parted, some_of
from setpoint.status.outcome import ObjectState, Outcome, SyncState, is_completed

LONGEST_MESSAGE = 1024
RECONCILING_AFTER = 2.0
"""Seconds before a rollout is announced as Reconciling (design, 1)."""


@dataclass(frozen=True, slots=True)
class StatusText:
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
    Reason.Encrypted: "render failed",
    Reason.PathNotFound: "path not found",
    Reason.HelmUnsupported: "Helm is not there yet",
    Reason.DependencyNotReady: "waits",
    Reason.Waiting: "waits",
    Reason.PruneWaiting: "waits",
}


def worded(p: Problem) -> str:
    """Return a problem as STATUS shows it: a word for the reason where it helps, and the message."""
    word = WORDS.get(p.reason)
    return f"{word}: {p.message}" if word else p.message


def status_text(o: Outcome, states: Sequence[ObjectState], applied: Json | None, waited: float) -> StatusText:
    """Return the words. `states` are those that count, `applied` the status of that name, `waited` seconds since then."""
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
        ready, reason, message = True, Reason.Succeeded, health[1]
    revision = short(o.desired.revision) if o.desired else ""
    kept = _kept_words(o) if synced and not o.suspended else ""
    return StatusText(
        ready,
        reason,
        cut(message, LONGEST_MESSAGE - len(kept)) + kept,
        synced,
        sync_reason,
        cut(f"{revision}, {total} objects" if synced else sync_message),
        health[0] is Reason.Succeeded,
        health[0],
        cut(health[1]),
        stalled=not o.suspended and _is_stalled(o, states),
        reconciling=not o.suspended and health[0] is Reason.Progressing and waited > RECONCILING_AFTER,
    )


def _is_stalled(o: Outcome, states: Sequence[ObjectState]) -> bool:
    # `retry` only says who wakes it: what its reason calls transient passes by itself, by an event too.
    if o.problem is not None and not o.problem.transient and not o.problem.reason.transient:
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
            alike = most_alike(found)
            reason = alike[0].reason if isinstance(alike[0].reason, Reason) else Reason.ApplyFailed
            return reason, f"{_counted(found, total, word, alike, o.namespace)}{kept}"
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


def _counted(
    found: Sequence[ObjectState], total: int, word: str, alike: Sequence[ObjectState], home: str
) -> str:
    """Return how many failed, and the cause of most: once, with its count and the first object."""
    start = f"{len(found)} of {max(total, len(found))} {word}"
    if len(alike) == 1:
        return f"{start}: {_first(alike[0], home)}"
    place, cause = parted(alike[0], home)
    return f"{start}{some_of(alike, found)}: {cause}; first: {place}"


def _first(s: ObjectState, home: str) -> str:
    words = s.message or (s.verdict.message if s.verdict else "")
    label = s.id.label(home)
    return words if label in words or s.id.label() in words else f"{label}: {words}" if words else label


def _health_words(o: Outcome, states: Sequence[ObjectState], total: int, waited: float) -> tuple[Reason, str]:
    by = {h: [s for s in states if s.verdict is not None and s.verdict.health is h] for h in Health}
    if degraded := by[Health.Degraded]:
        alike = alike_in(degraded, lambda s: s.verdict.message if s.verdict else "")
        words = _degraded(degraded, alike, o.namespace)
        return Reason.Degraded, f"{len(degraded)} of {total} degraded{words}"
    pending = [
        s
        for s in states
        if s.verdict is None or s.verdict.health in (Health.Progressing, Health.Missing, Health.Unknown)
    ]
    if not pending:
        return Reason.Succeeded, f"{total}/{total} healthy{_completed(states, o.namespace)}"
    first = min(pending, key=lambda s: (s.verdict is None, s.id))
    words = f"{len(pending)} of {total} progressing: {_verdict_words(first, o.namespace)}"
    # A nested Sync has a time limit of its own, which begins with what it applies and not with what its parent did.
    if o.complete and waited >= o.timeout and not all(is_sync(s.id) for s in pending):
        return Reason.TimedOut, f"not healthy after {o.timeout:g} s: {words}"
    return Reason.Progressing, words


def _completed(states: Sequence[ObjectState], home: str) -> str:
    """Return how many objects are done, and that the end of one was not seen."""
    done = [s for s in states if is_completed(s)]
    unseen = [s for s in done if s.verdict is not None and s.verdict.reason == RESULT_UNKNOWN]
    words = f", {len(done)} completed" if done else ""
    if not unseen:
        return words
    first = min(unseen, key=lambda s: s.id)
    more = f" and {len(unseen) - 1} more" if len(unseen) > 1 else ""
    return f"{words}; the result of {first.id.label(home)}{more} is unknown, as the end was not seen"


def _degraded(degraded: Sequence[ObjectState], alike: Sequence[ObjectState], home: str) -> str:
    first = alike[0]
    if len(alike) == 1 or first.verdict is None or not first.verdict.message:
        return f": {_verdict_words(first, home)}"
    return f"{some_of(alike, degraded)}: {first.verdict.message}; first: {first.id.label(home)}"


def _verdict_words(s: ObjectState, home: str) -> str:
    words = s.verdict.message if s.verdict else "is not there yet"
    return f"{s.id.label(home)} ({words})" if words else s.id.label(home)


def _kept_words(o: Outcome) -> str:
    """Return what stays although it left Git, and who uses it: the first, and how many more there are."""
    if not o.in_use:
        return ""
    oid = min(o.in_use)
    more = f" (and {len(o.in_use) - 1} more)" if len(o.in_use) > 1 else ""
    return cut(f"; {oid.label(o.namespace)} {o.in_use[oid]}{more}", LONGEST_MESSAGE // 2)


def cut(text: str, longest: int = LONGEST_MESSAGE) -> str:
    """Return a text on one line, at most so many characters long."""
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"
