"""One list and watch for each kind that a Sync manages (shell).

It keeps only what `objects.observed` extracts from an object. Kinds that are always healthy, such as Secrets, are
watched as metadata, so no value of a Secret enters the process. `Observations` keeps the objects, `Stream` feeds it, `Informers` is the interface.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from setpoint.kube.client import Cluster
from setpoint.objects.identity import ObjectId
from setpoint.objects.kinds import Kind
from setpoint.objects.observed import Observed
from setpoint.runtime.lru import Lru
from setpoint.watch.observations import LiveChange, Observations, identity
from setpoint.watch.stream import FORBIDDEN, Informer, log

# Rights change rarely, but an API server that has just started knows none yet: a kind that may not be watched is asked
# for again soon, and then ever later.
FIRST_FORBIDDEN_PAUSE = 5.0
FORBIDDEN_PAUSE = 300.0
MOST_LOOKS = 20_000
"""Of so many objects that may not be watched it is remembered when somebody looked; of the others somebody looks again."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """When a kind was refused, and for how many seconds it is not asked for again."""

    at: float
    pause: float


class Informers:
    """The live objects that carry our label. `on_change` is called for each change that matters, on the event loop."""

    def __init__(
        self,
        cluster: Cluster,
        people: frozenset[str],
        on_change: Callable[[LiveChange], None],
        namespaces: tuple[str, ...] = (),
    ) -> None:
        """Watch all namespaces, or only those named; `people` are managers that count as people besides kubectl."""
        self._cluster, self._namespaces = cluster, namespaces
        self._observations = Observations(people, on_change)
        self._streams: dict[tuple[str, str], tuple[Informer, ...]] = {}
        self._forbidden: dict[tuple[str, str], Refusal] = {}
        self._absent = Lru[ObjectId, bool](MOST_LOOKS)
        self._alive = Lru[ObjectId, int](MOST_LOOKS)

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
        """Return whether an object's kind may not be watched: then nobody tells us when it changes."""
        return (oid.group, oid.kind) in self._forbidden

    def _rests(self, kind: Kind, now: float) -> bool:
        """Return whether a kind was refused so lately that it is not asked for again."""
        refused = self._forbidden.get((kind.group, kind.kind))
        return refused is not None and now - refused.at < refused.pause

    def again(self, kinds: Iterable[Kind]) -> float | None:
        """Return the seconds after which to `require` kinds again that were refused lately, as long as that may be a passing thing."""
        found = [r for k in kinds if (r := self._forbidden.get((k.group, k.kind)))]
        now = asyncio.get_running_loop().time()
        return min((r.at + r.pause - now for r in found if r.pause < FORBIDDEN_PAUSE), default=None)

    def _note_forbidden(self, wanted: Mapping[tuple[str, str], tuple[Informer, ...]], now: float) -> None:
        for key, streams in wanted.items():
            if not any(stream.forbidden for stream in streams):
                self._forbidden.pop(key, None)
                continue
            if (before := self._forbidden.get(key)) is None:
                log.warning(
                    "not allowed to watch a kind; its drift is only found at the interval",
                    extra={"kind": key[1]},
                )
            pause = min(FORBIDDEN_PAUSE, 4 * before.pause) if before else FIRST_FORBIDDEN_PAUSE
            self._forbidden[key] = Refusal(now, pause)

    def get(self, oid: ObjectId) -> Observed | None:
        """Return what is known of an object; None if it does not exist, has not our label, or its kind is not required."""
        return self._observations.get(oid)

    def store(self, kind: Kind, obj: Mapping[str, Any]) -> Observed:
        """Take the answer to a write of our own; returns what is known now, which the watch may have made newer."""
        oid = identity(kind.group, kind.kind, obj["metadata"])
        if self.unwatched(oid):
            self._absent.drop(oid)
            self._alive.put(oid, int(datetime.now(UTC).timestamp()))
        stream = self._stream_of(oid)
        seen_to = stream.seen if stream else 0 if self.unwatched(oid) else None
        return self._observations.written(oid, obj, seen_to)

    def missing(self, oid: ObjectId) -> None:
        """Take that an object was looked for and is not there. Where its kind is watched, the watch tells that, and how it went."""
        if self.unwatched(oid):
            self._absent.put(oid, value=True)
            self._observations.missing(oid, self._alive.get(oid))

    def knows(self, oid: ObjectId) -> bool:
        """Return whether an object that `get` does not have is not there: its kind is listed, or somebody looked for it."""
        if self.unwatched(oid):
            return bool(self._absent.get(oid))
        stream = self._stream_of(oid)
        return stream is not None and stream.complete

    async def close(self) -> None:
        """Stop all watches."""
        for key in list(self._streams):
            await self._end(key)

    def _started(self, kind: Kind) -> tuple[Informer, ...]:
        key = (kind.group, kind.kind)
        if (streams := self._streams.get(key)) is not None:
            for stream in streams:
                stream.wake(kind)
            return streams
        scopes = self._namespaces if kind.namespaced and self._namespaces else (None,)
        self._streams[key] = tuple(
            Informer(self._cluster, self._observations, kind, scope) for scope in scopes
        )
        return self._streams[key]

    def _stream_of(self, oid: ObjectId) -> Informer | None:
        streams = self._streams.get((oid.group, oid.kind), ())
        return next((s for s in streams if s.namespace in (None, oid.namespace)), None)

    async def _end(self, key: tuple[str, str], *, keep: bool = False) -> None:
        streams = self._streams.pop(key, ())
        await asyncio.gather(*(stream.close() for stream in streams))
        if not keep:
            self._observations.drop(key)
