"""The StorageClasses, watched as long as a Sync has a claim that is not bound (shell)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from setpoint.health import claims
from setpoint.health.claims import StorageClass
from setpoint.kube.client import Cluster
from setpoint.objects.identity import SyncKey
from setpoint.runtime.workqueue import WorkQueue
from setpoint.watch.follower import Follower

Classes = tuple[StorageClass, ...]


class StorageClasses:
    """Knows the classes of the cluster; wakes the Syncs that asked when they change.

    They are read with the operator's own account, as all that is watched: they are of the whole cluster, and the account
    of a Sync hardly ever may read them.
    """

    def __init__(self, cluster: Cluster, queue: WorkQueue[SyncKey]) -> None:
        """`queue` is that of the Syncs."""
        self._cluster, self._queue = cluster, queue
        self._wanted: set[SyncKey] = set()
        self._follower: _ClassFollower | None = None

    async def want(self, key: SyncKey) -> Classes | None:
        """Wake a Sync from now on when a class changes; returns the classes there are, None if they may not be read."""
        self._wanted.add(key)
        follower = self._follower = self._follower or _ClassFollower(self._cluster, self._changed)
        await follower.listed()
        return self.known()

    async def release(self, key: SyncKey) -> None:
        """Note that a Sync has no such claim any more; with the last one the watch ends."""
        self._wanted.discard(key)
        if not self._wanted:
            await self.close()

    def known(self) -> Classes | None:
        """Return the classes there are, as far as they were read."""
        return tuple(self._follower.classes.values()) if self._follower and self._follower.known else None

    async def close(self) -> None:
        """Stop the watch."""
        follower, self._follower = self._follower, None
        if follower is not None:
            await follower.close()

    def _changed(self) -> None:
        for key in self._wanted:
            self._queue.add(key)


class _ClassFollower(Follower):
    """One list and watch of the StorageClasses."""

    def __init__(self, cluster: Cluster, changed: Callable[[], None]) -> None:
        self._changed = changed
        self.classes: dict[str, StorageClass] = {}
        super().__init__(cluster, "storage.k8s.io/v1", "StorageClass")

    async def _relist(self, pages: AsyncIterator[tuple[list[dict[str, Any]], str]]) -> str:
        found: dict[str, StorageClass] = {}
        version = ""
        async for page, version in pages:  # noqa: B007 - that of the last page counts
            found |= {c.name: c for c in map(claims.storage_class, page)}
        self._take(found, news=not self.known)
        return version

    def _event(self, event: str, obj: Mapping[str, Any]) -> None:
        seen = claims.storage_class(obj)
        others = {name: c for name, c in self.classes.items() if name != seen.name}
        self._take(others if event == "DELETED" else {**others, seen.name: seen})

    def _take(self, found: dict[str, StorageClass], *, news: bool = False) -> None:
        changed, self.classes = news or found != self.classes, found
        if changed:
            self._changed()
