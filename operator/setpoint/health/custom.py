"""Health of custom kinds for which the generic rules are wrong (pure)."""

from __future__ import annotations

from setpoint.health.conditions import condition_hints
from setpoint.health.generic import generic
from setpoint.health.verdict import (
    Health,
    Object,
    Verdict,
    condition,
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


def rollout(obj: Object) -> Verdict | None:
    """Judge an Argo Rollout: its own words first, then what of it is still old."""
    status, spec = mapping(obj, "status"), mapping(obj, "spec")
    if not status:
        return None
    seen = text(status, "workloadObservedGeneration")
    wanted = text(mapping(obj, "metadata", "annotations"), "rollout.argoproj.io/workload-generation")
    if wanted and seen and wanted != seen:
        return progressing("NotObserved", "its controller has not seen the newest spec of the workload yet")
    said = generic(obj)
    if said and said.health is not Health.Healthy:
        return said
    if next(items(status, "pauseConditions"), None):
        return suspended("Paused", "waits to be resumed or promoted")
    return _unfinished(status, number(spec, "replicas", 1)) or said


def _unfinished(status: Object, wanted: int) -> Verdict | None:
    updated, available = number(status, "updatedReplicas"), number(status, "availableReplicas")
    if updated < wanted:
        return progressing("RolloutInProgress", f"{updated} of {wanted} pods updated")
    if available < updated:
        return progressing("RolloutInProgress", f"{available} of {updated} pods available")
    if (total := number(status, "replicas")) > updated:
        return progressing("RolloutInProgress", f"{total - updated} old pods are still running")
    stable = text(status, "stableRS") or text(mapping(status, "canary"), "stableRS")
    if stable and stable != text(status, "currentPodHash"):
        return progressing("RolloutInProgress", "the newest version is not yet the stable one")
    return None


def kruise_workload(obj: Object) -> Verdict | None:
    """Judge a workload of OpenKruise, which can be paused, or updated up to a partition and no further."""
    status, spec = mapping(obj, "status"), mapping(obj, "spec")
    strategy = mapping(spec, "updateStrategy")
    for holder in (strategy, mapping(strategy, "rollingUpdate")):
        if holder.get("paused") is True:
            return suspended("Paused", "its update is paused")
    said = generic(obj)
    if not status or (said and said.health is not Health.Healthy):
        return said
    wanted = number(spec, "replicas", number(status, "desiredNumberScheduled"))
    keys = (
        "updatedReplicas",
        "updatedReadyReplicas",
        "updatedAvailableReplicas",
        "updatedNumberScheduled",
        "numberReady",
        "readyReplicas",
    )
    short = [number(status, key) for key in keys if key in status and number(status, key) < wanted]
    held = max(number(holder, "partition") for holder in (strategy, mapping(strategy, "rollingUpdate")))
    if short and held:
        return suspended("Partitioned", f"{short[0]} of {wanted} pods updated, the partition holds the rest")
    return (
        progressing("RolloutInProgress", f"{short[0]} of {wanted} pods ready")
        if short
        else said or healthy("Ready")
    )


_SOLO = {"0": "Pending", "1": "Accepted", "2": "Rejected", "3": "Warning"}


def solo(obj: Object) -> Verdict | None:
    """Judge a kind of Gloo: one status per namespace of a controller, states by name or by protobuf number."""
    status = mapping(obj, "status")
    statuses = mapping(status, "statuses")
    holders = [mapping(statuses, key) for key in statuses] or [status]
    found = [
        (_SOLO.get(str(one.get("state")), str(one.get("state"))), text(one, "reason")) for one in holders
    ]
    for state, reason in found:
        if state in ("Rejected", "Warning"):
            return degraded(state, reason or state)
    if any(state == "Accepted" for state, _ in found):
        return healthy("Accepted", "accepted")
    return progressing("Pending", "not yet validated") if any(s == "Pending" for s, _ in found) else None


def grafana(obj: Object) -> Verdict | None:
    """Judge a Grafana of the Grafana operator, which walks through stages."""
    status = mapping(obj, "status")
    stage, state = text(status, "stage"), text(status, "stageStatus")
    if state == "failed":
        return degraded("Failed", f"stage {stage}: {text(status, 'lastMessage') or 'failed'}")
    if stage and (stage, state) != ("complete", "success"):
        return progressing("InProgress", f"stage {stage}")
    return healthy("Complete", "complete") if stage else None


def certificate(obj: Object) -> Verdict | None:
    """Judge a Certificate of cert-manager: `Issuing` reports a failed issuance, a renewal leaves it ready."""
    issuing = condition(mapping(obj, "status"), "Issuing")
    if issuing and issuing.status == "False" and issuing.reason == "Failed":
        return degraded(issuing.reason, issuing.words)
    if issuing and issuing.status == "True":
        return progressing(issuing.reason or "Issuing", issuing.words)
    return None


def by_conditions(obj: Object) -> Verdict | None:
    """Judge a kind whose phase is its content and not its health, by its conditions alone."""
    found = list(condition_hints(obj))
    bad = [one for one in found if one.health is not Health.Healthy]
    return next(iter(bad or found), None)


def application(obj: Object) -> Verdict | None:
    """Judge an Application of Argo CD: its health is what Argo CD says; whether it is in sync is another question."""
    status = mapping(obj, "status")
    if text(mapping(status, "operationState"), "phase") == "Running":
        return progressing(
            "OperationRunning", text(mapping(status, "operationState"), "message") or "is being synced"
        )
    said, message = text(mapping(status, "health"), "status"), text(mapping(status, "health"), "message")
    if said in Health.__members__:
        return verdict(Health[said], said, message or said.lower())
    return None


def crossplane(obj: Object) -> Verdict | None:
    """Judge a managed resource of Crossplane: once synced, it has yet to become ready."""
    status = mapping(obj, "status")
    synced, ready = condition(status, "Synced"), condition(status, "Ready")
    if synced and synced.status == "True" and not ready:
        return progressing("NotReady", "is synced and not ready yet")
    return None


def by_state(obj: Object) -> Verdict | None:
    """Judge a kind of Percona by its state: its conditions are a log of states, all of them True."""
    status = mapping(obj, "status")
    said = text(status, "message")
    return (
        generic({**obj, "status": {"state": text(status, "state"), "message": said}})
        if "state" in status
        else None
    )


_WAITING = frozenset(
    [
        "Progressing",
        "Waiting",
        "DependencyNotReady",
        "SourceNotReady",
        "PruneWaiting",
        "Contested",
        "Missing",
        "Deleting",
        "NamespaceTerminating",
        "ApiUnavailable",
    ]
)
"""Why a Sync is not Ready that goes on by itself as soon as something else has happened."""
_FOR_A_PERSON = frozenset(["Suspended", "Refused", "Drift", "OutOfSync"])
"""Why a Sync is not Ready that has done all that it may: somebody is to decide, and nothing has failed."""


def sync(obj: Object) -> Verdict:
    """Judge a nested Sync by its Ready: what it waits for is its own affair, and only what has failed is its parent's."""
    ready = condition(mapping(obj, "status"), "Ready")
    if mapping(obj, "spec").get("suspend") is True:
        return suspended("Suspended", ready.words if ready else "spec.suspend is true")
    if ready is None:
        return progressing("WaitingForStatus", "it has not been looked at yet")
    if ready.status == "True":
        return healthy(ready.reason or "Ready", ready.words)
    if ready.reason in _FOR_A_PERSON:
        return suspended(ready.reason, ready.words)
    make = progressing if ready.reason in _WAITING or ready.status != "False" else degraded
    return make(ready.reason or "NotReady", ready.words)
