"""Who has pods, or wants to have some, and what those name (pure)."""

from __future__ import annotations

from setpoint.health.pods import is_finished
from setpoint.health.verdict import Object, condition, mapping, number, text
from setpoint.objects.users.references import Name, names_in

NOTHING: frozenset[Name] = frozenset()


def names_used(kind: str, obj: Object) -> frozenset[Name]:
    """Return what a Pod that is not finished uses, or a ReplicaSet, StatefulSet or Job that wants pods; nothing otherwise.

    A Pod that is going away uses things until it is gone. A suspended Job wants pods: something will resume it.
    A StatefulSet may use more: see `revisions_used`.
    """
    meta, spec = mapping(obj, "metadata"), mapping(obj, "spec")
    if kind == "Pod":
        return NOTHING if is_finished(obj) else names_in(spec, text(meta, "name"))
    # Whoever goes away makes no pods; those that it has speak for themselves.
    if meta.get("deletionTimestamp") or not _wants_pods(kind, obj):
        return NOTHING
    return names_in(mapping(spec, "template", "spec"))


def revisions_used(stateful: Object) -> tuple[str, ...]:
    """Return the ControllerRevisions, beside its present template, that a StatefulSet may make its next pod of.

    Those below `partition` are made of the current revision as long as the update is not complete, also when such a
    pod was evicted, so that there is none for a moment. With OnDelete all are made of the update revision, and
    `currentRevision` never moves. A controller that has not seen the last change works with what it saw before it.
    """
    meta, spec, status = (mapping(stateful, key) for key in ("metadata", "spec", "status"))
    current, update = text(status, "currentRevision"), text(status, "updateRevision")
    if meta.get("deletionTimestamp") or not _wants_pods("StatefulSet", stateful):
        return ()
    if number(status, "observedGeneration") < number(meta, "generation"):
        return tuple(name for name in dict.fromkeys((current, update)) if name)
    rolls = text(mapping(spec, "updateStrategy"), "type") != "OnDelete"
    return (current,) if rolls and current and current != update else ()


def names_of_revision(revision: Object) -> frozenset[Name]:
    """Return what the pods name that a StatefulSet makes of a ControllerRevision."""
    return names_in(mapping(revision, "data", "spec", "template", "spec"))


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
