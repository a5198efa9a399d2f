"""Fields that a controller owns by contract (pure): the table, and what of a manifest it is about.

Their documentation says that the controller writes them whatever a person wrote. They are treated as ignored paths
are, without a rule of the user's: Git's value would be undone at once, or would break what the controller keeps there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from setpoint.objects.exported import is_empty
from setpoint.objects.identity import Manifest, ObjectId
from setpoint.objects.json_patch import ABSENT, child, tokens_of

_EACH: Final = "*"
"""In a path of the table: each element of a list."""


@dataclass(frozen=True, slots=True)
class Contract:
    """Fields of a kind that a controller owns where the manifest has one of the fields `beside` them (none: always).

    `unless` is a field by which a person says that they are not the controller's.
    """

    group: str
    kind: str
    paths: tuple[str, ...]
    beside: tuple[str, ...] = ()
    unless: str = ""
    first: bool = True
    """Whether an object is created with Git's value. The others describe one object of one cluster, and no other."""
    quiet: bool = False
    """Whether a value in Git is a usual placeholder, and so nothing to tell."""

    def holds(self, oid: ObjectId, manifest: Mapping[str, Any]) -> bool:
        """Return whether the contract is about this object."""
        if (oid.group, oid.kind) != (self.group, self.kind) or (self.unless and _at(manifest, self.unless)):
            return False
        return not self.beside or any(_is_set(manifest, path) for path in self.beside)


def _annotations(*keys: str) -> tuple[str, ...]:
    return tuple(f"/metadata/annotations/{key.replace('/', '~1')}" for key in keys)


_INJECTORS: Final = _annotations(
    "cert-manager.io/inject-ca-from",
    "cert-manager.io/inject-ca-from-secret",
    "cert-manager.io/inject-apiserver-ca",
    "service.beta.openshift.io/inject-cabundle",
)


def _bundle(group: str, kind: str, path: str) -> Contract:
    return Contract(group, kind, (path,), _INJECTORS, quiet=True)


CONTRACTS: Final = (
    Contract("rbac.authorization.k8s.io", "ClusterRole", ("/rules",), ("/aggregationRule",)),
    Contract("apps", "Deployment", _annotations("deployment.kubernetes.io/revision"), first=False),
    # They hold the uid of one Job; the API server refuses those of another.
    Contract(
        "batch",
        "Job",
        (
            "/spec/selector",
            "/spec/template/metadata/labels/batch.kubernetes.io~1controller-uid",
            "/spec/template/metadata/labels/controller-uid",
        ),
        unless="/spec/manualSelector",
        first=False,
    ),
    Contract(
        "",
        "PersistentVolumeClaim",
        _annotations(
            "pv.kubernetes.io/bind-completed",
            "pv.kubernetes.io/bound-by-controller",
            "pv.kubernetes.io/migrated-to",
            "volume.kubernetes.io/selected-node",
            "volume.kubernetes.io/storage-provisioner",
            "volume.beta.kubernetes.io/storage-provisioner",
        ),
        first=False,
    ),
    Contract(
        "",
        "PersistentVolume",
        (
            *_annotations("pv.kubernetes.io/bound-by-controller"),
            "/spec/claimRef/resourceVersion",
            "/spec/claimRef/uid",
        ),
        first=False,
    ),
    # A volume that is made by hand says by this who deletes what lies behind it.
    Contract(
        "",
        "PersistentVolume",
        _annotations("pv.kubernetes.io/provisioned-by", "pv.kubernetes.io/migrated-to"),
        quiet=True,
    ),
    # The token controller deletes a Secret that names the ServiceAccount by a uid of before, and puts in the cluster's CA.
    Contract(
        "",
        "Secret",
        (*_annotations("kubernetes.io/service-account.uid"), "/data/ca.crt"),
        _annotations("kubernetes.io/service-account.name"),
        first=False,
    ),
    _bundle(
        "admissionregistration.k8s.io",
        "ValidatingWebhookConfiguration",
        "/webhooks/*/clientConfig/caBundle",
    ),
    _bundle(
        "admissionregistration.k8s.io",
        "MutatingWebhookConfiguration",
        "/webhooks/*/clientConfig/caBundle",
    ),
    _bundle("apiregistration.k8s.io", "APIService", "/spec/caBundle"),
    _bundle(
        "apiextensions.k8s.io",
        "CustomResourceDefinition",
        "/spec/conversion/webhook/clientConfig/caBundle",
    ),
)
"""What `docs/concepts.md` has as a table."""


def owned_paths(oid: ObjectId, manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the paths of an object that are a controller's, in Git or not; an index counts in the manifest."""
    found = (p for c in CONTRACTS if c.holds(oid, manifest) for p in c.paths)
    return tuple(path for pattern in found for path in _spelled(manifest, pattern))


def set_paths(oid: ObjectId, manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Return those of them that the manifest sets."""
    return tuple(path for path in owned_paths(oid, manifest) if _is_set(manifest, path))


def told_paths(oid: ObjectId, manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """Return those that the manifest sets to something of a person's, which the cluster does not take from Git."""
    found = (p for c in CONTRACTS if not c.quiet and c.holds(oid, manifest) for p in c.paths)
    said = (path for pattern in found for path in _spelled(manifest, pattern))
    return tuple(path for path in said if not is_empty(_at(manifest, path)))


def at_creation(oid: ObjectId, manifest: Manifest) -> Manifest:
    """Return a manifest without what describes an object that is there already."""
    for contract in CONTRACTS:
        if not contract.first and contract.holds(oid, manifest):
            for path in contract.paths:
                manifest = _without(manifest, tokens_of(path)) if _is_set(manifest, path) else manifest
    return manifest


def _spelled(manifest: Mapping[str, Any], pattern: str) -> Iterator[str]:
    """Return a path of the table for each element of the list that it is about."""
    head, each, tail = pattern.partition(f"/{_EACH}/")
    elements = _at(manifest, head) if each else ()
    if not each:
        yield pattern
    for index, _ in enumerate(elements if isinstance(elements, list) else ()):
        yield f"{head}/{index}/{tail}"


def _at(manifest: Any, path: str) -> Any:
    """Return what is at a path; None if nothing."""
    for token in tokens_of(path):
        manifest = child(manifest, token)
    return None if manifest is ABSENT else manifest


def _is_set(manifest: Any, path: str) -> bool:
    return _at(manifest, path) is not None


def _without(node: Manifest, tokens: Sequence[str]) -> Manifest:
    first, *rest = tokens
    if not rest:
        return {k: v for k, v in node.items() if k != first}
    return {**node, first: _without(node[first], rest)}
