"""Nested Syncs: finds what goes along when a commit drops one (pure)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from setpoint.api import names
from setpoint.api.reasons import Problem
from setpoint.api.sync import DeletionPolicy, SyncSpec
from setpoint.objects.bodies import Body, sync_model
from setpoint.objects.identity import ObjectId, SyncKey
from setpoint.objects.inventory import ungrouped

WantedOf = Callable[[SyncKey, Iterable[ObjectId]], Mapping[ObjectId, SyncKey]]
"""(a Sync, objects) -> those that other Syncs own or wait for."""


@dataclass(frozen=True, slots=True)
class Nested:
    """A Sync in the inventory of another.

    `objects`: how many would go with it, None while nobody knows; `empty`: whether it has nothing; `version`: the
    resourceVersion that this is said of.
    """

    objects: int | None
    empty: bool
    version: str = ""


def is_sync(oid: ObjectId) -> bool:
    """Return whether an object is a Sync."""
    return oid.kind == "Sync" and oid.group == names.GROUP


def key_in(oid: ObjectId) -> SyncKey:
    """Return the key of a Sync that is an object of another."""
    return SyncKey(oid.namespace, oid.name)


def orphans(spec: SyncSpec) -> str:
    """Return why a Sync that ends leaves its objects in the cluster; empty if it deletes them."""
    if spec.suspend:
        return "it is suspended"
    policy = spec.deletion_policy or (DeletionPolicy.PRUNE if spec.prune else DeletionPolicy.ORPHAN)
    return "its deletion policy is Orphan" if policy is DeletionPolicy.ORPHAN else ""


def nested_of(
    objects: Iterable[ObjectId], bodies: Mapping[SyncKey, Body], wanted_of: WantedOf
) -> dict[ObjectId, Nested]:
    """Return what stands behind each Sync among the objects."""
    return {o: _behind(key_in(o), bodies, wanted_of) for o in objects if is_sync(o)}


def _behind(key: SyncKey, bodies: Mapping[SyncKey, Body], wanted_of: WantedOf) -> Nested:
    body = bodies.get(key)
    if body is None or not _is_known(body):
        return Nested(None, empty=False)
    version = str(body["metadata"].get("resourceVersion") or "")
    return Nested(
        _count(key, bodies, wanted_of, frozenset()), _is_empty(key, bodies, frozenset()), version=version
    )


def _is_known(body: Body) -> bool:
    """Return whether the status says what a Sync has: one that never set its finalizer has written nothing yet."""
    return bool(body.get("status")) or names.FINALIZER not in (body["metadata"].get("finalizers") or [])


def _inventory(body: Body) -> dict[ObjectId, str]:
    return ungrouped((body.get("status") or {}).get("inventory") or [])


def _is_empty(key: SyncKey, bodies: Mapping[SyncKey, Body], above: frozenset[SyncKey]) -> bool:
    """Return whether a Sync has nothing, or only Syncs that have nothing."""
    body = bodies.get(key)
    if key in above:
        return True
    if body is None or not _is_known(body):
        return False
    return all(is_sync(o) and _is_empty(key_in(o), bodies, above | {key}) for o in _inventory(body))


def _count(
    key: SyncKey, bodies: Mapping[SyncKey, Body], wanted_of: WantedOf, above: frozenset[SyncKey]
) -> int | None:
    """Count what would go with a Sync, also what would go with the Syncs that it may delete itself."""
    body = bodies.get(key)
    if body is None or key in above:
        return 0
    if not _is_known(body):
        return None
    try:
        if orphans(sync_model(body).spec):
            return 0
    except Problem:
        return 0  # a Sync that cannot be read leaves its objects
    inventory = _inventory(body)
    total = 0
    for oid in inventory.keys() - wanted_of(key, inventory).keys():
        total += 1
        if is_sync(oid) and _may_go(bodies.get(key_in(oid))):
            behind = _count(key_in(oid), bodies, wanted_of, above | {key})
            if behind is None:
                return None
            total += behind
    return total


def _may_go(body: Body | None) -> bool:
    annotations = (body or {}).get("metadata", {}).get("annotations") or {}
    return annotations.get(names.ANNOTATION_PRUNE) == "allow"
