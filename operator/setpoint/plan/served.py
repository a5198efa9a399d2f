"""Says in which versions a kind is served when it is not served as Git asks for it (pure).

Discovery tells what is served. The table adds what it cannot tell: since which minor release of Kubernetes a
version that was served by default is gone, and to which API group the kind moved.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType

from setpoint.objects.identity import group_of
from setpoint.objects.kinds import Kind

FindServed = Callable[[str], Sequence[Kind]]
"""The name of a kind -> what discovery says of it in all groups and versions, preferred versions first."""


def _table() -> Mapping[tuple[str, str], tuple[str, str]]:
    rbac, storage, admission = (
        f"{g}.k8s.io" for g in ("rbac.authorization", "storage", "admissionregistration")
    )
    networking, flow = "networking.k8s.io", "flowcontrol.apiserver.k8s.io"
    rows: Sequence[tuple[str, str, str, str]] = (
        # (apiVersion, kinds, removed in, group of today)
        ("extensions/v1beta1", "DaemonSet Deployment ReplicaSet", "1.16", "apps"),
        ("extensions/v1beta1", "NetworkPolicy", "1.16", networking),
        ("extensions/v1beta1", "PodSecurityPolicy", "1.16", ""),
        ("extensions/v1beta1", "Ingress", "1.22", networking),
        ("apps/v1beta1", "ControllerRevision Deployment StatefulSet", "1.16", "apps"),
        ("apps/v1beta2", "ControllerRevision DaemonSet Deployment ReplicaSet StatefulSet", "1.16", "apps"),
        (f"{admission}/v1beta1", "MutatingWebhookConfiguration ValidatingWebhookConfiguration", "1.22", admission),
        ("apiextensions.k8s.io/v1beta1", "CustomResourceDefinition", "1.22", "apiextensions.k8s.io"),
        ("apiregistration.k8s.io/v1beta1", "APIService", "1.22", "apiregistration.k8s.io"),
        ("certificates.k8s.io/v1beta1", "CertificateSigningRequest", "1.22", "certificates.k8s.io"),
        ("coordination.k8s.io/v1beta1", "Lease", "1.22", "coordination.k8s.io"),
        (f"{networking}/v1beta1", "Ingress IngressClass", "1.22", networking),
        (f"{rbac}/v1beta1", "ClusterRole ClusterRoleBinding Role RoleBinding", "1.22", rbac),
        ("scheduling.k8s.io/v1beta1", "PriorityClass", "1.22", "scheduling.k8s.io"),
        (f"{storage}/v1beta1", "CSIDriver CSINode StorageClass VolumeAttachment", "1.22", storage),
        ("autoscaling/v2beta1", "HorizontalPodAutoscaler", "1.25", "autoscaling"),
        ("batch/v1beta1", "CronJob", "1.25", "batch"),
        ("discovery.k8s.io/v1beta1", "EndpointSlice", "1.25", "discovery.k8s.io"),
        ("events.k8s.io/v1beta1", "Event", "1.25", "events.k8s.io"),
        ("node.k8s.io/v1beta1", "RuntimeClass", "1.25", "node.k8s.io"),
        ("policy/v1beta1", "PodDisruptionBudget", "1.25", "policy"),
        ("policy/v1beta1", "PodSecurityPolicy", "1.25", ""),
        ("autoscaling/v2beta2", "HorizontalPodAutoscaler", "1.26", "autoscaling"),
        (f"{flow}/v1beta1", "FlowSchema PriorityLevelConfiguration", "1.26", flow),
        (f"{storage}/v1beta1", "CSIStorageCapacity", "1.27", storage),
        (f"{flow}/v1beta2", "FlowSchema PriorityLevelConfiguration", "1.29", flow),
        (f"{flow}/v1beta3", "FlowSchema PriorityLevelConfiguration", "1.32", flow),
    )  # fmt: skip
    return MappingProxyType(
        {
            (api_version, kind): (minor, now)
            for api_version, kinds, minor, now in rows
            for kind in kinds.split()
        }
    )


REMOVED = _table()
"""(apiVersion, kind) -> (the minor release without it, the group that has the kind now or ""); from the guide to deprecated APIs."""


def successors(api_version: str, kind: str, served: FindServed) -> Sequence[Kind]:
    """Return the kind in the versions that are served, in its own group or in the one that it moved to."""
    group = group_of(api_version)
    groups = {group, REMOVED.get((api_version, kind), ("", group))[1]}
    return [k for k in served(kind) if k.group in groups]


def unserved(api_version: str, kind: str, served: FindServed) -> str:
    """Return why the API server refuses a kind, though discovery may still have it at `api_version`: that may be old."""
    found = successors(api_version, kind, served)
    versions = tuple(k.api_version for k in found if k.api_version != api_version)
    if not versions and found:
        return f"the cluster does not serve {kind} in {api_version} any more, or not yet again"
    return not_served(api_version, kind, versions)


def not_served(api_version: str, kind: str, versions: Collection[str]) -> str:
    """Return why a kind cannot be had at `api_version`; `versions` are the apiVersions that are served."""
    group, _, version = api_version.rpartition("/")
    short = version if all(v.rpartition("/")[0] == group for v in versions) else api_version
    minor = REMOVED.get((api_version, kind), ("", ""))[0]
    if versions and minor:
        return f"{kind} is served as {', '.join(versions)}; {short} was removed in {minor}"
    if versions:
        return f"{kind} is served as {', '.join(versions)}, and not as {short}"
    if minor:
        return f"{kind} of {api_version} was removed in {minor}, and nothing takes its place"
    missing = f"the cluster has no kind {kind} in {api_version}"
    if "." in group:
        return f"{missing}; install its CRD first"
    return f"{missing}; correct apiVersion or kind, no CRD brings this group"
