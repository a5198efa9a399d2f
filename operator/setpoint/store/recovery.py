"""Rebuilds a lost inventory from label and annotation, over all kinds that can be listed (shell)."""

from __future__ import annotations

from collections.abc import Sequence

from setpoint.api import names
from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError
from setpoint.objects.identity import Manifest, ObjectId, SyncKey
from setpoint.objects.kinds import Kind
from setpoint.plan.adoption import is_ours


async def owned(cluster: Cluster, key: SyncKey, label: str) -> dict[ObjectId, str]:
    """Return what names this Sync as its owner: identity -> apiVersion. Raises ApiError.

    Kinds that the operator may not list are left out: `rbac.watch` names those it may see.
    """
    found: dict[ObjectId, str] = {}
    for kind in cluster.listable():
        for obj in await _listed(cluster, kind, label):
            meta = obj["metadata"]
            oid = ObjectId(kind.group, kind.kind, meta.get("namespace") or "", meta["name"])
            if is_ours(obj, oid, key):
                found[oid] = kind.api_version
    return found


async def _listed(cluster: Cluster, kind: Kind, label: str) -> Sequence[Manifest]:
    selector = f"{names.LABEL_SYNC}={label}"
    try:
        objects, _ = await cluster.list(kind, label_selector=selector, metadata_only=True)
    except ApiError as error:
        if error.status in (403, 404):  # not ours to see, or gone since discovery, with all its objects
            return []
        raise
    return objects
