"""Health from an object's conditions, for any kind (pure).

API conventions ("Typical status properties"): a type names a state that holds (True), does not (False), or is not
known yet. Whether holding is good follows from the words of the type, why it does not from those of the reason.
"""

from __future__ import annotations

from collections.abc import Iterator

from setpoint.health import vocabulary
from setpoint.health.verdict import (
    Condition,
    Health,
    Object,
    Verdict,
    conditions,
    degraded,
    healthy,
    items,
    mapping,
    number,
    progressing,
    suspended,
    text,
    verdict,
)
from setpoint.health.vocabulary import Sense

_SUMMARIES = frozenset(
    [
        "Ready",
        "Available",
        "Healthy",
        "Synced",
        "Succeeded",
        "Successful",
        "Complete",
        "Completed",
        "Established",
        "Accepted",
        "Programmed",
        "Installed",
        "Reconciled",
        "ResolvedRefs",
    ]
)
"""Types that speak for the whole object; other ones (`InfrastructureReady`) count only where there is no `Ready`."""

_HOLDERS = (("ancestors", "ancestorRef"), ("parents", "parentRef"), ("listeners", ""), ("ingress", ""))
"""Lists in a status whose entries have conditions of their own, and what names an entry (Gateway API, OpenShift)."""


def condition_hints(obj: Object) -> Iterator[Verdict]:
    """Return one verdict per telling condition, of the object and of each parent that accepted it (Gateway API)."""
    generation = number(mapping(obj, "metadata"), "generation")
    status = mapping(obj, "status")
    yield from judge(conditions(status), generation)
    for key, reference in _HOLDERS:
        for parent in items(status, key):
            name = text(mapping(parent, reference), "name") or text(parent, "name")
            if parent.get("conditions") == []:
                yield progressing("WaitingForStatus", f"{name or 'a parent'} has not answered yet")
            for hint in judge(conditions(parent), generation):
                yield verdict(hint.health, hint.reason, f"{name}: {hint.message}" if name else hint.message)


def judge(found: tuple[Condition, ...], generation: int = 0) -> Iterator[Verdict]:
    """Return one verdict per telling condition; `generation` is that of the object, 0 if unknown."""
    holding = {c.type for c in found if c.type in _SUMMARIES and c.status.lower() == "true"}
    if -1 < max((c.observed for c in found if c.observed is not None), default=-1) < generation:
        yield progressing("NotObserved", "its conditions do not speak of the newest spec yet")
    for condition in sorted(found, key=lambda one: one.type not in _SUMMARIES):
        summary = condition.type in _SUMMARIES
        if "Ready" in holding and not summary and not _overrides(condition):
            continue
        if holding and vocabulary.sense_of_type(condition.type) is Sense.NEUTRAL:
            continue
        if hint := _hint(condition):
            stale = summary and condition.observed is not None and condition.observed < generation
            yield (
                progressing("NotObserved", f"{condition.type} is not yet known for the newest spec")
                if stale
                else hint
            )


def _overrides(condition: Condition) -> bool:
    """Whether a condition counts although `Ready` is True: plain ones like `Degraded`, and activity."""
    sense = vocabulary.sense_of_type(condition.type)
    return sense in (Sense.PAUSED, Sense.BUSY) or (
        sense is Sense.BAD and " " not in vocabulary.split(condition.type)
    )


def _hint(condition: Condition) -> Verdict | None:
    status = condition.status.lower()
    sense = vocabulary.sense_of_type(condition.type)
    if status == "true":
        return _when_true(condition, sense)
    if status == "false":
        return _when_false(condition, sense)
    if status == "degraded" and sense is Sense.GOOD:
        return degraded(_reason(condition), condition.words)
    if status == "unknown" and sense is Sense.GOOD and condition.type in _SUMMARIES:
        return progressing(condition.reason or "Unknown", condition.words)
    if status not in ("true", "false", "unknown", "") and condition.type in _SUMMARIES:
        return verdict(
            Health.Unknown, _reason(condition), f"{condition.type} is {condition.status}, which is no answer"
        )
    if status == "unknown" and sense is Sense.BUSY and _fault(condition) is Sense.PAUSED:
        return suspended(condition.reason, condition.words)
    return None


def _when_true(condition: Condition, sense: Sense) -> Verdict | None:
    if sense is Sense.BAD:
        # `NotReady` is True also while the object is being made (Strimzi).
        early = vocabulary.split(condition.type).startswith("not ") and _fault(condition) is Sense.BUSY
        return (progressing if early else degraded)(_reason(condition), condition.words)
    if sense is Sense.PAUSED:
        return suspended(_reason(condition), condition.words)
    if sense is Sense.BUSY:
        activity = vocabulary.sense_of_activity(condition.reason, condition.message[:600])
        if activity is Sense.PAUSED:
            return suspended(_reason(condition), condition.words)
        return None if activity is Sense.GOOD else progressing(_reason(condition), condition.words)
    if condition.type == "Running" and condition.reason == "Running":
        return progressing("Running", condition.words)
    if condition.type in ("Complete", "Completed", "Finished") and vocabulary.faulty(condition.reason):
        return degraded(condition.reason, condition.words)
    return healthy(_reason(condition), condition.words) if sense is Sense.GOOD else None


def _when_false(condition: Condition, sense: Sense) -> Verdict | None:
    fault = _fault(condition)
    if sense is Sense.BUSY:
        return degraded(_reason(condition), condition.words) if fault is Sense.BAD else None
    if sense is Sense.BAD:
        return healthy(_reason(condition), condition.words)
    if sense is not Sense.GOOD or condition.type == "Running":
        return degraded(condition.reason, condition.words) if vocabulary.faulty(condition.reason) else None
    make = {Sense.PAUSED: suspended, Sense.BAD: degraded}.get(fault, progressing)
    return make(condition.reason or f"Not{condition.type.rpartition('/')[2]}", condition.words)


def _fault(condition: Condition) -> Sense:
    by_severity = {"Error": Sense.BAD, "Info": Sense.BUSY}.get(condition.severity)
    return by_severity or vocabulary.sense_of_fault(condition.reason, condition.message[:600])


def _reason(condition: Condition) -> str:
    return condition.reason or condition.type.rpartition("/")[2]
