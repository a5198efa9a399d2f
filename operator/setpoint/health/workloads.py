"""Health of workloads: Deployments, StatefulSets, DaemonSets, Jobs, by the rules of kstatus (pure)."""

from __future__ import annotations

from setpoint.health.verdict import (
    Object,
    Verdict,
    condition,
    degraded,
    healthy,
    mapping,
    number,
    progressing,
    suspended,
    text,
)


def deployment(obj: Object) -> Verdict:
    """Judge a Deployment: its counts, and the conditions Progressing and Available."""
    status, wanted = mapping(obj, "status"), _wanted(obj)
    rollout = condition(status, "Progressing")
    if rollout and rollout.reason == "ProgressDeadlineExceeded":
        return degraded(rollout.reason, rollout.words)
    if mapping(obj, "spec").get("paused") is True:
        return suspended("Paused", "spec.paused is true")
    total, updated = number(status, "replicas"), number(status, "updatedReplicas")
    if short := _short(status, wanted, "replicas") or _short(status, wanted, "updatedReplicas", "updated"):
        return _with_failure(status, short)
    if total > updated:
        return progressing("RolloutInProgress", f"{total - updated} old pods are still running")
    if short := _short(status, updated, "availableReplicas", "available") or _short(
        status, wanted, "readyReplicas"
    ):
        return short
    available = condition(status, "Available")
    if rollout and rollout.reason != "NewReplicaSetAvailable":
        return progressing(rollout.reason or "RolloutInProgress", rollout.words)
    if not available or available.status != "True":
        return progressing(
            available.reason if available else "WaitingForStatus",
            available.words if available else "not yet available",
        )
    return healthy("Available", f"{wanted} of {wanted} pods ready")


def stateful_set(obj: Object) -> Verdict:
    """Judge a StatefulSet: its counts, its partition, its revisions."""
    status, wanted = mapping(obj, "status"), _wanted(obj)
    strategy = mapping(obj, "spec", "updateStrategy")
    if text(strategy, "type") == "OnDelete":
        return healthy("OnDelete", "pods are updated when they are deleted")
    if short := _short(status, wanted, "replicas") or _short(status, wanted, "readyReplicas"):
        return short
    if (total := number(status, "replicas")) > wanted:
        return progressing("PendingTermination", f"{total - wanted} pods too many")
    if "availableReplicas" in status and (short := _short(status, wanted, "availableReplicas", "available")):
        return short
    partition = number(mapping(strategy, "rollingUpdate"), "partition", -1)
    if partition >= 0:
        updated = number(status, "updatedReplicas")
        if updated < wanted - partition:
            return progressing("RolloutInProgress", f"{updated} of {wanted - partition} pods updated")
        return healthy("RolloutComplete", f"{wanted} of {wanted} pods ready")
    if short := _short(status, wanted, "currentReplicas", "of the current revision"):
        return short
    if status.get("currentRevision") != status.get("updateRevision"):
        return progressing("RolloutInProgress", "waits for the update to become current")
    return healthy("RolloutComplete", f"{wanted} of {wanted} pods ready")


def daemon_set(obj: Object) -> Verdict:
    """Judge a DaemonSet by how many nodes run, run the newest of, and have available its pod."""
    status = mapping(obj, "status")
    wanted = number(status, "desiredNumberScheduled", -1)
    if wanted < 0:
        return progressing("WaitingForStatus", "not yet scheduled")
    counts = [
        ("currentNumberScheduled", "scheduled"),
        ("numberAvailable", "available"),
        ("numberReady", "ready"),
    ]
    if text(mapping(obj, "spec", "updateStrategy"), "type") != "OnDelete":
        counts.insert(1, ("updatedNumberScheduled", "updated"))
    for key, word in counts:
        if short := _short(status, wanted, key, word):
            return short
    return healthy("RolloutComplete", f"{wanted} of {wanted} pods ready")


def replica_set(obj: Object) -> Verdict:
    """Judge a ReplicaSet or a ReplicationController."""
    status, wanted = mapping(obj, "status"), _wanted(obj)
    failure = condition(status, "ReplicaFailure")
    if failure and failure.status == "True":
        # kstatus: in progress, because a quota may be freed and a webhook may come back.
        return progressing(failure.reason or "ReplicaFailure", failure.words)
    for key, word in (
        ("fullyLabeledReplicas", "labelled"),
        ("availableReplicas", "available"),
        ("readyReplicas", "ready"),
    ):
        if short := _short(status, wanted, key, word):
            return short
    if (total := number(status, "replicas")) > wanted:
        return progressing("PendingTermination", f"{total - wanted} pods too many")
    return healthy("Available", f"{wanted} of {wanted} pods ready")


def job(obj: Object) -> Verdict:
    """Judge a Job: healthy once complete. kstatus calls a running Job current; who waits for a migration does not."""
    status, spec = mapping(obj, "status"), mapping(obj, "spec")
    for kind, make in (("Failed", degraded), ("FailureTarget", degraded), ("Complete", healthy)):
        found = condition(status, kind)
        if found and found.status == "True":
            return make(
                found.reason or kind, found.words if make is degraded else found.message or "completed"
            )
    if spec.get("suspend") is True:
        return suspended("Suspended", "spec.suspend is true")
    if not status.get("startTime"):
        return progressing("NotStarted", "the job has not started")
    wanted, done = number(spec, "completions", 1), number(status, "succeeded")
    failed = number(status, "failed")
    tail = f", {failed} failed" if failed else ""
    return progressing("Running", f"{done} of {wanted} completed, {number(status, 'active')} active{tail}")


def cron_job(obj: Object) -> Verdict:
    """Judge a CronJob: what its Jobs do is their own story."""
    if mapping(obj, "spec").get("suspend") is True:
        return suspended("Suspended", "spec.suspend is true")
    last = text(mapping(obj, "status"), "lastScheduleTime")
    return healthy("Scheduled", f"last run at {last}" if last else "waits for its schedule")


def _wanted(obj: Object) -> int:
    return number(mapping(obj, "spec"), "replicas", 1)


def _short(status: Object, wanted: int, key: str, word: str = "ready") -> Verdict | None:
    have = number(status, key)
    if have >= wanted:
        return None
    word = "created" if key == "replicas" else word
    return progressing("RolloutInProgress", f"{have} of {wanted} pods {word}")


def _with_failure(status: Object, short: Verdict) -> Verdict:
    """Return why pods cannot be created (quota, webhook), if the controller knows."""
    failure = condition(status, "ReplicaFailure")
    if failure and failure.status == "True":
        return progressing(failure.reason or "ReplicaFailure", f"{short.message}: {failure.words}")
    return short
