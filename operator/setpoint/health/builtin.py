"""Health of the other built-in kinds, and the list of kinds that have none (pure)."""

from __future__ import annotations

from setpoint.health.verdict import (
    Condition,
    Object,
    Verdict,
    condition,
    conditions,
    degraded,
    healthy,
    mapping,
    number,
    progressing,
    suspended,
    text,
)

_CORE = "ConfigMap Secret ServiceAccount LimitRange ResourceQuota PodTemplate Endpoints Event ComponentStatus Binding"
_BY_GROUP = {
    "rbac.authorization.k8s.io": "Role RoleBinding ClusterRole ClusterRoleBinding",
    "networking.k8s.io": "NetworkPolicy Ingress IngressClass IPAddress",
    "scheduling.k8s.io": "PriorityClass",
    "node.k8s.io": "RuntimeClass",
    "storage.k8s.io": "StorageClass CSIDriver CSINode CSIStorageCapacity VolumeAttributesClass",
    "coordination.k8s.io": "Lease",
    "discovery.k8s.io": "EndpointSlice",
    "apps": "ControllerRevision",
    "admissionregistration.k8s.io": "ValidatingWebhookConfiguration MutatingWebhookConfiguration "
    "ValidatingAdmissionPolicyBinding MutatingAdmissionPolicy MutatingAdmissionPolicyBinding",
    "flowcontrol.apiserver.k8s.io": "PriorityLevelConfiguration",
    "certificates.k8s.io": "ClusterTrustBundle",
    "resource.k8s.io": "DeviceClass ResourceClaimTemplate ResourceSlice",
}

TRIVIAL = frozenset(
    [("", kind) for kind in _CORE.split()]
    + [(group, kind) for group, kinds in _BY_GROUP.items() for kind in kinds.split()]
)
"""Kinds that are healthy as soon as they exist.

An Ingress is among them, as for kstatus: many controllers never write its status, and none must run for it to be right.
"""


def claim(obj: Object) -> Verdict:
    """Judge a PersistentVolumeClaim."""
    status = mapping(obj, "status")
    phase = text(status, "phase")
    if phase == "Lost":
        return degraded("Lost", "the volume that it was bound to is gone")
    for kind in ("ModifyVolumeError", "ControllerResizeError", "NodeResizeError"):
        found = condition(status, kind)
        if found and found.status == "True":
            return degraded(kind, found.words)
    if phase != "Bound":
        return progressing(phase or "Pending", "waits for a volume")
    return healthy("Bound", f"bound to {text(mapping(obj, 'spec'), 'volumeName') or 'a volume'}")


def volume(obj: Object) -> Verdict:
    """Judge a PersistentVolume: Available, Bound and Released are ends that somebody may have wanted."""
    status = mapping(obj, "status")
    phase = text(status, "phase")
    if phase == "Failed":
        return degraded(
            text(status, "reason") or "Failed", text(status, "message") or "could not be reclaimed"
        )
    if phase in ("", "Pending"):
        return progressing("Pending", "waits to become available")
    return healthy(phase, phase.lower())


def service(obj: Object) -> Verdict:
    """Judge a Service: only a load balancer has to be waited for."""
    if text(mapping(obj, "spec"), "type") != "LoadBalancer":
        return healthy("Ready")
    for found in conditions(mapping(obj, "status")):
        if found.type == "LoadBalancerPortsError" and found.status == "True":
            return degraded(found.reason or found.type, found.words)
    if not mapping(obj, "status", "loadBalancer").get("ingress"):
        return progressing("LoadBalancerPending", "waits for the address of its load balancer")
    return healthy("LoadBalancerReady", "has an address")


def autoscaler(obj: Object) -> Verdict:
    """Judge a HorizontalPodAutoscaler: can it scale; missing metrics are reported, but do not degrade it."""
    status = mapping(obj, "status")
    found = conditions(status)
    stopped = [c for c in found if c.status == "False" and c.type in ("AbleToScale", "ScalingActive")]
    for one in stopped:
        if one.reason != "ScalingDisabled" and not _without_metrics(one):
            return degraded(one.reason or one.type, one.words)
    if not found:
        return progressing("WaitingForStatus", "waits for its first metrics")
    if waits := next(filter(_without_metrics, stopped), None):
        return healthy(waits.reason, f"does not scale, for want of metrics: {waits.words}")
    now, wanted = number(status, "currentReplicas"), number(status, "desiredReplicas")
    return healthy("ScalingActive", f"{now} replicas, {wanted} desired")


def _without_metrics(one: Condition) -> bool:
    """Whether the metrics pipeline fails (`FailedGetResourceMetric` and its kin), not the autoscaler itself."""
    return (
        one.type == "ScalingActive" and one.reason.startswith("FailedGet") and one.reason.endswith("Metric")
    )


def definition(obj: Object) -> Verdict:
    """Judge a CustomResourceDefinition: names accepted, schema structural, established."""
    status = mapping(obj, "status")
    names, established = condition(status, "NamesAccepted"), condition(status, "Established")
    terminating, schema = condition(status, "Terminating"), condition(status, "NonStructuralSchema")
    if terminating and terminating.status == "True":
        return progressing("Terminating", terminating.words)
    if names and names.status == "False":
        return degraded(names.reason or "NamesNotAccepted", f"names are not accepted: {names.words}")
    if schema and schema.status == "True":
        return degraded(schema.reason or schema.type, schema.words)
    if established and established.status == "False" and established.reason != "Installing":
        return degraded(established.reason or "NotEstablished", established.words)
    if not established or established.status != "True":
        return progressing("Installing", "waits to be established")
    return healthy("Established", "established")


def api_service(obj: Object) -> Verdict:
    """Judge an APIService: its server may come up with the same commit, so it is waited for."""
    available = condition(mapping(obj, "status"), "Available")
    if available and available.status == "True":
        return healthy(available.reason or "Available", available.words)
    if available:
        return progressing(available.reason or "NotAvailable", available.words)
    return progressing("WaitingForStatus", "waits for its first check")


def namespace(obj: Object) -> Verdict:
    """Judge a Namespace."""
    status = mapping(obj, "status")
    if text(status, "phase") == "Terminating":
        why = next((c.words for c in conditions(status) if c.status == "True"), "is being deleted")
        return progressing("Terminating", why)
    return healthy("Active", "active")


def node(obj: Object) -> Verdict:
    """Judge a Node: the kubelet's Ready, then pressure of memory, disk and processes."""
    found = conditions(mapping(obj, "status"))
    for one in found:
        if one.type == "Ready" and one.status != "True":
            return degraded(one.reason or "NotReady", one.words)
        if one.type.endswith(("Pressure", "Unavailable")) and one.status == "True":
            return degraded(one.reason or one.type, one.words)
    if not any(one.type == "Ready" for one in found):
        return progressing("WaitingForStatus", "waits for the kubelet")
    if mapping(obj, "spec").get("unschedulable") is True:
        return suspended("Cordoned", "takes no new pods")
    return healthy("Ready", "ready")


def disruption_budget(obj: Object) -> Verdict:
    """Judge a PodDisruptionBudget: the pods' health is theirs; only a sync that fails is its own."""
    status = mapping(obj, "status")
    allowed = condition(status, "DisruptionAllowed")
    if allowed and allowed.reason == "SyncFailed":
        return degraded("SyncFailed", allowed.words)
    have, wanted = number(status, "currentHealthy"), number(status, "desiredHealthy")
    return healthy("Computed", f"{have} healthy pods, {wanted} needed")
