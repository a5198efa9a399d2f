"""What of our own resources went while nobody watched (shell).

A watch that begins, or whose resourceVersion is too old, lists anew (Kubernetes API concepts, "410 Gone responses").
That list tells what there is; of what is gone nobody tells. So once objects of one have come in, what is known is compared
with what exists. Of a list without objects kopf tells nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from setpoint import names
from setpoint.cluster import Cluster
from setpoint.cluster_errors import ApiError
from setpoint.queue import Result, WorkQueue
from setpoint.store import Body, Store

log = logging.getLogger(__name__)

KIND = "Sources and Syncs"
PAUSE = 1.0
"""Seconds from one object of a list on to the look; while more of the list come in, there is one look in such a time."""


class Gaps:
    """Finds what the store holds and the cluster does not, by `look`; `listed` asks for it."""

    def __init__(
        self,
        cluster: Cluster,
        store: Store,
        gone: Callable[[Body], None],
        queue: WorkQueue[str],
        namespaces: tuple[str, ...] = (),
    ) -> None:
        """`gone` is told each body that is known of what exists no more; `namespaces` are those watched, () for all."""
        self._cluster, self._store, self._gone = cluster, store, gone
        self._namespaces = namespaces
        self._queue = queue

    def listed(self) -> None:
        """Take note of an object that came with a list, and not as a change."""
        self._queue.add_after(KIND, PAUSE)

    async def look(self, what: str) -> Result:
        """Compare what is known with what exists."""
        try:
            for name, known in (("Source", self._store.sources), ("Sync", self._store.syncs)):
                # What is known is taken first: what is made from now on may not be in the answer.
                for body in missing(tuple(known.values()), await self._uids(name)):
                    self._gone(body)
        except ApiError as error:
            # Also after a 403 or 404: an API server that has just started knows neither rights nor kinds.
            log.warning("%s cannot be compared with the cluster now", what, extra={"error": str(error)})
            return Result(retry=True)
        return Result()

    async def _uids(self, name: str) -> set[str]:
        """Give the uids of all that exist; ApiError if they cannot be had, or are not served, now."""
        kind = self._cluster.kind(names.API_VERSION, name)
        if kind is None:
            raise ApiError(404, "NotServed", f"{name}s are not served")
        found: set[str] = set()
        for namespace in self._namespaces or (None,):
            objects, _ = await self._cluster.list(kind, namespace=namespace, metadata_only=True)
            found.update(obj["metadata"]["uid"] for obj in objects)
        return found


def missing(known: Iterable[Body], uids: set[str]) -> list[Body]:
    """Give those bodies whose uid is not among those that exist."""
    return [body for body in known if body["metadata"]["uid"] not in uids]
