"""The interface of those that are notified of a Source's commits (a protocol)."""

from __future__ import annotations

from typing import Protocol

from setpoint.objects.identity import SyncKey
from setpoint.tree.changes import TreeDiff


class Subscriber(Protocol):
    """A subscriber to the commits of Sources."""

    def commit_changed(self, source: SyncKey, before: str, after: str, changes: TreeDiff) -> None:
        """Take a step of a Source from one commit to another (empty: none), or a check that somebody asked for."""
