"""The worker as the operator sees it (a protocol)."""

from __future__ import annotations

from typing import Protocol

from setpoint.wall.messages import (
    Build,
    Built,
    Check,
    Checked,
    Compare,
    Compared,
    Drop,
    Failed,
    Fetch,
    Fetched,
    Lost,
    Objects,
    Placed,
    Places,
    Same,
)


class Worker(Protocol):
    """Touches what tenants wrote, on behalf of the operator. To give a request up, cancel the task that waits for it.

    What a person must understand is an answer, not an exception.
    """

    async def check(self, request: Check) -> Checked | Failed:
        """Ask a remote what a ref stands for, and fetch that commit if it is not there."""

    async def fetch(self, request: Fetch) -> Fetched | Lost | Failed:
        """Find an older commit, in the cache or at the server."""

    async def compare(self, request: Compare) -> Compared:
        """Find out which read sets a step between two commits touches."""

    async def build(self, request: Build) -> Built | Same | Lost | Failed:
        """Make the objects of a commit, unless they are known already."""

    async def objects(self, request: Objects) -> Built | Lost | Failed:
        """Give objects that are known by their digest once more."""

    async def places(self, request: Places) -> Placed:
        """Find the files that objects come from."""

    def drop(self, request: Drop) -> None:
        """Forget what nobody needs any more; nothing waits for it."""
