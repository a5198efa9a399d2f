"""Claims that wait for their first consumer (pure). What other objects say, StorageClasses and Pods, comes as arguments."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from setpoint.health.verdict import Object, Verdict, group_kind, healthy, mapping, progressing, text

KIND = ("", "PersistentVolumeClaim")
BY_CONSUMER = "WaitForFirstConsumer"
# The older spellings are still read by the controllers of Kubernetes.
_DEFAULT = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
_CLASS = "volume.beta.kubernetes.io/storage-class"
# The scheduler writes it on a claim once it has found a node for a Pod that mounts it.
_SELECTED_NODE = "volume.kubernetes.io/selected-node"


@dataclass(frozen=True, slots=True)
class Unbound:
    """What is remembered of a claim that is not bound and names no volume; without a class it has the default one."""

    storage_class: str | None
    selected: bool = False
    """Whether the scheduler has found a node for its first consumer."""


@dataclass(frozen=True, slots=True)
class StorageClass:
    """What is remembered of a StorageClass."""

    name: str
    late: bool
    """Whether a claim of it is bound when a Pod mounts it, and not before."""
    default: bool = False
    created: str = ""


def unbound(obj: Object) -> Unbound | None:
    """Return what counts of a claim that may wait for a consumer; None of any other object.

    A claim that names its volume is bound to it without one, and the class "" has no provisioner to wait for.
    """
    meta, spec = mapping(obj, "metadata"), mapping(obj, "spec")
    if group_kind(obj) != KIND or meta.get("deletionTimestamp") or text(spec, "volumeName"):
        return None
    if text(mapping(obj, "status"), "phase") not in ("", "Pending"):
        return None
    annotations = mapping(meta, "annotations")
    named = annotations.get(_CLASS, spec.get("storageClassName"))
    if named == "":
        return None
    return Unbound(named if isinstance(named, str) else None, _SELECTED_NODE in annotations)


def storage_class(obj: Object) -> StorageClass:
    """Reduce a StorageClass to what is remembered."""
    meta = mapping(obj, "metadata")
    annotations = mapping(meta, "annotations")
    return StorageClass(
        text(meta, "name"),
        text(obj, "volumeBindingMode") == BY_CONSUMER,
        any(annotations.get(key) == "true" for key in _DEFAULT),
        text(meta, "creationTimestamp"),
    )


def binds_late(
    claim: Unbound, classes: Collection[StorageClass] | None, brought: Collection[StorageClass] = ()
) -> bool | None:
    """Return whether a claim waits for a consumer, or for its class; None if nobody knows.

    `classes` are those there are, None if they may not be read; `brought` those that the commit makes: a class that
    is not there yet stands in a later wave, so whoever waited for the claim first would wait for ever.
    """
    if classes is None:
        return None
    if found := _class_of(claim, classes):
        return found.late
    return _class_of(claim, brought) is not None


def _class_of(claim: Unbound, classes: Collection[StorageClass]) -> StorageClass | None:
    if claim.storage_class is not None:
        return next((c for c in classes if c.name == claim.storage_class), None)
    # Of several default classes Kubernetes takes the newest, then the first by name.
    defaults = sorted((c for c in classes if c.default), key=lambda c: c.name)
    return max(defaults, key=lambda c: c.created, default=None)


def judged(said: Verdict, claim: Unbound, *, late: bool | None, mounted: bool | None) -> Verdict:
    """Return the verdict of an unbound claim, whose own one is `said`.

    `mounted` is whether a Pod that is not finished mounts it; None where Pods may not be read: then the scheduler's
    mark on the claim decides.
    """
    if late is None:
        return progressing(
            said.reason,
            "waits for a volume, or for its first consumer: Setpoint may not watch StorageClasses",
        )
    if not late or (claim.selected if mounted is None else mounted):
        return said
    return healthy(BY_CONSUMER, "waits for its first consumer")
