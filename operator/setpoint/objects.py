"""Identity of objects: who an object is, whose it is, and what the watch must remember of it (pure)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from setpoint import fields, health, names

Manifest = Mapping[str, Any]
"""A Kubernetes object as JSON; never mutated in place."""


class ObjectId(NamedTuple):
    """Who an object is, whatever API version shows it; `namespace` is "" for cluster-scoped objects.

    A tuple, as it is looked up some dozen times in each run over each object: a tuple's hash costs a tenth.
    """

    group: str
    kind: str
    namespace: str
    name: str

    def label(self, home: str = "") -> str:
        """Name it for a person: `Kind/name`, with the namespace where that is not `home`."""
        where = f"{self.namespace}/" if self.namespace and self.namespace != home else ""
        return f"{self.kind}/{where}{self.name}"


class SyncKey(NamedTuple):
    """Who a Sync (or a Source) is."""

    namespace: str
    name: str

    def __str__(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


def group_of(api_version: str) -> str:
    """Give the group of an apiVersion: `apps/v1` -> `apps`, `v1` -> ""."""
    return api_version.rpartition("/")[0]


def identity(manifest: Mapping[str, Any]) -> ObjectId:
    """Give the identity of a manifest that has apiVersion, kind and metadata.name."""
    meta = manifest["metadata"]
    return ObjectId(
        group_of(manifest["apiVersion"]), manifest["kind"], meta.get("namespace") or "", meta["name"]
    )


def sync_label(cluster_id: str, key: SyncKey) -> str:
    """Give the value of label `setpoint.dev/sync` (design, Identity): 16 hex digits."""
    return hashlib.sha256(f"{cluster_id}/{key}".encode()).hexdigest()[:16]


def owner_annotation(key: SyncKey, oid: ObjectId) -> str:
    """Give annotation `setpoint.dev/owner`: it names the object itself, so that a copy is not taken for ours."""
    return f"{key} {oid.group or 'core'}/{oid.kind}/{oid.namespace or '-'}/{oid.name}"


def owner_of(annotations: Mapping[str, str], oid: ObjectId) -> SyncKey | None:
    """Give the Sync that the owner annotation names, or None if there is none or it names another object."""
    owner, _, itself = annotations.get(names.ANNOTATION_OWNER, "").partition(" ")
    namespace, _, name = owner.partition("/")
    key = SyncKey(namespace, name)
    return key if name and owner_annotation(key, oid) == f"{owner} {itself}" else None


def digest(value: Any) -> str:
    """Give a short digest of a JSON value, the same for equal values whatever the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class Observed:
    """What is remembered of a live object: never its content, so no Secret value stays in the process.

    `ours` is the digest of our managedFields entry (fields and time), `people` those of persons' managers:
    the two tell whether anybody touched what Git sets, whatever else moved (`notes/apply.md`).
    """

    id: ObjectId
    uid: str
    resource_version: int
    sync_label: str
    owner: SyncKey | None
    ownership: fields.Ownership
    changed_by: str | None
    deleting: bool
    finalizers: tuple[str, ...]
    annotations: Mapping[str, str] = field(compare=False)
    verdict: health.Verdict = field(compare=False)


def stamp_of(annotations: Mapping[str, str]) -> str | None:
    """Give the attribution stamp as one value, user and old version by line: it differs for each stamped write."""
    user = annotations.get(names.ANNOTATION_CHANGED_BY)
    return f"{user}\n{annotations.get(names.ANNOTATION_CHANGED_FROM, '')}" if user else None


def observe(obj: Mapping[str, Any], oid: ObjectId, people: frozenset[str] = frozenset()) -> Observed:
    """Reduce a live object (or its PartialObjectMetadata) to what is remembered.

    `oid` is given because metadata-only objects carry the kind of the metadata type, not their own.
    """
    meta = obj.get("metadata") or {}
    annotations: Mapping[str, str] = meta.get("annotations") or {}
    return Observed(
        id=oid,
        uid=meta.get("uid", ""),
        resource_version=int(meta.get("resourceVersion") or 0),
        sync_label=(meta.get("labels") or {}).get(names.LABEL_SYNC, ""),
        owner=owner_of(annotations, oid),
        ownership=fields.ownership(meta.get("managedFields") or (), people),
        changed_by=stamp_of(annotations),
        deleting="deletionTimestamp" in meta,
        finalizers=tuple(meta.get("finalizers") or ()),
        annotations={k: v for k, v in annotations.items() if k.startswith(f"{names.GROUP}/")},
        verdict=health.evaluate(
            {**obj, "kind": oid.kind, "apiVersion": f"{oid.group}/v1" if oid.group else "v1"}
        )
        if health.trivial(oid.group, oid.kind)
        else health.evaluate(obj),
    )
