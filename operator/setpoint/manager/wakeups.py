"""Selects the Sources and Syncs to wake when a stored one changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from setpoint.objects.bodies import Body, dependency_keys, key_of
from setpoint.objects.identity import SyncKey
from setpoint.runtime.workqueue import WorkQueue
from setpoint.sources import status
from setpoint.store.index import Store


class Checks(Protocol):
    """The running checks of Sources."""

    def give_up(self, key: SyncKey) -> None:
        """Cancel a check whose Source is gone or has a new spec."""


class Fleet(Protocol):
    """What is known of all Syncs together."""

    def seen(self, body: Body) -> None:
        """Record a Sync that the watch or a list brought."""

    def unsettled(self, source: SyncKey) -> list[SyncKey]:
        """Return the Syncs of a Source that have work left to do."""


class Wakeups:
    """Receives each change from the store, and wakes the Sources and Syncs that it concerns."""

    def __init__(
        self,
        store: Store,
        fleet: Fleet,
        checks: Checks,
        sources: WorkQueue[SyncKey],
        syncs: WorkQueue[SyncKey],
    ) -> None:
        self._store, self._dispatcher, self._checks = store, fleet, checks
        self._sources, self._syncs = sources, syncs

    def changed(self, old: Body | None, new: Body | None, *, ours: bool = False) -> None:
        """Take a change of a Source or Sync: new (`old` is None), changed, or gone (`new` is None).

        `ours`: it is the answer to a write of ours, which is no news to the run that wrote it.
        """
        body = new or old
        if body is not None:
            (self._source if body["kind"] == "Source" else self._sync)(key_of(body), old, new, ours=ours)

    def _source(self, key: SyncKey, old: Body | None, new: Body | None, *, ours: bool) -> None:
        if old is None or new is None or status.replaced(old, new):
            self._wake(self._store.users(key))
        elif status.retold(old, new):
            self._wake(self._dispatcher.unsettled(key))
        if not ours:
            self._checks.give_up(key)
            self._sources.add(key)

    def _sync(self, key: SyncKey, old: Body | None, new: Body | None, *, ours: bool) -> None:
        if ours:
            return
        if new is not None:
            self._dispatcher.seen(new)
        elif old is not None:
            # Whatever took its finalizer away: what it depends on may wait for its end.
            self._wake(dependency_keys(old))
        self._syncs.add(key)

    def _wake(self, keys: Iterable[SyncKey]) -> None:
        for key in keys:
            self._syncs.add(key)
