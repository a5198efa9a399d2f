"""Who owns what: one table, identity -> its parties, rebuilt from all inventories at start.

Writing an inventory is the claim. A Sync that wants another's object waits here, and is woken when the owner
lets go of it: the object is handed over, never deleted and made again. Until the other has written it, the former
owner keeps it in its stored inventory, as lent: should nobody want it after all, it is there to be pruned.

After a crash two inventories may hold an object. The first that is read owns it, the other is its heir: it claimed it
before those who wait, and has it as soon as the first lets go.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Final, NamedTuple

from setpoint.objects.identity import ObjectId, SyncKey

NOBODY: Final[frozenset[SyncKey]] = frozenset()
NOTHING: Final[frozenset[ObjectId]] = frozenset()


class Parties(NamedTuple):
    """Which Syncs have a role for an object. One may have two: who takes it wants it until nobody lends it any more."""

    owner: SyncKey | None = None
    heirs: frozenset[SyncKey] = NOBODY
    wants: frozenset[SyncKey] = NOBODY
    lent: frozenset[SyncKey] = NOBODY


class Held(NamedTuple):
    """The table read from the other side: what one Sync claims (owns, or is heir of), wants, and has lent."""

    claimed: frozenset[ObjectId] = NOTHING
    wanted: frozenset[ObjectId] = NOTHING
    lent: frozenset[ObjectId] = NOTHING


NONE: Final = Parties()
HOLDS_NOTHING: Final = Held()


class Claims:
    """The table of parties, and its reverse: by Sync, and which objects anybody wants or has lent.

    What a Sync alone has to do with shares one entry, as almost every object is of that sort.
    """

    def __init__(self) -> None:
        self._parties: dict[ObjectId, Parties] = {}
        self._held: dict[SyncKey, Held] = {}
        self._alone: dict[SyncKey, Parties] = {}
        self._near: dict[SyncKey, frozenset[ObjectId]] = {}
        self._wanted: set[ObjectId] = set()
        self._lent: set[ObjectId] = set()

    def record(
        self, key: SyncKey, objects: Iterable[ObjectId], lent: Iterable[ObjectId] = ()
    ) -> set[SyncKey]:
        """Record what a Sync owns, and what of its stored inventory it has `lent`: that is free for others.

        Returns the Syncs to wake: those who wait for what it let go of, who have it now, and who lent it.
        """
        given = frozenset(lent)
        new = frozenset(objects) - given
        old = self._held.get(key, HOLDS_NOTHING)
        self._alone.setdefault(key, Parties(key))
        wake: set[SyncKey] = set()
        for was in self._change(old.claimed - new, lambda p: _let_go(p, key)):
            if was.owner == key:
                wake |= was.wants | was.lent | was.heirs
        self._change(new - old.claimed, lambda p: _claimed(p, key))
        if given != old.lent:
            me = frozenset((key,))
            self._change(given - old.lent, lambda p: Parties(*p[:3], p.lent | me))
            self._change(old.lent - given, lambda p: Parties(*p[:3], p.lent - me))
            self._lent |= given
            self._lent -= {o for o in old.lent - given if not self._parties.get(o, NONE).lent}
        self._held[key] = Held(new, old.wanted, given)
        return wake - {key}

    def _change(self, objects: Iterable[ObjectId], change: Callable[[Parties], Parties]) -> list[Parties]:
        """Replace the entries of objects, each shared one once; returns what they were."""
        table = self._parties
        changed: dict[int, tuple[Parties, Parties]] = {}
        for oid in objects:
            now = table.get(oid, NONE)
            if (pair := changed.get(id(now))) is None:
                changed[id(now)] = pair = now, self._shared(change(now))
            if (then := pair[1]) is NONE:
                table.pop(oid, None)
            else:
                table[oid] = then
        return [now for now, _ in changed.values()]

    def _shared(self, parties: Parties) -> Parties:
        """Return the one entry for what a Sync owns and nobody else has to do with, or for what nobody has."""
        owner, heirs, wants, lent = parties
        if heirs or wants or lent:
            return parties
        return NONE if owner is None else self._alone[owner]

    def want(self, key: SyncKey, objects: Iterable[ObjectId], near: Iterable[ObjectId] = ()) -> set[SyncKey]:
        """Record what a Sync waits for, and what it is about to take; of that, `near` counts for its own namespace alone.

        Returns the Syncs to wake: the owners, who show it in their differences, and who lent what is not wanted any more;
        for what is `near`, those of its own namespace.
        """
        new, held = frozenset(objects), self._held.get(key, HOLDS_NOTHING)
        before, among = self._near.pop(key, NOTHING), frozenset(near)
        if among:
            self._near[key] = among
        if new == held.wanted:
            return set()
        more, less = new - held.wanted, held.wanted - new
        self._held[key] = held._replace(wanted=new)
        close = self._moved(key, more & among, less & before)
        wake = self._moved(key, more - among, less - before)
        wake |= {each for each in close if each.namespace == key.namespace}
        self._wanted |= more
        self._wanted -= {o for o in less if not self._parties.get(o, NONE).wants}
        return wake - {key}

    def _moved(self, key: SyncKey, more: Iterable[ObjectId], less: Iterable[ObjectId]) -> set[SyncKey]:
        """Enter that a Sync wants `more`, and no longer what is `less`; returns whom that concerns."""
        me = frozenset((key,))
        asked = self._change(more, lambda p: Parties(p.owner, p.heirs, p.wants | me, p.lent))
        given_up = self._change(less, lambda p: Parties(p.owner, p.heirs, p.wants - me, p.lent))
        owners = {was.owner for was in (*asked, *given_up) if was.owner is not None}
        return owners.union(*(was.lent for was in given_up))

    def owner(self, oid: ObjectId) -> SyncKey | None:
        """Return the Sync that owns an object."""
        return self._parties.get(oid, NONE).owner

    def lent(self, key: SyncKey) -> frozenset[ObjectId]:
        """Return what a Sync has in its stored inventory and left to others."""
        return self._held.get(key, HOLDS_NOTHING).lent

    def wanted(self, key: SyncKey) -> frozenset[ObjectId]:
        """Return what a Sync wants."""
        return self._held.get(key, HOLDS_NOTHING).wanted

    def near(self, key: SyncKey) -> frozenset[ObjectId]:
        """Return what a Sync wants, as far as that counts for its own namespace alone."""
        return self._near.get(key, NOTHING)

    def lender(self, key: SyncKey, oid: ObjectId) -> SyncKey | None:
        """Return a Sync other than `key` that left an object to others, if there is one."""
        return min(self._parties.get(oid, NONE).lent - {key}, default=None)

    def is_lent(self, oid: ObjectId) -> bool:
        """Return whether some Sync has an object in its stored inventory and left it to others."""
        return oid in self._lent

    def contested(self, key: SyncKey, desired: Iterable[ObjectId]) -> dict[ObjectId, SyncKey]:
        """Return what a Sync desires and another owns."""
        get, alone = self._parties.get, self._alone.get(key)
        others = [(o, p.owner) for o in desired if (p := get(o)) is not None and p is not alone]
        return {o: owner for o, owner in others if owner is not None and owner != key}

    def offered(self, key: SyncKey, desired: Iterable[ObjectId]) -> set[ObjectId]:
        """Return what a Sync desires, another lent, and no third one owns: it is to be wanted until it is lent no more.

        Also what it claimed itself: that may not be stored, and is taken back then.
        """
        lent, get, mine = self._lent, self._parties.__getitem__, (None, key)
        if not lent:
            return set()
        return {o for o in desired if o in lent and (p := get(o)).owner in mine and p.lent != {key}}

    def wanted_of(self, key: SyncKey, objects: Iterable[ObjectId]) -> dict[ObjectId, SyncKey]:
        """Return what of these objects another Sync owns, or waits for, with that Sync."""
        found: dict[ObjectId, SyncKey] = {}
        get, alone = self._parties.get, self._alone.get(key)
        for oid in objects:
            if (parties := get(oid)) is None or parties is alone:
                continue
            if (owner := parties.owner) is not None and owner != key:
                found[oid] = owner
            # An heir has it in its stored inventory, and need not be known to wait for it.
            elif others := parties.heirs - {key} or self._wanting(key, oid, parties.wants):
                found[oid] = min(others)
        return found

    def awaited(self, key: SyncKey, objects: Collection[ObjectId]) -> dict[ObjectId, SyncKey]:
        """Return what of these objects other Syncs wait for, with one of them; where nobody waits, none is looked at."""
        found: dict[ObjectId, SyncKey] = {}
        both: tuple[Collection[ObjectId], ...] = (self._wanted, objects)
        few, many = sorted(both, key=len)
        for oid in few:
            if oid in many and (others := self._wanting(key, oid, self._parties[oid].wants)):
                found[oid] = min(others)
        return found

    def _wanting(self, key: SyncKey, oid: ObjectId, wants: frozenset[SyncKey]) -> frozenset[SyncKey]:
        """Return the Syncs whose wants count for the Sync `key`."""
        others, near = wants - {key}, self._near
        if not others or not near:
            return others
        strange = {o for o in others if o.namespace != key.namespace and oid in near.get(o, NOTHING)}
        return others - strange

    def drop(self, key: SyncKey) -> set[SyncKey]:
        """Forget a Sync that is gone; returns the Syncs to wake."""
        wake = self.record(key, ()) | self.want(key, ())
        del self._held[key], self._alone[key]
        return wake


def _let_go(parties: Parties, key: SyncKey) -> Parties:
    """Return an entry in which a Sync has no claim any more; an heir owns it then."""
    owner, heirs, wants, lent = parties
    if owner != key:
        return Parties(owner, heirs - {key}, wants, lent)
    heir = min(heirs, default=None)
    return Parties(heir, heirs - {heir}, wants, lent)


def _claimed(parties: Parties, key: SyncKey) -> Parties:
    """Return an entry in which a Sync claims an object: it owns it, or has it after the one that does."""
    owner, heirs, wants, lent = parties
    return Parties(key, heirs, wants, lent) if owner is None else Parties(owner, heirs | {key}, wants, lent)
