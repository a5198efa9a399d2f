"""One list and watch of objects that carry no label of ours, tried for ever (shell)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any

from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError
from setpoint.kube.requests import Selection

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 60.0
FORBIDDEN = 403
# Rights change rarely, as with any kind that may not be watched.
FORBIDDEN_PAUSE = 300.0
REFUSED_SECONDS = 10.0
"""For how long a list is refused before it counts as one that may not be read."""
NOT_FOUND = 404
GONE = 410


class Follower(ABC):
    """Begins after `grace` seconds (None: not by itself), or when somebody asks; what is kept is up to subclasses."""

    def __init__(self, cluster: Cluster, api_version: str, kind: str, namespace: str | None = None) -> None:
        self._cluster, self._what, self._namespace = cluster, (api_version, kind), namespace
        self._version = ""
        self.known = False
        """Whether a list was read: before, and where the kind may not be listed, nothing is known."""
        self.forbidden = False
        """Whether the last list was refused for lack of rights, or as the kind is not served."""
        self._refused: float | None = None
        """Since when each list was, by the clock of the event loop."""
        self._now, self._first = asyncio.Event(), asyncio.Event()
        self._task = asyncio.create_task(self._run())

    grace: float | None = 0.0

    @abstractmethod
    async def _relist(self, pages: AsyncIterator[tuple[list[dict[str, Any]], str]]) -> str:
        """Take a whole list, page by page, each with the version that the list is of; returns that version."""

    @abstractmethod
    def _event(self, event: str, obj: Mapping[str, Any]) -> None:
        """Take an event of the watch (ADDED, MODIFIED, DELETED)."""

    async def listed(self) -> None:
        """Begin at once, and wait for the end of the first list, or of the try."""
        self._now.set()
        await self._first.wait()

    @property
    def following(self) -> bool:
        """Whether it goes on by itself, so that what is known will be corrected."""
        return self._now.is_set() or self.grace is not None

    def follow(self) -> None:
        """Begin at once."""
        self._now.set()

    async def anew(self) -> bool:
        """Read the list now, as of this moment; a watch goes on from there.

        Returns whether it may be read: `forbidden` may say otherwise a moment later, of the watch. Raises ApiError.
        """
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        rest = 0.0
        try:
            await self._list()
        except ApiError as error:
            if error.status not in (FORBIDDEN, NOT_FOUND):
                raise
            self.forbidden, rest = True, FORBIDDEN_PAUSE
        finally:
            self._task = asyncio.create_task(self._run(rest))
        return not rest

    @property
    def denied(self) -> bool:
        """Whether it was refused for so long that it is not meant to be read."""
        now = asyncio.get_running_loop().time()
        return self._refused is not None and now - self._refused >= REFUSED_SECONDS

    async def close(self) -> None:
        """Stop."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._first.set()

    async def _run(self, rest: float = 0.0) -> None:
        if rest:
            self._first.set()
            await asyncio.sleep(rest)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._now.wait(), self.grace)
        pause = FIRST_PAUSE
        while True:
            try:
                if not self._version:
                    await self._list()
                    pause = FIRST_PAUSE
                await self._watch()
                pause = FIRST_PAUSE
            except ApiError as error:
                self._version = "" if error.status == GONE else self._version
                self.forbidden = error.status in (FORBIDDEN, NOT_FOUND)
                pause = FORBIDDEN_PAUSE if error.status == FORBIDDEN else min(LONGEST_PAUSE, pause * 2)
                where = f"{self._what[1]} {self._namespace or ''}".rstrip()
                log.debug("cannot watch a kind; retrying", extra={"where": where, "error": str(error)})
            except Exception:
                # An object that cannot be read must not end this for ever.
                log.exception("a watch failed unexpectedly; retrying", extra={"kind": self._what[1]})
                self._version, pause = "", min(LONGEST_PAUSE, pause * 2)
            self._first.set()
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    def _selection(self) -> Selection:
        kind = self._cluster.kind(*self._what)
        if kind is None:
            raise ApiError(404, "NotFound", f"{self._what[1]} is not served")
        return Selection(kind, self._namespace)

    async def _list(self) -> None:
        try:
            async with aclosing(self._cluster.pages(self._selection())) as pages:
                self._version = await self._relist(pages)
        except ApiError as error:
            if error.status in (FORBIDDEN, NOT_FOUND) and self._refused is None:
                self._refused = asyncio.get_running_loop().time()
            raise
        self.known, self.forbidden, self._refused = True, False, None
        self._first.set()

    async def _watch(self) -> None:
        what = self._selection()
        stream = self._cluster.watch(what.kind, resource_version=self._version, namespace=what.namespace)
        async with aclosing(stream) as events:
            async for event, obj in events:
                if event != "BOOKMARK":
                    self._event(event, obj)
                self._version = obj["metadata"]["resourceVersion"]
