"""What Syncs ask of Sources (a protocol): commits, and checks of the remote."""

from __future__ import annotations

from typing import Protocol

from setpoint.api.reasons import Problem
from setpoint.objects.identity import SyncKey
from setpoint.sources.artifact import Artifact
from setpoint.sources.demands import Demand


class Commits(Protocol):
    """The commits of Sources; see `sources.reconciler.Sources`."""

    def current(self, key: SyncKey) -> Artifact | None:
        """Return the last good commit that this process had."""

    def trouble(self, key: SyncKey) -> Problem | None:
        """Return why the last check of a Source failed."""

    def was_tried(self, key: SyncKey) -> bool:
        """Return whether a check of this Source, as its spec is now, has ended since start."""

    def holds(self, key: SyncKey) -> bool:
        """Return whether the last good commit is in the cache, as far as anybody found out."""

    def lost(self, key: SyncKey, current: Artifact) -> None:
        """Have a commit that was the last good one fetched again, as the cache does not have it."""

    def demand(self, sync: SyncKey, demand: Demand | None) -> None:
        """Replace what a Sync needs of its Source."""

    def forget(self, sync: SyncKey) -> None:
        """Forget what a Sync that is gone demanded."""

    def refused(self, key: SyncKey, sha: str) -> bool:
        """Return whether the server does not give a commit."""

    def was_checked(self, key: SyncKey, sync: SyncKey, requested: str) -> bool:
        """Return whether the check that a Sync asked for has finished."""
