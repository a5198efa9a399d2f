"""Decides when deletions may begin: all Syncs were evaluated since the start, those of one Source at its commit (pure).

A Sync that cannot be evaluated does not hold up others: it is `excused` as soon as all that it may take is known. Until
then it is in `doubt`, and only the objects that it may take at most wait for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from setpoint.objects.identity import SyncKey

K = TypeVar("K")

Place = tuple[SyncKey, str]
"""A Source, and the commit that a Sync of it was last evaluated at; empty where there was none for it."""


class Barrier:
    """Where each Sync stands, and who waits for others to come as far. Each question costs the same for any number."""

    def __init__(self) -> None:
        # Dictionaries, for their order: the Sync that is named stays the same while it blocks.
        self._unseen: dict[SyncKey, None] = {}
        self._doubtful: dict[SyncKey, None] = {}
        self._excused: dict[SyncKey, SyncKey] = {}
        self._place: dict[SyncKey, Place] = {}
        self._at: dict[SyncKey, dict[str, dict[SyncKey, None]]] = {}
        self._waits: dict[SyncKey, Place] = {}
        self._waiters: dict[Place, dict[SyncKey, None]] = {}

    def expect(self, key: SyncKey, source: SyncKey) -> None:
        """Note a Sync that is not seen yet, unless it was, and for this very Source."""
        if self._place.get(key, (None,))[0] != source and self._excused.get(key) != source:
            self._leave(key)
            self._excused.pop(key, None)
            self._doubtful.pop(key, None)
            self._unseen[key] = None

    def seen(self, key: SyncKey, source: SyncKey, sha: str) -> None:
        """Note the commit that a Sync was evaluated at."""
        self._forget(key)
        if self._place.get(key) != (source, sha):
            self._leave(key)
            self._place[key] = source, sha
            self._at.setdefault(source, {}).setdefault(sha, {})[key] = None

    def excuse(self, key: SyncKey, source: SyncKey) -> None:
        """Note a Sync that cannot be evaluated and counts as seen; one that was seen stays where it was.

        Not for Syncs of its own Source that are at a commit: the Source works then, so it will see that commit, too.
        """
        if self.is_unseen(key):
            self._forget(key)
            self._excused[key] = source

    def doubt(self, key: SyncKey) -> bool:
        """Note a Sync that cannot be evaluated and may want what is not known; returns whether that is news."""
        if key not in self._unseen:
            return False
        del self._unseen[key]
        self._doubtful[key] = None
        return True

    def is_unseen(self, key: SyncKey) -> bool:
        """Return whether a Sync was neither seen nor excused since start."""
        return key in self._unseen or key in self._doubtful

    def doubtful(self, key: SyncKey) -> tuple[SyncKey, ...]:
        """Return the Syncs in doubt, but for `key` itself."""
        return tuple(other for other in self._doubtful if other != key)

    def waiters(self) -> tuple[SyncKey, ...]:
        """Return all who wait."""
        return tuple(self._waits)

    def drop(self, key: SyncKey) -> None:
        """Note that nobody waits for a Sync: it is suspended, on its way out, or gone."""
        self._forget(key)
        self._leave(key)

    def blocker(self, key: SyncKey, source: SyncKey, sha: str | None) -> SyncKey | None:
        """Return a Sync that `key` waits for, or None; `released` tells when it may go. One in doubt comes last."""
        self.leave(key)
        place = source, sha or ""
        found = self._blocker(key, place)
        if found is not None:
            self._waits[key] = place
            self._waiters.setdefault(place, {})[key] = None
        return found

    def leave(self, key: SyncKey) -> None:
        """Forget that a Sync waits."""
        place = self._waits.pop(key, None)
        if place is not None:
            _discard(self._waiters, place, key)

    def released(self) -> set[SyncKey]:
        """Take out those who need not wait any more."""
        free = [p for p, keys in self._waiters.items() if self._blocker(next(iter(keys)), p) is None]
        found = {key for place in free for key in self._waiters[place]}
        for key in found:
            self.leave(key)
        return found

    def blockers(self, key: SyncKey, source: SyncKey, sha: str | None) -> tuple[SyncKey, ...]:
        """Return all that `key` waits for; this takes longer the more they are."""
        return tuple(self._blockers(key, (source, sha or "")))

    def _blocker(self, key: SyncKey, place: Place) -> SyncKey | None:
        return next(self._blockers(key, place), None)

    def _blockers(self, key: SyncKey, place: Place) -> Iterator[SyncKey]:
        source, sha = place
        yield from (other for other in self._unseen if other != key)
        for at, keys in self._at.get(source, {}).items() if sha else ():
            if at not in ("", sha):
                yield from (other for other in keys if other != key)
        yield from (o for o, at in self._excused.items() if sha and at == source and o != key)
        yield from self.doubtful(key)

    def _forget(self, key: SyncKey) -> None:
        self._unseen.pop(key, None)
        self._doubtful.pop(key, None)
        self._excused.pop(key, None)

    def _leave(self, key: SyncKey) -> None:
        place = self._place.pop(key, None)
        if place is not None:
            source, sha = place
            _discard(self._at[source], sha, key)
            if not self._at[source]:
                del self._at[source]


def _discard(groups: dict[K, dict[SyncKey, None]], at: K, key: SyncKey) -> None:
    groups[at].pop(key, None)
    if not groups[at]:
        del groups[at]
