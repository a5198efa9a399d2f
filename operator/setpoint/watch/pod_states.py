"""Why the pods of a workload do not start, in the kubelet's words (pure).

The status of a Deployment only counts its pods; that an image cannot be pulled is in the pods alone. Pods carry no label of
ours, so the controller of a pod tells to which workload it belongs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from setpoint.health import pods as health_pods
from setpoint.health.verdict import Health, Object, Verdict, condition, items, mapping, text
from setpoint.objects.identity import ObjectId

WORKLOADS = frozenset(
    [
        ("apps", "Deployment"),
        ("apps", "StatefulSet"),
        ("apps", "DaemonSet"),
        ("apps", "ReplicaSet"),
        ("", "ReplicationController"),
        ("batch", "Job"),
    ]
)
DEADLINE = "ProgressDeadlineExceeded"
TEMPLATE_HASH = "pod-template-hash"
REVISION_LABELS = (TEMPLATE_HASH, "controller-revision-hash", "pod-template-generation")


@dataclass(frozen=True, slots=True)
class PodState:
    """What is remembered of a pod: its revision of the workload, its age, and what keeps it from running."""

    revision: str
    created: str
    verdict: Verdict | None = None


def workload_of(pod: Object) -> ObjectId | None:
    """Return the workload that a pod belongs to; of a ReplicaSet that a Deployment made, the Deployment."""
    meta = mapping(pod, "metadata")
    owner = next((o for o in items(meta, "ownerReferences") if o.get("controller") is True), None)
    if owner is None:
        return None
    group, kind, name = text(owner, "apiVersion").rpartition("/")[0], text(owner, "kind"), text(owner, "name")
    # The Deployment controller names a ReplicaSet so, and no other owner gives its pods this label.
    suffix = f"-{text(mapping(meta, 'labels'), TEMPLATE_HASH)}"
    if (group, kind) == ("apps", "ReplicaSet") and len(suffix) > 1 and name.endswith(suffix):
        kind, name = "Deployment", name.removesuffix(suffix)
    return ObjectId(group, kind, text(meta, "namespace"), name) if (group, kind) in WORKLOADS else None


def state_of(pod: Object, before: PodState | None) -> PodState | None:
    """Return what to remember of a pod, after what was before; None for one that is going away.

    A pod that fails goes to and fro between the try and the wait for the next one. That is one failure, until the pod is ready.
    """
    meta, status = mapping(pod, "metadata"), mapping(pod, "status")
    if meta.get("deletionTimestamp"):
        return None
    labels = mapping(meta, "labels")
    revision = next((found for key in REVISION_LABELS if (found := text(labels, key))), "")
    ready = condition(status, "Ready")
    verdict = None
    if not (ready and ready.status == "True") and not health_pods.is_finished(pod):
        verdict = health_pods.homeless(pod) or _steady(before, health_pods.stuck(pod))
    return PodState(revision, text(meta, "creationTimestamp"), verdict)


def mounts(pod: Object) -> frozenset[str]:
    """Return the names of the claims that a pod mounts; none if it is finished or going away."""
    if mapping(pod, "metadata").get("deletionTimestamp") or health_pods.is_finished(pod):
        return frozenset()
    volumes = items(mapping(pod, "spec"), "volumes")
    return frozenset(
        name for v in volumes if (name := text(mapping(v, "persistentVolumeClaim"), "claimName"))
    )


def _steady(before: PodState | None, now: Verdict | None) -> Verdict | None:
    failed = before.verdict if before else None
    if failed is None or failed.health is not Health.Degraded:
        return now
    if now is None:
        return failed
    same = health_pods.is_image(failed.reason) == health_pods.is_image(now.reason)
    return failed if same and failed.reason != now.reason else now


def verdict_of(states: Iterable[PodState]) -> Verdict | None:
    """Return what keeps the pods of the newest revision of a workload from running, in the words of one of them, or None."""
    known = list(states)
    since: dict[str, str] = {}
    for state in known:
        since[state.revision] = min(state.created, since.get(state.revision, state.created))
    newest = max(since.values(), default="")
    revisions = {revision for revision, begin in since.items() if begin == newest}
    found = [s.verdict for s in known if s.revision in revisions and s.verdict is not None]
    return min(found, key=lambda v: (v.health is not Health.Degraded, v.reason, v.message), default=None)


def in_question(oid: ObjectId, verdict: Verdict) -> bool:
    """Whether the pods of an object would say more than it does itself."""
    if (oid.group, oid.kind) not in WORKLOADS:
        return False
    return verdict.health is Health.Progressing or verdict.reason == DEADLINE


def refined(oid: ObjectId, verdict: Verdict, pods: Verdict | None) -> Verdict:
    """Return the verdict of a workload, in the words of its pods if they say why it does not get on."""
    return pods if pods is not None and in_question(oid, verdict) else verdict
