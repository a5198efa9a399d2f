"""The inventory as a status holds it, grouped, and back again (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from setpoint.objects.identity import Json, ObjectId


def grouped(inventory: Iterable[tuple[str, ObjectId]]) -> list[Json]:
    """Group (apiVersion, identity) pairs by kind and namespace, sorted: 10,000 objects must fit into a status."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for api_version, oid in inventory:
        groups.setdefault((api_version, oid.kind, oid.namespace), []).append(oid.name)
    result = []
    for (api_version, kind, namespace), members in sorted(groups.items()):
        place = {"namespace": namespace} if namespace else {}
        result.append({"apiVersion": api_version, "kind": kind, **place, "names": sorted(members)})
    return result


def ungrouped(inventory: Iterable[Mapping[str, Any]]) -> dict[ObjectId, str]:
    """Read an inventory back: identity -> apiVersion."""
    result: dict[ObjectId, str] = {}
    for g in inventory:
        group = g["apiVersion"].rpartition("/")[0]
        for name in g["names"]:
            result[ObjectId(group, g["kind"], g.get("namespace") or "", name)] = g["apiVersion"]
    return result
