"""Compares the stored Sources and Syncs with those that exist (shell).

A watch that begins, or whose resourceVersion is too old, lists again (Kubernetes API concepts, "410 Gone responses").
The list has what exists, and nothing reports what is gone. So when objects of such a list have come in, the stored ones
are compared with those that exist. kopf does not report a list without objects.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from setpoint.api import names
from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError
from setpoint.objects.bodies import Body
from setpoint.runtime.workqueue import Result, WorkQueue
from setpoint.store.index import Store

log = logging.getLogger(__name__)

KIND = "Sources and Syncs"
PAUSE = 1.0
"""Seconds from one object of a list on to the look; while more of the list come in, there is one look in such a time."""


class Resync:
    """Brings the store in line with watches and lists; the store notifies its subscribers of what differs."""

    def __init__(
        self, cluster: Cluster, store: Store, queue: WorkQueue[str], namespaces: tuple[str, ...] = ()
    ) -> None:
        """`queue` is of the keys that `look` is for; `namespaces` are those watched, () for all."""
        self._cluster, self._store, self._queue, self._namespaces = cluster, store, queue, namespaces

    def event(self, kind: str | None, body: Body) -> None:
        """Take one watch event of a Source or Sync; its kind is None for one that was listed."""
        if kind is None:
            self._queue.add_after(KIND, PAUSE)
        if kind == "DELETED":
            self._store.drop(body)
        else:
            self._store.put(body)

    async def look(self, what: str) -> Result:
        """Drop what no longer exists, after a watch has listed."""
        try:
            for name in ("Source", "Sync"):
                await self._compare(name, whole=False)
        except ApiError as error:
            # Also after a 403 or 404: an API server that has just started knows neither rights nor kinds.
            log.warning("cannot compare %s with the cluster; retrying", what, extra={"error": str(error)})
            return Result(retry=True)
        return Result()

    async def relist(self) -> None:
        """Read all Sources and Syncs: claims must be complete before the first write, and gaps leave nothing stale."""
        if missing := [f"{name}s" for name in ("Source", "Sync") if not await self._relisted(name)]:
            message = (
                f"{' and '.join(missing)} are not served: is a CRD gone, or the chart not installed yet?"
            )
            raise ApiError(503, "NotServed", message)

    async def _relisted(self, name: str) -> bool:
        """Store all Sources, or all Syncs, and drop what is gone; False if they are not served."""
        try:
            await self._compare(name, whole=True)
        except ApiError as error:
            if error.status != 404:
                raise
        else:
            return True
        # The server may have just started, the chart may be being installed, or the CRD is gone.
        await self._cluster.discover()
        # Without their CRD there are no Sources. What a Sync holds is not let go of so lightly.
        if name == "Source" and not self._cluster.kind(names.API_VERSION, name):
            for body in tuple(self._store.sources.values()):
                self._store.drop(body)
        return False

    async def _compare(self, name: str, *, whole: bool) -> None:
        """List all Sources, or all Syncs, and drop what is not among them; `whole`: store what is.

        Raises ApiError if they cannot be read, or are not served, now.
        """
        kind = self._cluster.kind(names.API_VERSION, name)
        if kind is None:
            raise ApiError(404, "NotServed", f"{name}s are not served")
        # What is known is taken first: what is made from now on may not be in the answer.
        known = tuple((self._store.sources if name == "Source" else self._store.syncs).values())
        uids: set[str] = set()
        for namespace in self._namespaces or (None,):
            objects, _ = await self._cluster.list(kind, namespace=namespace, metadata_only=not whole)
            uids.update(obj["metadata"]["uid"] for obj in objects)
            for body in objects if whole else ():
                self._store.put(body)
        for body in missing(known, uids):
            self._store.drop(body)


def missing(known: Iterable[Body], uids: set[str]) -> list[Body]:
    """Return those bodies whose uid is not among those that exist."""
    return [body for body in known if body["metadata"]["uid"] not in uids]
