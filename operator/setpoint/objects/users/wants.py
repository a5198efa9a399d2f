"""Who has pods, or wants to have some, and what those name (pure)."""

from __future__ import annotations

from setpoint.health.pods import is_finished
from setpoint.health.verdict import Object, condition, mapping, number, text
from setpoint.objects.users.references import Name, names_in

NOTHING: frozenset[Name] = frozenset()


def names_used(kind: str, obj: Object) -> frozenset[Name]:
    """Return what a Pod that is not finished uses, or a ReplicaSet or Job that wants pods; nothing otherwise.

    A Pod that is going away uses things until it is gone. A suspended Job wants pods: something will resume it.
    """
    meta, spec = mapping(obj, "metadata"), mapping(obj, "spec")
    if kind == "Pod":
        return NOTHING if is_finished(obj) else names_in(spec, text(meta, "name"))
    # Whoever goes away makes no pods; those that it has speak for themselves.
    if meta.get("deletionTimestamp") or not _wants_pods(kind, obj):
        return NOTHING
    return names_in(mapping(spec, "template", "spec"))


def is_finished_job(job: Object) -> bool:
    """Return whether a Job is done, or was given up."""
    status = mapping(job, "status")
    found = (condition(status, kind) for kind in ("Complete", "Failed"))
    return any(c is not None and c.status == "True" for c in found)


def _wants_pods(kind: str, obj: Object) -> bool:
    spec = mapping(obj, "spec")
    if kind == "Job":
        return number(spec, "parallelism", 1) > 0 and not is_finished_job(obj)
    return number(spec, "replicas", 1) > 0
