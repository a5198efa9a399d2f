"""The order of writing: stages, and what each of them waits for (pure).

First Namespaces, CRDs and access objects, then configuration before workloads by waves. Last come webhook configurations
and APIServices, which block other writes while their server does not run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from setpoint.api import names
from setpoint.objects.identity import Manifest, ObjectId
from setpoint.plan.desired import Desired, Phase, StageKey

WEBHOOKS = frozenset({"ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"})
POLICIES = frozenset(
    {
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
    }
)
ACCESS = frozenset({"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"})
CONFIGURATION = frozenset(
    {
        "ConfigMap",
        "IngressClass",
        "LimitRange",
        "NetworkPolicy",
        "PersistentVolume",
        "PersistentVolumeClaim",
        "PriorityClass",
        "ResourceQuota",
        "RuntimeClass",
        "Secret",
        "StorageClass",
    }
)
ACCESS_GROUPS = frozenset({"", "rbac.authorization.k8s.io"})


@dataclass(frozen=True, slots=True)
class Stage:
    """Objects that are written together, after the stages before."""

    key: StageKey
    objects: tuple[Desired, ...]

    @property
    def phase(self) -> Phase:
        """The phase."""
        return self.key[0]

    @property
    def wave(self) -> int:
        """The wave; only those of `Phase.WAVES` have one."""
        return self.key[1]


def is_crd(oid: ObjectId) -> bool:
    """Return whether the object is a CustomResourceDefinition."""
    return oid.kind == "CustomResourceDefinition" and oid.group == "apiextensions.k8s.io"


def is_namespace(oid: ObjectId) -> bool:
    """Return whether the object is a Namespace."""
    return oid.kind == "Namespace" and not oid.group


def is_storage_class(oid: ObjectId) -> bool:
    """Return whether the object is a StorageClass."""
    return oid.kind == "StorageClass" and oid.group == "storage.k8s.io"


def admitted_after(d: Desired) -> frozenset[ObjectId]:
    """Return what must exist before a Pod is accepted: its ServiceAccount and its classes; workloads are accepted without."""
    if d.id.kind != "Pod" or d.id.group:
        return frozenset()
    spec = d.manifest.get("spec")
    names_of = spec if isinstance(spec, Mapping) else {}
    named = (
        ("", "ServiceAccount", d.id.namespace, names_of.get("serviceAccountName")),
        ("scheduling.k8s.io", "PriorityClass", "", names_of.get("priorityClassName")),
        ("node.k8s.io", "RuntimeClass", "", names_of.get("runtimeClassName")),
    )
    return frozenset(
        ObjectId(group, kind, place, name) for group, kind, place, name in named if isinstance(name, str)
    )


def is_blocking(oid: ObjectId) -> bool:
    """Return whether the object can block other writes or break discovery while nothing serves it."""
    return (oid.group == "admissionregistration.k8s.io" and oid.kind in WEBHOOKS) or (
        oid.group == "apiregistration.k8s.io" and oid.kind == "APIService"
    )


def wave_of(manifest: Mapping[str, Any]) -> int:
    """Return the wave of a manifest (annotation `setpoint.dev/wave`); 0 where it is not a number."""
    text = (manifest["metadata"].get("annotations") or {}).get(names.ANNOTATION_WAVE, "0")
    try:
        return int(text)
    except (TypeError, ValueError):
        return 0


def stage_key(oid: ObjectId, wave: int) -> StageKey:
    """Return where an object stands in the order of writing; deletion goes through it backwards."""
    if is_namespace(oid):
        return (Phase.NAMESPACES, 0, 0)
    if is_crd(oid):
        return (Phase.CRDS, 0, 0)
    if oid.kind in ACCESS and oid.group in ACCESS_GROUPS:
        return (Phase.ACCESS, 0, 0)
    if is_blocking(oid) or (oid.group == "admissionregistration.k8s.io" and oid.kind in POLICIES):
        return (Phase.BLOCKING, 0, 0)
    return (Phase.WAVES, wave, 0 if oid.kind in CONFIGURATION else 1)


def stages(desired: Iterable[Desired]) -> list[Stage]:
    """Cut desired objects into stages, in the order of writing; inside a stage the order is that of identities."""
    groups: dict[StageKey, list[Desired]] = {}
    for d in desired:
        groups.setdefault(stage_key(d.id, wave_of(d.manifest)), []).append(d)
    return [Stage(k, tuple(sorted(groups[k], key=lambda d: d.id))) for k in sorted(groups)]


BUILT_IN = frozenset(
    {
        "",
        "apps",
        "autoscaling",
        "batch",
        "policy",
        "extensions",
        "networking.k8s.io",
        "rbac.authorization.k8s.io",
        "storage.k8s.io",
        "scheduling.k8s.io",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "node.k8s.io",
        "events.k8s.io",
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "certificates.k8s.io",
        "flowcontrol.apiserver.k8s.io",
        "resource.k8s.io",
        "gateway.networking.k8s.io",
    }
)


def deletion_key(oid: ObjectId) -> int:
    """Return the step in which a deleted Sync's object goes: smaller first, and each step is gone before the next.

    Webhooks and Syncs first, then custom resources (their controllers still run), the rest, CRDs, access
    objects, and Namespaces last.
    """
    phase = stage_key(oid, 0)[0]
    if phase is Phase.BLOCKING or oid.group == names.GROUP:
        return 0
    if phase is Phase.WAVES:
        return 1 if oid.group not in BUILT_IN else 2
    return {Phase.CRDS: 3, Phase.ACCESS: 4, Phase.NAMESPACES: 5}[phase]


def deletion_steps(inventory: Iterable[ObjectId]) -> list[list[ObjectId]]:
    """Cut an inventory into the steps of deletion."""
    groups: dict[int, list[ObjectId]] = {}
    for oid in sorted(inventory):
        groups.setdefault(deletion_key(oid), []).append(oid)
    return [groups[k] for k in sorted(groups)]


def servers_of(manifest: Manifest, desired: Sequence[Desired]) -> tuple[ObjectId, ...]:
    """Return the workloads of this commit that serve a webhook configuration or an APIService.

    Through the Services that it names (`clientConfig.service`, `spec.service`) and their selectors. Empty where
    the Service is not of this commit: then there is nothing to wait for.
    """
    services = set(_services(manifest))
    found: list[ObjectId] = []
    for d in desired:
        if d.id.kind == "Service" and not d.id.group and (d.id.namespace, d.id.name) in services:
            selector = (d.manifest.get("spec") or {}).get("selector") or {}
            found += [w.id for w in desired if selector and _selects(selector, d.id.namespace, w)]
    return tuple(dict.fromkeys(found))


def _services(manifest: Manifest) -> Iterable[tuple[str, str]]:
    spec = manifest.get("spec") or {}
    references = [spec.get("service")] if isinstance(spec, dict) else []
    hooks = [h for h in manifest.get("webhooks") or [] if isinstance(h, dict)]
    references += [(h.get("clientConfig") or {}).get("service") for h in hooks]
    for ref in references:
        if isinstance(ref, dict):
            yield str(ref.get("namespace", "")), str(ref.get("name", ""))


def _selects(selector: Mapping[str, Any], namespace: str, d: Desired) -> bool:
    if d.id.namespace != namespace or d.id.kind not in ("Deployment", "StatefulSet", "DaemonSet", "Pod"):
        return False
    spec = d.manifest.get("spec") or {}
    template = d.manifest if d.id.kind == "Pod" else spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    return all(labels.get(k) == v for k, v in selector.items())


def brought_kinds(everything: Iterable[Desired]) -> frozenset[tuple[str, str]]:
    """Return the kinds (group, kind) that a commit brings itself, so that objects of them can wait for it."""
    specs = (d.manifest.get("spec") or {} for d in everything if is_crd(d.id))
    return frozenset((str(s.get("group")), str((s.get("names") or {}).get("kind"))) for s in specs)
