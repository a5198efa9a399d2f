"""What Syncs need of their Sources. The next run of a Sync replaces what its last run demanded (pure)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_

from setpoint.objects.identity import SyncKey

NO_COMMITS: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Demand:
    """What one Sync needs of its Source, and finds missing."""

    source: SyncKey
    commits: frozenset[str] = NO_COMMITS
    """Commits that it had applied, and that the cache does not hold any more."""
    latest: bool = False
    """The Source's last good commit, whichever that is; the cache does not hold it (any more)."""
    check: str | None = None
    """The request for a check of the remote that is not done yet."""

    def __or__(self, other: Demand) -> Demand:
        """Return two demands of one Source as one."""
        commits, latest = self.commits | other.commits, self.latest or other.latest
        return Demand(self.source, commits, latest, self.check or other.check)

    def adds(self, former: Demand | None) -> bool:
        """Return whether it asks for more than a former one."""
        if former is None or former.source != self.source:
            return bool(self.commits or self.latest or self.check)
        return (self.latest and not former.latest) or self.awaits(former)

    def awaits(self, former: Demand | None) -> bool:
        """Return whether only another check can answer it than one that began with the former one."""
        commits, check = (former.commits, former.check) if former else (NO_COMMITS, None)
        return bool(self.commits - commits) or self.check not in (None, check)


def joined(*parts: Demand | None) -> Demand | None:
    """Return what the steps of one run demand of their Source as one demand; None if that is nothing."""
    found = [part for part in parts if part is not None]
    return reduce(or_, found) if found else None


class Demands:
    """The present demand of each Sync."""

    def __init__(self) -> None:
        self._by_source: dict[SyncKey, dict[SyncKey, Demand]] = {}
        self._source: dict[SyncKey, SyncKey] = {}
        self._done: dict[SyncKey, tuple[SyncKey, str]] = {}
        self._untold: dict[SyncKey, set[SyncKey]] = {}

    def put(self, sync: SyncKey, demand: Demand | None) -> bool:
        """Replace the demand of a Sync; returns whether it asks for more than before."""
        at = self._source.get(sync)
        former = self._by_source[at].get(sync) if at is not None else None
        if demand is not None and not demand.adds(None):
            demand = None
        if former is not None and (demand is None or demand.source != former.source):
            self._remove(sync, former.source)
        if demand is not None:
            self._by_source.setdefault(demand.source, {})[sync] = demand
            self._source[sync] = demand.source
        if demand is None or not demand.adds(former):
            return False
        self._untold.setdefault(demand.source, set()).add(sync)
        return True

    def untold(self, source: SyncKey) -> set[SyncKey]:
        """Return the Syncs that asked for more since this was called last."""
        return self._untold.pop(source, set())

    def forget(self, sync: SyncKey) -> None:
        """Forget a Sync that is gone."""
        self.put(sync, None)
        self._done.pop(sync, None)

    def _remove(self, sync: SyncKey, source: SyncKey) -> None:
        del self._source[sync], self._by_source[source][sync]
        if not self._by_source[source]:
            del self._by_source[source]

    def on(self, source: SyncKey) -> dict[SyncKey, Demand]:
        """Return what is demanded of a Source now, in the order in which Syncs began to."""
        return dict(self._by_source.get(source, {}))

    def commits(self, source: SyncKey) -> list[str]:
        """Return the commits that are demanded, each once."""
        return list(
            dict.fromkeys(sha for demand in self.on(source).values() for sha in sorted(demand.commits))
        )

    def lost(self, source: SyncKey) -> bool:
        """Return whether the last good commit of a Source is demanded."""
        return any(demand.latest for demand in self.on(source).values())

    def waiting(self, source: SyncKey) -> set[SyncKey]:
        """Return the Syncs that wait for a commit."""
        return {sync for sync, demand in self.on(source).items() if demand.commits or demand.latest}

    def answer(
        self, source: SyncKey, asks: Mapping[SyncKey, Demand], settled: Collection[str], *, held: bool
    ) -> set[SyncKey]:
        """Take away what a check answered that began with `asks`; returns the Syncs that it concerns.

        `settled`: the commits that came, or that cannot be had. `held`: the last good commit is there.
        """
        answered = set()
        for sync, demand in self.on(source).items():
            then = asks.get(sync)
            checked = demand.check is not None and then is not None and then.check == demand.check
            left = replace(
                demand,
                commits=demand.commits.difference(settled),
                latest=demand.latest and not held,
                check=None if checked else demand.check,
            )
            if left != demand:
                answered.add(sync)
                self.put(sync, left)
            if checked and demand.check is not None:
                self._done[sync] = source, demand.check
        return answered

    def newer(self, source: SyncKey, asks: Mapping[SyncKey, Demand]) -> bool:
        """Return whether anything is demanded that a check which began with `asks` cannot have answered."""
        return any(demand.awaits(asks.get(sync)) for sync, demand in self.on(source).items())

    def checked(self, source: SyncKey, sync: SyncKey, request: str) -> bool:
        """Return whether the check that a Sync asked for last is done, well or badly."""
        return self._done.get(sync) == (source, request)

    def remake(self, source: SyncKey) -> None:
        """Make Syncs that wait for commits of a deleted Source wait for the last good one of its successor."""
        for sync in self.waiting(source):
            demand = self._by_source[source][sync]
            self.put(sync, replace(demand, commits=NO_COMMITS, latest=True))

    def drop(self, source: SyncKey) -> set[SyncKey]:
        """Forget what is demanded of a Source that is gone; returns whose demands those were."""
        syncs = set(self.on(source))
        for sync in syncs:
            self._remove(sync, source)
        self._untold.pop(source, None)
        self._done = {sync: done for sync, done in self._done.items() if done[0] != source}
        return syncs
