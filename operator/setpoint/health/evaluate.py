"""Evaluates the health of one object (pure).

The order is that of kstatus: deletion, observedGeneration, Reconciling and Stalled, a table by kind, then generic
rules for conditions, phases and counts. An object without a status is healthy, unless its kind always reports one.
Health rules that users write in CEL (`spec.health`) come before all of this, in `syncs.reconciler`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from setpoint.health import expected_status, generic, kinds
from setpoint.health.verdict import (
    Object,
    Verdict,
    condition,
    degraded,
    group_kind,
    healthy,
    mapping,
    progressing,
)
from setpoint.health.vocabulary import Sense, sense_of_fault


def evaluate(obj: Mapping[str, Any]) -> Verdict:
    """Judge a live object, or the metadata of one of a `trivial` kind; never raises, whatever the shape."""
    group, kind = group_kind(obj)
    if leaving := _deleted(obj):
        return leaving
    if trivial(group, kind):
        return healthy("Exists")
    if early := _unobserved(obj):
        return early
    if not kinds.speaks_by_rule(group, kind) and (early := _reconciling(obj)):
        return early
    if rule := kinds.rule(group, kind):
        found = rule(obj)
        if found:
            return found
    return _generic(obj, group, kind)


def trivial(group: str, kind: str) -> bool:
    """Whether objects of this kind are healthy as soon as they exist, so that their metadata is enough."""
    return kinds.trivial(group, kind)


def _generic(obj: Object, group: str, kind: str) -> Verdict:
    if found := generic.generic(obj):
        return found
    if _expected(obj, group, kind):
        return progressing("WaitingForStatus", "its controller has not reported a status yet")
    return healthy("Exists")


def _expected(obj: Object, group: str, kind: str) -> bool:
    """Whether a status without content is a beginning: of a kind that speaks, or touched by its controller.

    A controller leaves a finalizer of its own group, or an empty list of conditions.
    """
    status = mapping(obj, "status")
    if any(status.values()):
        return False
    names = mapping(obj, "metadata").get("finalizers")
    own = (
        any(str(name).partition("/")[0] == group for name in names)
        if isinstance(names, list | tuple)
        else False
    )
    return own or "conditions" in status or expected_status.speaks(group, kind)


def _deleted(obj: Object) -> Verdict | None:
    meta = mapping(obj, "metadata")
    if not meta.get("deletionTimestamp"):
        return None
    return progressing("Terminating", terminating(meta))


def terminating(meta: Mapping[str, Any]) -> str:
    """Return what an object waits for that is being deleted, from its metadata."""
    names = meta.get("finalizers")
    waits = ", ".join(str(name) for name in names[:5]) if isinstance(names, list | tuple) else ""
    return f"is being deleted, waits for finalizers {waits}" if waits else "is being deleted"


def _unobserved(obj: Object) -> Verdict | None:
    """Compare generations. Argo Rollouts once wrote a hash: a string counts only while it is a smaller number."""
    generation, observed = (
        mapping(obj, "metadata").get("generation"),
        mapping(obj, "status").get("observedGeneration"),
    )
    if not isinstance(generation, int) or isinstance(observed, bool):
        return None
    behind = observed != generation if isinstance(observed, int) else _number_below(observed, generation)
    return progressing("NotObserved", "its controller has not seen the newest spec yet") if behind else None


def _number_below(observed: object, generation: int) -> bool:
    return (
        isinstance(observed, str)
        and observed.isdecimal()
        and len(observed) < 8
        and int(observed) < generation
    )


def _reconciling(obj: Object) -> Verdict | None:
    """Apply the standard conditions of kstatus; Flux sets `Reconciling` also between failed tries."""
    status = mapping(obj, "status")
    stalled, reconciling = condition(status, "Stalled"), condition(status, "Reconciling")
    if stalled and stalled.status == "True":
        return degraded(stalled.reason or "Stalled", stalled.words)
    if not reconciling or reconciling.status != "True":
        return None
    ready = condition(status, "Ready")
    if ready and ready.status == "False" and sense_of_fault(ready.reason, ready.message[:600]) is Sense.BAD:
        return degraded(ready.reason or "NotReady", ready.words)
    return progressing(reconciling.reason or "Reconciling", reconciling.words)
