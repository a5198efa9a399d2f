"""Identity of objects: who an object is, whose it is, and what the watch must remember of it (pure)."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from setpoint.api import names


def oid_of(key: SyncKey) -> ObjectId:
    """Return the identity of a Sync as an object."""
    return ObjectId(names.GROUP, "Sync", key.namespace, key.name)


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
    """Return the group of an apiVersion: `apps/v1` -> `apps`, `v1` -> ""."""
    return api_version.rpartition("/")[0]


def identity(manifest: Mapping[str, Any]) -> ObjectId:
    """Return the identity of a manifest that has apiVersion, kind and metadata.name."""
    meta = manifest["metadata"]
    return ObjectId(
        group_of(manifest["apiVersion"]), manifest["kind"], meta.get("namespace") or "", meta["name"]
    )


def sync_label(cluster_id: str, key: SyncKey) -> str:
    """Return the value of label `setpoint.dev/sync` (design, Identity): 16 hex digits."""
    return hashlib.sha256(f"{cluster_id}/{key}".encode()).hexdigest()[:16]


def owner_annotation(key: SyncKey, oid: ObjectId) -> str:
    """Return annotation `setpoint.dev/owner`: it names the object itself, so that a copy is not taken for ours."""
    return f"{key} {oid.group or 'core'}/{oid.kind}/{oid.namespace or '-'}/{oid.name}"


def owner_of(annotations: Mapping[str, str], oid: ObjectId) -> SyncKey | None:
    """Return the Sync that the owner annotation names, or None if there is none or it names another object."""
    owner, _, itself = annotations.get(names.ANNOTATION_OWNER, "").partition(" ")
    namespace, _, name = owner.partition("/")
    key = SyncKey(namespace, name)
    return key if name and owner_annotation(key, oid) == f"{owner} {itself}" else None


def digest(value: Any) -> str:
    """Return a short digest of a JSON value, the same for equal values whatever the order of keys."""
    return hashlib.sha256(_compact(value)).hexdigest()[:24]


def keyed_digest(value: Any, key: bytes) -> str:
    """Return the same under a key, for all to see: without the key, nobody can try what the value might be."""
    return hmac.new(key, _compact(["digest", value]), hashlib.sha256).hexdigest()[:24]


def _compact(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


Json = dict[str, Any]
