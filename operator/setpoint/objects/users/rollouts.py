"""What a workload of Git tells about the objects that its pods use, where the pods themselves may not be read (pure)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from setpoint.health.pods import is_finished
from setpoint.health.verdict import Object, mapping, number, text
from setpoint.objects.users.references import Name, names_in
from setpoint.objects.users.wants import NOTHING, is_finished_job

MOST_NAMES = 1000
"""Names that are remembered of a workload's present template, and of its former ones: a manifest has room for any number,
and one that never gets ready may be changed for ever."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """What the pods of a workload name.

    `names`: by its present template, nothing if it wants no pods. `earlier`: by former ones, whose pods may still run.
    None is anything: they name too much, or the operator was not there. `complete`: no pod of a former template is left.
    """

    names: frozenset[Name] | None
    earlier: frozenset[Name] | None = NOTHING
    complete: bool = True

    def after(self, before: Rollout | None) -> Rollout:
        """Return the same, with what is known from `before` of former templates."""
        if self.complete or before is None:
            return self
        if before.earlier is None or before.names is None:
            return replace(self, earlier=None)
        return replace(self, earlier=_bounded(before.earlier | before.names))


def _bounded(names: frozenset[Name]) -> frozenset[Name] | None:
    return names if len(names) <= MOST_NAMES else None


def rollout_of(obj: Object) -> Rollout | None:
    """Return what a workload tells; None of any other object."""
    spec, api, kind = mapping(obj, "spec"), text(obj, "apiVersion"), text(obj, "kind")
    group = api.rpartition("/")[0]
    if (group, kind) == ("", "Pod"):
        done = is_finished(obj)
        return _of(obj, {} if done else spec, complete=done)
    if (group, kind) == ("batch", "CronJob"):
        active = bool(mapping(obj, "status").get("active"))
        template = mapping(spec, "jobTemplate", "spec", "template", "spec")
        return _of(obj, template if active else {}, complete=not active)
    if (group, kind) == ("batch", "Job"):
        done = is_finished_job(obj) or number(spec, "parallelism", 1) < 1
        return _of(obj, {} if done else mapping(spec, "template", "spec"), complete=done)
    is_rolled_out = _ROLLED_OUT.get((group, kind))
    if is_rolled_out is None:
        return None
    meta, status = mapping(obj, "metadata"), mapping(obj, "status")
    seen = number(status, "observedGeneration") >= number(meta, "generation")
    wants = kind == "DaemonSet" or number(spec, "replicas", 1) > 0
    template = mapping(spec, "template", "spec") if wants else {}
    return _of(obj, template, complete=seen and is_rolled_out(number(spec, "replicas", 1), status))


def _of(obj: Object, pod: Object, *, complete: bool) -> Rollout:
    # What was never changed has had one template only.
    first = number(mapping(obj, "metadata"), "generation", 1) <= 1
    return Rollout(
        _bounded(names_in(pod)) if pod else NOTHING, NOTHING if complete or first else None, complete
    )


def _deployment(wanted: int, status: Object) -> bool:
    updated = number(status, "updatedReplicas")
    gone = number(status, "replicas") <= updated and not number(status, "terminatingReplicas")
    return gone and updated >= wanted and number(status, "availableReplicas") >= updated


def _stateful_set(wanted: int, status: Object) -> bool:
    same = status.get("currentRevision") == status.get("updateRevision")
    updated = same or number(status, "updatedReplicas") >= number(status, "replicas")
    return updated and number(status, "replicas") <= wanted <= number(status, "readyReplicas")


def _daemon_set(_: int, status: Object) -> bool:
    wanted = number(status, "desiredNumberScheduled")
    return number(status, "updatedNumberScheduled") >= wanted <= number(status, "numberAvailable")


def _replica_set(wanted: int, status: Object) -> bool:
    return number(status, "replicas") <= wanted <= number(status, "readyReplicas")


_ROLLED_OUT: dict[tuple[str, str], Callable[[int, Object], bool]] = {
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("apps", "ReplicaSet"): _replica_set,
    ("", "ReplicationController"): _replica_set,
}
