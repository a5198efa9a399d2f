"""Health of a kind without a rule of its own: its conditions, phases, errors and counts (pure).

Kubernetes API conventions ("Typical status properties"), kstatus, Cluster API, Knative, Crossplane and Gateway API
agree on most of it. Every hint becomes a verdict; the most telling one wins.
"""

from __future__ import annotations

from collections.abc import Iterator

from setpoint.health import vocabulary
from setpoint.health.conditions import condition_hints
from setpoint.health.verdict import (
    Health,
    Object,
    Verdict,
    degraded,
    healthy,
    mapping,
    number,
    progressing,
    suspended,
    text,
    verdict,
)
from setpoint.health.vocabulary import Sense

_TELLING = (
    Health.Suspended,
    Health.Degraded,
    Health.Missing,
    Health.Progressing,
    Health.Unknown,
    Health.Healthy,
)
"""What wins over what when hints disagree."""

_OF_SENSE = {
    Sense.GOOD: Health.Healthy,
    Sense.BUSY: Health.Progressing,
    Sense.BAD: Health.Degraded,
    Sense.PAUSED: Health.Suspended,
    Sense.ABSENT: Health.Missing,
    Sense.UNKNOWN: Health.Unknown,
}

_STATES = (
    "phase",
    "state",
    "status",
    "health",
    "currentPhase",
    "currentState",
    "overallStatus",
    "overallState",
    "updateStatus",
    "printableStatus",
    "healthStatus",
    "clusterStatus",
    "compliant",
)
_ERRORS = ("failureMessage", "failureReason", "errorMessage", "error")

_RUNS_TO_COMPLETION = (
    "Run",
    "Job",
    "Task",
    "Backup",
    "Restore",
    "Workflow",
    "Evaluation",
    "Migration",
    "Operation",
    "Scan",
)
"""Ends of the names of kinds whose being `Running` is not yet their aim."""


def generic(obj: Object) -> Verdict | None:
    """Return the verdict of what an object says of itself, or None if it says nothing."""
    if paused := _paused(obj):
        return paused
    # The rest is weak: a controller that says `Ready` knows better how many replicas it needs, and how its parts are.
    hints = list(_hints(obj)) or list(_weak_hints(obj))
    return min(hints, key=lambda hint: _TELLING.index(hint.health), default=None)


def _hints(obj: Object) -> Iterator[Verdict]:
    status = mapping(obj, "status")
    yield from condition_hints(obj)
    yield from _states(obj, status)
    yield from _errors(status)
    yield from _booleans(status)


def _weak_hints(obj: Object) -> Iterator[Verdict]:
    status = mapping(obj, "status")
    yield from _counts(obj, status)
    for key, value in status.items():
        if str(key).startswith(("last", "previous", "old")):
            continue
        if isinstance(value, str) and str(key).endswith(("Status", "State", "Phase")):
            yield from _state(obj, value, text(status, "message"))
        elif isinstance(value, dict):
            yield from _errors(value)
            for name in ("phase", "state", "status"):
                yield from _state(obj, text(value, name), text(value, "message"))


def _paused(obj: Object) -> Verdict | None:
    spec = mapping(obj, "spec")
    for key in ("suspend", "suspended", "paused", "pause"):
        if spec.get(key) is True:
            return suspended("Suspended", f"spec.{key} is true")
    return None


def _states(obj: Object, status: Object) -> Iterator[Verdict]:
    for key in _STATES:
        value = status.get(key)
        nested = value if isinstance(value, str) else text(value, "status") or text(value, "health")
        if nested:
            yield from _state(obj, nested, text(status, "message") or text(status, "reason"))
    for part in _parts(status):
        for hint in _state(obj, text(part, "health"), text(part, "message")):
            if hint.health in (Health.Degraded, Health.Progressing):
                yield hint
    for key, wanted in status.items():
        if isinstance(key, str) and key.startswith("desired") and isinstance(wanted, str):
            current = text(status, "current" + key.removeprefix("desired"))
            if current and current != wanted:
                yield progressing("StateChange", f"{current} is to become {wanted}")


def _state(obj: Object, state: str, message: str) -> Iterator[Verdict]:
    sense = vocabulary.sense_of_state(state[:600])
    if state.lower() == "running" and text(obj, "kind").endswith(_RUNS_TO_COMPLETION):
        sense = Sense.BUSY
    if health := _OF_SENSE.get(sense):
        yield verdict(health, state, message or state)


def _errors(status: Object) -> Iterator[Verdict]:
    for key in _ERRORS:
        value = status.get(key)
        said = value if isinstance(value, str) else text(value, "message")
        if said:
            yield degraded("Failed" if key.startswith("failure") else "Error", said)


def _booleans(status: Object) -> Iterator[Verdict]:
    for key in ("healthy", "valid"):
        if isinstance(flag := status.get(key), bool):
            yield healthy(key) if flag else degraded(f"Not{key.title()}", f"status.{key} is false")
    for key in ("ready", "readyToUse"):
        if isinstance(flag := status.get(key), bool):
            yield healthy("Ready", "ready") if flag else progressing("NotReady", f"status.{key} is false")


def _counts(obj: Object, status: Object) -> Iterator[Verdict]:
    wanted = number(mapping(obj, "spec"), "replicas", number(status, "replicas", -1))
    yield from _count(status, "readyReplicas", wanted)
    yield from _count(status, "ready", number(status, "size", -1))
    for part in [*_parts(status), *(deeper for one in _parts(status) for deeper in _parts(one))]:
        yield from _count(part, "readyMembers", number(part, "members", -1))
        yield from _count(part, "readyReplicas", number(part, "replicas", -1))


def _count(holder: Object, key: str, wanted: int) -> Iterator[Verdict]:
    ready = number(holder, key, -1)
    if ready >= 0 and wanted >= 0:
        make = progressing if ready < wanted else healthy
        yield make("NotReady" if ready < wanted else "Ready", f"{ready} of {wanted} ready")


def _parts(status: Object) -> Iterator[Object]:
    """Return the mappings one level inside a status, in mappings and in lists: racks, shards, clusters."""
    for value in status.values():
        if isinstance(value, dict):
            yield value
        elif isinstance(value, list):
            yield from (part for part in value if isinstance(part, dict))
