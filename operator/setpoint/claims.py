"""Who owns what: one table, identity -> Sync, rebuilt from all inventories at start.

Writing an inventory is the claim. A Sync that wants another's object waits here, and is woken when the owner
lets go of it: the object is handed over, never deleted and made again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from setpoint.objects import ObjectId, SyncKey


class Claims:
    """The table of owners, and of those who wait."""

    def __init__(self) -> None:
        """Start empty."""
        self._owner: dict[ObjectId, SyncKey] = {}
        self._owned: dict[SyncKey, frozenset[ObjectId]] = {}
        self._waiting: dict[ObjectId, set[SyncKey]] = {}
        self._wanted: dict[SyncKey, frozenset[ObjectId]] = {}

    def record(self, key: SyncKey, objects: Iterable[ObjectId]) -> set[SyncKey]:
        """Record a Sync's inventory. Gives the Syncs to wake: those who wait for what it let go of."""
        new = frozenset(objects)
        old = self._owned.get(key, frozenset())
        wake: set[SyncKey] = set()
        for oid in old - new:
            if self._owner.get(oid) == key:
                del self._owner[oid]
                wake |= self._waiting.get(oid, set())
        for oid in new - old:
            self._owner.setdefault(oid, key)
        self._owned[key] = new
        return wake - {key}

    def owner(self, oid: ObjectId) -> SyncKey | None:
        """Give the Sync that owns an object."""
        return self._owner.get(oid)

    def contested(self, key: SyncKey, desired: Iterable[ObjectId]) -> dict[ObjectId, SyncKey]:
        """Give what a Sync desires and another owns."""
        return {o: owner for o in desired if (owner := self._owner.get(o)) is not None and owner != key}

    def want(self, key: SyncKey, objects: Iterable[ObjectId]) -> set[SyncKey]:
        """Record what a Sync waits for. Gives the owners to wake: they show it in their differences."""
        new = frozenset(objects)
        old = self._wanted.get(key, frozenset())
        wake: set[SyncKey] = set()
        for oid in old ^ new:
            waiting = self._waiting.setdefault(oid, set())
            (waiting.add if oid in new else waiting.discard)(key)
            if not waiting:
                del self._waiting[oid]
            if owner := self._owner.get(oid):
                wake.add(owner)
        self._wanted[key] = new
        return wake - {key}

    def wanted_of(self, key: SyncKey) -> Mapping[ObjectId, SyncKey]:
        """Give what a Sync owns and another waits for, with the first of those."""
        owned = self._owned.get(key, frozenset())
        return {o: min(w) for o, w in self._waiting.items() if o in owned and w}

    def drop(self, key: SyncKey) -> set[SyncKey]:
        """Forget a Sync that is gone; gives the Syncs to wake."""
        wake = self.record(key, ()) | self.want(key, ())
        self._owned.pop(key, None)
        self._wanted.pop(key, None)
        return wake
