"""Posts Kubernetes Events about Sources and Syncs in the background, without repetition.

These are core/v1 Events, as `kubectl describe` shows them. The same words within ten minutes increase the count of
the existing Event. A token bucket limits the Events of one object (as in client-go).
A warning about an object whose namespace is being deleted becomes one about the Namespace, in `default`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from setpoint.api.reasons import Reason
from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError, Fenced, classify
from setpoint.objects.kinds import Kind
from setpoint.runtime.metrics import Metrics

log = logging.getLogger(__name__)

REPEAT_SECONDS = 600.0
BURST = 25
REFILL_SECONDS = 12.0
MOST_QUEUED = 1000
MOST_KNOWN = 4096
LONGEST = 1000


@dataclass(frozen=True, slots=True)
class EventKey:
    """What was said: about which object (by uid), type, reason and message."""

    uid: str
    type: str
    reason: str
    message: str


@dataclass(slots=True)
class PostedEvent:
    """The Event that says it: where it is, how often it was said, when last (loop time)."""

    namespace: str
    name: str
    count: int
    last: float


class Recorder(Protocol):
    """Records Events; see `EventRecorder`."""

    def record(self, obj: Mapping[str, Any], type: str, reason: str, message: str) -> None:  # noqa: A002 - the API's word
        """Record an Event about an object."""


class EventRecorder:
    """Posts Events from a bounded queue."""

    def __init__(self, cluster: Cluster, metrics: Metrics) -> None:
        """Start the task that posts; needs a running loop."""
        self._cluster, self._metrics = cluster, metrics
        self._queue: asyncio.Queue[tuple[EventKey, dict[str, Any]]] = asyncio.Queue(MOST_QUEUED)
        self._known: OrderedDict[EventKey, PostedEvent] = OrderedDict()
        self._tokens: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._task = asyncio.create_task(self._run())

    def record(self, obj: Mapping[str, Any], type: str, reason: str, message: str) -> None:  # noqa: A002 - the API's word
        """Record an Event about an object; returns at once and never fails."""
        meta = obj["metadata"]
        text = _cut(message)
        said = EventKey(meta["uid"], type, reason, text)
        about = {
            "apiVersion": obj["apiVersion"],
            "kind": obj["kind"],
            "namespace": meta["namespace"],
            "name": meta["name"],
            "uid": meta["uid"],
            "resourceVersion": meta.get("resourceVersion", ""),
        }
        log.info(
            text, extra={"reason": reason, "object": f"{obj['kind']}/{meta['namespace']}/{meta['name']}"}
        )
        if not self._may(meta["uid"]) or self._queue.full():
            self._metrics.event_dropped()
            return
        self._queue.put_nowait((said, about))

    def _may(self, uid: str) -> bool:
        now = asyncio.get_running_loop().time()
        tokens, last = self._tokens.pop(uid, (float(BURST), now))
        tokens = min(float(BURST), tokens + (now - last) / REFILL_SECONDS)
        self._tokens[uid] = (tokens - 1 if tokens >= 1 else tokens, now)
        while len(self._tokens) > MOST_KNOWN:
            self._tokens.popitem(last=False)
        return tokens >= 1

    async def _run(self) -> None:
        while True:
            said, about = await self._queue.get()
            try:
                await self._post(said, about)
            except (ApiError, Fenced) as error:
                self._metrics.event_dropped()
                log.warning("cannot post an Event", extra={"error": str(error)})
            except Exception:  # whatever is wrong with one Event, those of all others are posted
                self._metrics.event_dropped()
                log.exception("posting an Event failed unexpectedly")
            finally:
                self._queue.task_done()

    async def _post(self, said: EventKey, about: dict[str, Any]) -> None:
        kind = self._cluster.kind("v1", "Event")
        if kind is None:
            return
        loop = asyncio.get_running_loop()
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        known = self._known.pop(said, None)
        if known is not None and loop.time() - known.last < REPEAT_SECONDS:
            known.count, known.last = known.count + 1, loop.time()
            changes: list[dict[str, Any]] = [
                {"op": "replace", "path": "/count", "value": known.count},
                {"op": "replace", "path": "/lastTimestamp", "value": at},
            ]
            try:
                await self._cluster.patch(kind, known.namespace, known.name, changes)
            except ApiError as error:
                if error.status != 404:
                    raise
            else:
                self._known[said] = known
                return
        namespace, name = await self._create(kind, said, about, at)
        self._known[said] = PostedEvent(namespace, name, 1, loop.time())
        self._forget(loop.time())

    def _forget(self, now: float) -> None:
        """Forget what was said so long ago that it would be said anew; the last used come last."""
        while self._known:
            said, posted = next(iter(self._known.items()))
            if len(self._known) <= MOST_KNOWN and now - posted.last < REPEAT_SECONDS:
                return
            del self._known[said]

    async def _create(self, kind: Kind, said: EventKey, about: dict[str, Any], at: str) -> tuple[str, str]:
        """Make a new Event; returns its namespace and name."""
        namespace, name = about["namespace"], f"{about['name'][:230]}.{secrets.token_hex(8)}"
        try:
            await self._cluster.create(kind, _event(said, about, (namespace, name), at))
        except ApiError as error:
            if said.type != "Warning" or classify(error) is not Reason.NamespaceTerminating:
                raise
        else:
            return namespace, name
        text = f"{about['kind']} {namespace}/{about['name']}: {said.message}"
        instead = {"apiVersion": "v1", "kind": "Namespace", "name": namespace}
        await self._cluster.create(
            kind, _event(replace(said, message=_cut(text)), instead, ("default", name), at)
        )
        return "default", name

    async def close(self) -> None:
        """Post what is queued, for two seconds at the most, and end."""
        try:
            await asyncio.wait_for(self._queue.join(), 2.0)
        except TimeoutError:
            log.warning("shutting down with %d Events not posted", self._queue.qsize())
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _event(said: EventKey, about: dict[str, Any], place: tuple[str, str], at: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": place[0], "name": place[1]},
        "involvedObject": about,
        "type": said.type,
        "reason": said.reason,
        "message": said.message,
        "count": 1,
        "firstTimestamp": at,
        "lastTimestamp": at,
        "source": {"component": "setpoint"},
        "reportingComponent": "setpoint",
        "reportingInstance": "setpoint",
    }
