"""One list and watch of a kind, restarted for ever (shell)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

from setpoint.api import names
from setpoint.health import evaluate as health
from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError
from setpoint.kube.requests import Selection
from setpoint.objects.identity import ObjectId
from setpoint.objects.kinds import Kind
from setpoint.watch.observations import Observations, identity

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 15.0
# A kind that is gone comes back with its CRD, which whoever needs it tells us by `require`.
GONE_PAUSE = 300.0
FAILURES_TO_TELL = 3
FORBIDDEN = 403


class Informer:
    """One list and watch: of one kind, in one namespace or in all.

    It ends by itself only if the very first list fails; after that it tries for ever.
    """

    def __init__(
        self, cluster: Cluster, observations: Observations, kind: Kind, namespace: str | None
    ) -> None:
        self.namespace = namespace
        self.seen = 0
        self._cluster, self._observations, self._kind = cluster, observations, kind
        self._gone = False
        self.forbidden = False
        self.complete = False
        """Whether all objects are known: the kind was listed, and is served."""
        self._failures = 0
        self._woken = asyncio.Event()
        self._listed: asyncio.Future[ApiError | None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run())

    @property
    def ended(self) -> bool:
        """Whether the first list failed, so that nothing is watched."""
        return self._task.done()

    async def listed(self) -> ApiError | None:
        """Wait until the kind was listed; returns the error if it could not be."""
        return await asyncio.shield(self._listed)

    def wake(self, kind: Kind) -> None:
        """Try at once if the kind was gone, at the version that is served now."""
        if self._gone:
            self._kind = kind
            if self._listed.done():
                self._listed = asyncio.get_running_loop().create_future()
            self._woken.set()

    async def close(self) -> None:
        """Stop."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        if not self._listed.done():
            self._listed.set_result(ApiError(0, "Closed", f"{self._kind.kind} is not watched any more"))

    async def _run(self) -> None:
        listed_once = False
        while True:
            try:
                await self._list()
                listed_once = True
                await self._watch()
            except ApiError as error:
                self._tell(error)
                if not listed_once:
                    return
                if error.status == 404:
                    self._vanish()
            except Exception as error:
                # An object that cannot be reduced must not end the watch of its kind for ever.
                log.exception("a watch failed unexpectedly; retrying", extra={"kind": self._kind.resource})
                self._tell(ApiError(0, "Unexpected", f"unexpected {type(error).__name__} while listing"))
                if not listed_once:
                    return
            await self._pause()

    async def _list(self) -> None:
        """List all, page by page, and compare: what is not there any more was deleted while nobody watched."""
        names_seen: set[ObjectId] = set()
        version = 0
        async with aclosing(self._cluster.pages(self._selection())) as pages:
            async for page, of_version in pages:
                version = int(of_version)
                names_seen.update([self._take(obj) for obj in page])
        self._observations.keep_only(self._key, self.namespace, names_seen, version)
        self.seen = max(self.seen, version)
        if self._failures >= FAILURES_TO_TELL:
            log.info("the watch has recovered", extra={"kind": self._kind.resource})
        self._gone, self.forbidden, self._failures = False, False, 0
        self.complete = True
        if not self._listed.done():
            self._listed.set_result(None)

    async def _watch(self) -> None:
        """Follow the changes; returns never, raises ApiError when the list must be read again."""
        what = self._selection()
        while True:
            before = self.seen
            stream = self._cluster.watch(
                what.kind,
                resource_version=str(self.seen),
                namespace=what.namespace,
                label_selector=what.label_selector,
                metadata_only=what.metadata_only,
            )
            try:
                async with aclosing(stream) as events:
                    async for event, obj in events:
                        self._event(event, obj)
            except ApiError as error:
                if error.status not in (0, 429, 503):
                    raise
                # The connection failed, not the watch: what was seen is still good.
                self._tell(error)
                await self._pause()
                continue
            if (
                self.seen == before
            ):  # a stream that ends with nothing at all must not be asked in a tight loop
                await self._pause()
            self._failures = 0

    def _event(self, event: str, obj: Mapping[str, Any]) -> None:
        if event == "DELETED":
            self._observations.deleted(self._identity(obj), obj)
        elif event in ("ADDED", "MODIFIED"):
            self._take(obj)
        self.seen = max(self.seen, int(obj["metadata"]["resourceVersion"]))

    def _take(self, obj: Mapping[str, Any]) -> ObjectId:
        oid = self._identity(obj)
        self._observations.observed(oid, obj)
        return oid

    def _identity(self, obj: Mapping[str, Any]) -> ObjectId:
        return identity(self._kind.group, self._kind.kind, obj["metadata"])

    def _selection(self) -> Selection:
        kind = self._kind
        return Selection(kind, self.namespace, names.LABEL_SYNC, health.trivial(kind.group, kind.kind))

    @property
    def _key(self) -> tuple[str, str]:
        return self._kind.group, self._kind.kind

    def _vanish(self) -> None:
        """The kind is served no more: all its objects are gone with it."""
        self._gone, self.complete = True, False
        self._observations.keep_only(self._key, self.namespace, frozenset(), None)

    def _tell(self, error: ApiError) -> None:
        self.forbidden = error.status == FORBIDDEN
        if not self._listed.done():
            self._listed.set_result(error)
        if error.status == 410:
            return  # the version was too old: that is no failure
        self._failures += 1
        if self._failures == FAILURES_TO_TELL:
            log.warning(
                "a watch keeps failing; retrying", extra={"kind": self._kind.resource, "error": str(error)}
            )

    async def _pause(self) -> None:
        growing = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._failures, 10))
        seconds = (GONE_PAUSE if self._gone else growing) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)
        self._woken.clear()
