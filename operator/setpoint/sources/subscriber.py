"""The interface of those that are notified of a Source's commits (a protocol)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from setpoint.objects.identity import SyncKey
from setpoint.sources.changes import Changes


class Subscriber(Protocol):
    """A subscriber to the commits of Sources."""

    def looks(self, source: SyncKey) -> Mapping[SyncKey, str]:
        """Return the read sets of the Syncs of a Source: what their last looks at its commits depended on."""

    def commit_changed(self, source: SyncKey, before: str, after: str, changes: Changes) -> None:
        """Take a step of a Source from one commit to another (empty: none), or a check that somebody asked for."""
