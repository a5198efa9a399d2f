"""What was observed of live objects, by identity; reports the changes that matter.

In: objects from lists, watches and our own writes, in any order. The higher resourceVersion wins: versions
are comparable within one resource type, and the watch is often ahead of the answer to the write that caused it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from sys import intern
from typing import Any

from setpoint.health.ends.end import may_end, requested_at
from setpoint.objects import observed as objects
from setpoint.objects.identity import ObjectId, SyncKey
from setpoint.objects.observed import Departure, Observed

GroupKind = tuple[str, str]


@dataclass(frozen=True, slots=True)
class LiveChange:
    """An object came (`before` None), went (`after` None) or changed; `label` is its sync label, the new one if it moved."""

    oid: ObjectId
    label: str
    before: Observed | None
    after: Observed | None
    went: Departure | None = None
    """How it went, if it did and is of a kind whose objects may end by themselves."""


def matters(before: Observed | None, after: Observed | None) -> bool:
    """Return whether anything but the resourceVersion differs: health, ownership, our own annotations, finalizers."""
    if before is None or after is None:
        return before is not after
    return (
        replace(before, resource_version=after.resource_version) != after
        or before.verdict != after.verdict
        or before.annotations != after.annotations
        or before.rollout != after.rollout
        or before.end != after.end
    )


def passing(before: Observed | None, after: Observed | None) -> bool:
    """Return whether a change is one of health alone: who owns what, and what it says of itself, is as before."""
    if before is None or after is None or before.annotations != after.annotations:
        return False
    return replace(before, resource_version=after.resource_version) == after


class Observations:
    """All that is known of the live objects with our label."""

    def __init__(self, people: frozenset[str], on_change: Callable[[LiveChange], None]) -> None:
        """`people`: managers that count as people besides kubectl."""
        self._people, self._on_change = people, on_change
        self._kinds: dict[GroupKind, dict[ObjectId, Observed]] = {}
        self._owners: dict[SyncKey, SyncKey] = {}

    def __len__(self) -> int:
        """The number of objects."""
        return sum(map(len, self._kinds.values()))

    def get(self, oid: ObjectId) -> Observed | None:
        """Return what is known of an object."""
        found = self._kinds.get((oid.group, oid.kind))
        return found.get(oid) if found else None

    def reduced(self, oid: ObjectId, obj: Mapping[str, Any], before: Observed | None = None) -> Observed:
        """Reduce an object, of which `before` is known; strings that many objects share are kept once."""
        seen = objects.following(before, objects.observe(obj, oid, self._people))
        if seen.rollout and before and before.rollout and before.uid == seen.uid:
            seen = replace(seen, rollout=seen.rollout.after(before.rollout))
        owner = self._owners.setdefault(seen.owner, seen.owner) if seen.owner else None
        return replace(seen, sync_label=intern(seen.sync_label), owner=owner)

    def observed(self, oid: ObjectId, obj: Mapping[str, Any]) -> None:
        """Take an object from a list or a watch, unless something newer is known."""
        before = self.get(oid)
        if before is not None and before.resource_version >= int(obj["metadata"]["resourceVersion"]):
            return
        self._put(oid, before, self.reduced(oid, obj, before), quiet=False)

    def written(self, oid: ObjectId, obj: Mapping[str, Any], seen_to: int | None) -> Observed:
        """Take the answer to a write of ours; returns the newest that is known.

        `seen_to` is the version up to which the watch has told everything (None: the kind is not watched): an
        object that is not newer and yet unknown was deleted meanwhile. Only the Syncs that lose or gain the object are notified.
        """
        before = self.get(oid)
        if before is not None and before.resource_version >= int(obj["metadata"]["resourceVersion"]):
            return before  # the watch was faster
        after = self.reduced(oid, obj, before)
        if before is None and (seen_to is None or after.resource_version <= seen_to):
            return after
        moved = before is not None and before.sync_label != after.sync_label
        self._put(oid, before, after if after.sync_label else None, quiet=not moved)
        return after

    def deleted(self, oid: ObjectId, obj: Mapping[str, Any]) -> None:
        """Take a deletion (or the loss of our label), unless something newer is known; `obj` is the last state."""
        before = self.get(oid)
        if before is not None and before.resource_version <= int(obj["metadata"]["resourceVersion"]):
            went = (
                Departure(self.reduced(oid, obj, before).end, requested_at(obj))
                if may_end(oid.group, oid.kind)
                else None
            )
            self._put(oid, before, None, quiet=False, went=went)

    def missing(self, oid: ObjectId, alive: int | None = None) -> None:
        """Take that an object was looked for and is not there; `alive`: when it was, in seconds since 1970."""
        before = self.get(oid)
        if before is not None:
            self._put(oid, before, None, quiet=False, went=_missed(before, alive))

    def forget(self, oid: ObjectId) -> None:
        """Forget an object without telling."""
        self._put(oid, self.get(oid), None, quiet=True)

    def keep_only(
        self, key: GroupKind, namespace: str | None, present: Collection[ObjectId], version: int | None
    ) -> None:
        """Take a complete list of a kind (in one namespace): what it lacks is gone, unless it is newer than `version`.

        `version` is None where the kind itself is gone: that tells nothing about how its objects went.
        """
        for oid, before in list(self._kinds.get(key, {}).items()):
            inside = namespace is None or oid.namespace == namespace
            old = version is None or before.resource_version <= version
            if inside and old and oid not in present:
                went = _missed(before) if version is not None else None
                self._put(oid, before, None, quiet=False, went=went)

    def drop(self, key: GroupKind) -> None:
        """Forget a kind without telling."""
        for oid in list(self._kinds.get(key, {})):
            self.forget(oid)

    def _put(
        self,
        oid: ObjectId,
        before: Observed | None,
        after: Observed | None,
        *,
        quiet: bool,
        went: Departure | None = None,
    ) -> None:
        known = self._kinds.setdefault((oid.group, oid.kind), {})
        if after is None:
            known.pop(oid, None)
        else:
            known[after.id] = after
        if not quiet and matters(before, after):
            label = (after or before).sync_label  # type: ignore[union-attr]  # one of them is there, as they differ
            self._on_change(LiveChange(oid, label, before, after, went))


def _missed(before: Observed, alive: int | None = None) -> Departure | None:
    """Return how an object went that was found missing."""
    return Departure(before.end, watched=False, alive=alive) if before.end is not None else None


def identity(group: str, kind: str, meta: Mapping[str, Any]) -> ObjectId:
    """Return an object's identity by its kind and metadata."""
    return ObjectId(group, kind, intern(meta.get("namespace") or ""), meta["name"])
