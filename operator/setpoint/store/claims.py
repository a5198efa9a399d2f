"""Which Sync owns which object: one table, rebuilt from all inventories at start.

Writing an inventory is the claim. A Sync that wants another's object waits here, and is woken when the owner
lets go of it: the object is handed over, never deleted and made again. Until the other has written it, the former
owner keeps it in its stored inventory, as lent: should nobody want it after all, it is there to be pruned.

After a crash two inventories may hold an object. The first that is read owns it, the other is its heir: it claimed it
before those who wait, and has it as soon as the first lets go.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from setpoint.objects.identity import ObjectId, SyncKey

NOBODY: frozenset[SyncKey] = frozenset()
NOTHING: frozenset[ObjectId] = frozenset()


class Claims:
    """The table of owners, of those who wait, and of those who lent what they owned."""

    def __init__(self) -> None:
        self._owner: dict[ObjectId, SyncKey] = {}
        self._owned: dict[SyncKey, frozenset[ObjectId]] = {}
        self._heirs: dict[ObjectId, set[SyncKey]] = {}
        self._waiting: dict[ObjectId, set[SyncKey]] = {}
        self._wanted: dict[SyncKey, frozenset[ObjectId]] = {}
        self._lenders: dict[ObjectId, set[SyncKey]] = {}
        self._lent: dict[SyncKey, frozenset[ObjectId]] = {}

    def record(
        self, key: SyncKey, objects: Iterable[ObjectId], lent: Iterable[ObjectId] = ()
    ) -> set[SyncKey]:
        """Record what a Sync owns, and what of its stored inventory it has `lent`: that is free for others.

        Returns the Syncs to wake: those who wait for what it let go of, who have it now, and who lent it.
        """
        given = frozenset(lent)
        new = frozenset(objects) - given
        old = self._owned.get(key, frozenset())
        wake: set[SyncKey] = set()
        for oid in old - new:
            wake |= self._let_go(key, oid)
        for oid in new:  # also old ones: after a restart, who lent an object may have come first
            if self._owner.setdefault(oid, key) != key:
                _note(self._heirs, key, NOTHING, frozenset([oid]))
        self._owned[key] = new
        _note(self._lenders, key, self._lent.get(key, frozenset()), given)
        self._lent[key] = given
        return wake - {key}

    def _let_go(self, key: SyncKey, oid: ObjectId) -> set[SyncKey]:
        """Take an object from a Sync, and give it to an heir; returns the Syncs to wake."""
        if self._owner.get(oid) != key:
            _note(self._heirs, key, frozenset([oid]), NOTHING)
            return set()
        del self._owner[oid]
        heirs = self._heirs.get(oid, NOBODY)
        wake = {*self._waiting.get(oid, NOBODY), *self._lenders.get(oid, NOBODY), *heirs}
        if heirs:
            self._owner[oid] = heir = min(heirs)
            _note(self._heirs, heir, frozenset([oid]), NOTHING)
        return wake

    def owner(self, oid: ObjectId) -> SyncKey | None:
        """Return the Sync that owns an object."""
        return self._owner.get(oid)

    def lent(self, key: SyncKey) -> frozenset[ObjectId]:
        """Return what a Sync has in its stored inventory and left to others."""
        return self._lent.get(key, frozenset())

    def is_lent(self, oid: ObjectId) -> bool:
        """Return whether some Sync has an object in its stored inventory and left it to others."""
        return oid in self._lenders

    def contested(self, key: SyncKey, desired: Iterable[ObjectId]) -> dict[ObjectId, SyncKey]:
        """Return what a Sync desires and another owns."""
        return {o: owner for o in desired if (owner := self._owner.get(o)) is not None and owner != key}

    def offered(self, key: SyncKey, desired: Iterable[ObjectId]) -> set[ObjectId]:
        """Return what a Sync desires, another lent, and no third one owns: it is to be wanted until it is lent no more.

        Also what it claimed itself: that may not be stored, and is taken back then.
        """
        lenders, owner = self._lenders, self._owner
        return {o for o in desired if o in lenders and owner.get(o, key) == key and lenders[o] != {key}}

    def want(self, key: SyncKey, objects: Iterable[ObjectId]) -> set[SyncKey]:
        """Record what a Sync waits for, and what it is about to take.

        Returns the Syncs to wake: the owners, who show it in their differences, and who lent what is not wanted any more.
        """
        new = frozenset(objects)
        old = self._wanted.get(key, frozenset())
        wake: set[SyncKey] = set()
        for oid in old ^ new:
            if owner := self._owner.get(oid):
                wake.add(owner)
            if oid in old:
                wake |= self._lenders.get(oid, NOBODY)
        _note(self._waiting, key, old, new)
        self._wanted[key] = new
        return wake - {key}

    def wanted_of(self, key: SyncKey, objects: Iterable[ObjectId]) -> dict[ObjectId, SyncKey]:
        """Return what of these objects another Sync owns, or waits for, with that Sync."""
        found: dict[ObjectId, SyncKey] = {}
        for oid in objects:
            owner = self._owner.get(oid)
            if owner is not None and owner != key:
                found[oid] = owner
            # An heir has it in its stored inventory, and need not be known to wait for it.
            elif others := (self._heirs.get(oid, NOBODY) or self._waiting.get(oid, NOBODY)) - {key}:
                found[oid] = min(others)
        return found

    def awaited(self, key: SyncKey, objects: Collection[ObjectId]) -> dict[ObjectId, SyncKey]:
        """Return what of these objects other Syncs wait for, with one of them; where nobody waits, none is looked at."""
        found: dict[ObjectId, SyncKey] = {}
        both: tuple[Collection[ObjectId], ...] = (self._waiting, objects)
        few, many = sorted(both, key=len)
        for oid in few:
            if oid in many and (others := self._waiting[oid] - {key}):
                found[oid] = min(others)
        return found

    def drop(self, key: SyncKey) -> set[SyncKey]:
        """Forget a Sync that is gone; returns the Syncs to wake."""
        wake = self.record(key, ()) | self.want(key, ())
        for table in (self._owned, self._wanted, self._lent):
            table.pop(key, None)
        return wake


def _note(
    table: dict[ObjectId, set[SyncKey]], key: SyncKey, old: frozenset[ObjectId], new: frozenset[ObjectId]
) -> None:
    """Move a Sync in a table of objects from the old to the new ones."""
    for oid in old ^ new:
        keys = table.setdefault(oid, set())
        (keys.add if oid in new else keys.discard)(key)
        if not keys:
            del table[oid]
