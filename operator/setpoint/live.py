"""What the cluster holds of ours, kept up to date by one list and watch for each kind that a Sync manages (shell).

Kept is only what `objects.observe` reduces an object to. Kinds of trivial health are watched as metadata, so
no value of a Secret enters the process. `Observations` keeps them, `Stream` feeds it, `Live` is the way in.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from setpoint import health, names
from setpoint.cluster import Cluster
from setpoint.cluster_errors import ApiError
from setpoint.discovery import Kind
from setpoint.objects import ObjectId, Observed
from setpoint.observations import LiveChange, Observations, identity
from setpoint.requests import Selection

__all__ = ["Live", "LiveChange"]

log = logging.getLogger(__name__)

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 15.0
# A kind that is gone comes back with its CRD, which whoever needs it tells us by `require`.
GONE_PAUSE = 300.0
FAILURES_TO_TELL = 3
FORBIDDEN = 403
# Rights change rarely, but an API server that has just started knows none yet: a kind that may not be watched is asked
# for again soon, and then ever later.
FIRST_FORBIDDEN_PAUSE = 5.0
FORBIDDEN_PAUSE = 300.0


@dataclass(frozen=True, slots=True)
class Refusal:
    """When a kind was refused, and for how many seconds it is not asked for again."""

    at: float
    pause: float


class Live:
    """The live objects that carry our label. `on_change` is called for each change that matters, on the event loop."""

    def __init__(
        self,
        cluster: Cluster,
        people: frozenset[str],
        on_change: Callable[[LiveChange], None],
        namespaces: tuple[str, ...] = (),
    ) -> None:
        """Watch all namespaces, or only those named; `people` are managers that count as persons besides kubectl."""
        self._cluster, self._namespaces = cluster, namespaces
        self._observations = Observations(people, on_change)
        self._streams: dict[tuple[str, str], tuple[Stream, ...]] = {}
        self._forbidden: dict[tuple[str, str], Refusal] = {}

    async def require(self, kinds: Iterable[Kind]) -> None:
        """Return when all these kinds were listed once and are watched. Raises ApiError when one cannot be listed.

        A kind that could not be listed is not watched; ask again. One that may not be listed (`rbac.watch` of the
        chart names those that may) is `unwatched`: known of it is only what `store` was given.
        """
        now = asyncio.get_running_loop().time()
        wanted = {(k.group, k.kind): self._started(k) for k in kinds if not self._rests(k, now)}
        streams = [stream for several in wanted.values() for stream in several]
        errors = await asyncio.gather(*(stream.listed() for stream in streams))
        for key, several in wanted.items():
            if self._streams.get(key) is several and any(stream.ended for stream in several):
                await self._end(key, keep=key in self._forbidden)
        self._note_forbidden(wanted, now)
        for error in errors:
            if error is not None and error.status != FORBIDDEN:
                raise error

    def unwatched(self, oid: ObjectId) -> bool:
        """Tell whether an object's kind may not be watched: then nobody tells us when it changes."""
        return (oid.group, oid.kind) in self._forbidden

    def _rests(self, kind: Kind, now: float) -> bool:
        """Tell whether a kind was refused so lately that it is not asked for again."""
        refused = self._forbidden.get((kind.group, kind.kind))
        return refused is not None and now - refused.at < refused.pause

    def again(self, kinds: Iterable[Kind]) -> float | None:
        """Give the seconds after which to `require` kinds again that were refused lately, as long as that may be a passing thing."""
        found = [r for k in kinds if (r := self._forbidden.get((k.group, k.kind)))]
        now = asyncio.get_running_loop().time()
        return min((r.at + r.pause - now for r in found if r.pause < FORBIDDEN_PAUSE), default=None)

    def _note_forbidden(self, wanted: Mapping[tuple[str, str], tuple[Stream, ...]], now: float) -> None:
        for key, streams in wanted.items():
            if not any(stream.forbidden for stream in streams):
                self._forbidden.pop(key, None)
                continue
            if (before := self._forbidden.get(key)) is None:
                log.warning(
                    "a kind may not be watched: drift is found at the interval", extra={"kind": key[1]}
                )
            pause = min(FORBIDDEN_PAUSE, 4 * before.pause) if before else FIRST_FORBIDDEN_PAUSE
            self._forbidden[key] = Refusal(now, pause)

    def get(self, oid: ObjectId) -> Observed | None:
        """Give what is known of an object; None if it does not exist, has not our label, or its kind is not required."""
        return self._observations.get(oid)

    def store(self, kind: Kind, obj: Mapping[str, Any]) -> Observed:
        """Take the answer to a write of our own; gives what is known now, which the watch may have made newer."""
        oid = identity(kind.group, kind.kind, obj["metadata"])
        stream = self._stream_of(oid)
        seen_to = stream.seen if stream else 0 if self.unwatched(oid) else None
        return self._observations.written(oid, obj, seen_to)

    async def close(self) -> None:
        """Stop all watches."""
        for key in list(self._streams):
            await self._end(key)

    def _started(self, kind: Kind) -> tuple[Stream, ...]:
        key = (kind.group, kind.kind)
        if (streams := self._streams.get(key)) is not None:
            for stream in streams:
                stream.wake(kind)
            return streams
        scopes = self._namespaces if kind.namespaced and self._namespaces else (None,)
        self._streams[key] = tuple(Stream(self._cluster, self._observations, kind, scope) for scope in scopes)
        return self._streams[key]

    def _stream_of(self, oid: ObjectId) -> Stream | None:
        streams = self._streams.get((oid.group, oid.kind), ())
        return next((s for s in streams if s.namespace in (None, oid.namespace)), None)

    async def _end(self, key: tuple[str, str], *, keep: bool = False) -> None:
        streams = self._streams.pop(key, ())
        await asyncio.gather(*(stream.close() for stream in streams))
        if not keep:
            self._observations.drop(key)


class Stream:
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
        self._failures = 0
        self._woken = asyncio.Event()
        self._listed: asyncio.Future[ApiError | None] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run())

    @property
    def ended(self) -> bool:
        """Whether the first list failed, so that nothing is watched."""
        return self._task.done()

    async def listed(self) -> ApiError | None:
        """Wait until the kind was listed; gives the error if it could not be."""
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
                log.exception("a watch met something unexpected", extra={"kind": self._kind.resource})
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
            log.info("the watch works again", extra={"kind": self._kind.resource})
        self._gone, self.forbidden, self._failures = False, False, 0
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
            self._observations.deleted(self._identity(obj), int(obj["metadata"]["resourceVersion"]))
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
        self._gone = True
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
                "a watch fails again and again", extra={"kind": self._kind.resource, "error": str(error)}
            )

    async def _pause(self) -> None:
        growing = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(self._failures, 10))
        seconds = (GONE_PAUSE if self._gone else growing) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)
        self._woken.clear()
