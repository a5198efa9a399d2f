"""Leader election on a Lease (coordination.k8s.io/v1), with fencing (shell).

A takeover waits until the record did not change for a full lease by our own clock; it never trusts another's clock. Waiting
processes watch the record, so a released lease passes on at once.
A forced apply always wins, so a stale leader must be kept from writing: every write asks the fence first, and
no request outlives it. The fence counts from before the renewal was sent, so it closes before others' wait ends.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError, Fenced
from setpoint.objects.kinds import Kind

log = logging.getLogger(__name__)

SAFE_SHARE = 0.8
"""The share of a lease after which its holder stops writing."""

CLOCK_STEP = 0.01
"""Seconds by which a timer may be early."""

Spec = dict[str, Any]


def uptime() -> float:
    """Return seconds on a clock that also counts while the machine sleeps, if it has one."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class LeaseFence:
    """Lets writes through only while the lease is surely held; closed at first."""

    def __init__(self, clock: Callable[[], float] = uptime) -> None:
        self._clock = clock
        self.deadline = -math.inf

    def __call__(self) -> None:
        """Raise Fenced if the lease may have passed to another."""
        if self.remaining() <= 0:
            raise Fenced("the lease is not held any more; nothing was sent")

    def remaining(self) -> float:
        """Return the seconds for which writes are safe, unless renewed; never more than a lease, 0 or less if none."""
        return self.deadline - self._clock()


@dataclass(frozen=True, slots=True)
class Record:
    """A Lease as read or written: its resourceVersion and spec."""

    version: str
    spec: Spec

    @property
    def holder(self) -> str:
        """Who holds it, "" if nobody does."""
        return self.spec.get("holderIdentity") or ""


class LeaderElection:
    """One Lease, held by at most one process at a time.

    `acquire` waits for it and renews it in the background; `lost` is set when that failed; `release` gives it up.
    """

    def __init__(
        self,
        namespace: str,
        name: str,
        holder: str,
        duration: float,
        *,
        clock: Callable[[], float] = uptime,
    ) -> None:
        """`holder` must be unique to this process; `duration` is in seconds, renewed each third of it."""
        self.namespace, self.name, self.holder, self.duration = namespace, name, holder, duration
        self.fence = LeaseFence(clock)
        self.lost = asyncio.Event()
        self._clock = clock
        self._renewal: asyncio.Task[None] | None = None
        self._record: Record | None = None
        self._since = 0.0
        self._began = self._answered = -math.inf

    def reachable(self) -> bool:
        """Return whether the API server told of the lease lately: who waits could take over.

        A waiting process watches the record, and asks for it when a lease went by without a change.
        """
        return self._clock() - self._answered <= 2 * self.duration

    async def acquire(self, cluster: Cluster) -> None:
        """Wait until the lease is held; then keep renewing it in the background."""
        free = cluster.fenced(None)
        while not await self._tried(free):
            await self._chance(free)
        log.info(
            "acquired the lease", extra={"lease": f"{self.namespace}/{self.name}", "holder": self.holder}
        )
        self.lost.clear()
        self._renewal = asyncio.create_task(self._renew(cluster.fenced(self.fence)))

    async def release(self, cluster: Cluster) -> None:
        """Stop writing and give the lease up, so that a standby takes over at once; never raises ApiError."""
        if self._renewal is None:
            return
        self._renewal.cancel()
        await asyncio.gather(self._renewal, return_exceptions=True)
        self._renewal = None
        held = self.fence.remaining() > 0
        self.fence.deadline = -math.inf
        if not held or self._record is None:
            return
        try:
            await self._given_up(cluster.fenced(None), self._record)
        except ApiError as error:
            log.warning(
                "cannot release the lease; other processes wait until it expires", extra={"error": str(error)}
            )

    async def _given_up(self, cluster: Cluster, record: Record) -> None:
        """Remove our name from the record, even if it is newer than we know: the answer to a renewal may be lost."""
        now: Record | None = record
        while now is not None and now.holder == self.holder:
            if await self._write(cluster, now, {**now.spec, "holderIdentity": ""}):
                return
            now = await self._read(cluster)

    async def _chance(self, cluster: Cluster) -> None:
        """Return when the record has become nobody's, or a lease went by without a change of it.

        Also after a while when it cannot be watched, so that it is asked for then.
        """
        try:
            async with asyncio.timeout(self._left()) as limit:
                if self._record is not None and await self._freed(cluster, self._record.version, limit):
                    return
        except TimeoutError:
            return
        except ApiError as error:
            log.info("cannot watch the lease; asking for it instead", extra={"error": str(error)})
        await asyncio.sleep(self.duration / 6 * random.uniform(0.8, 1.2))  # noqa: S311 - jitter

    async def _freed(self, cluster: Cluster, version: str, limit: asyncio.Timeout) -> bool:
        """Follow the record; True once it is nobody's or gone, False when the stream ends."""
        kind = _kind(cluster)
        stream = cluster.watch(kind, resource_version=version, namespace=self.namespace, name=self.name)
        async with aclosing(stream) as events:
            async for event, found in events:
                self._answered = self._clock()
                if event == "DELETED" or (event != "BOOKMARK" and self._free(_record(found))):
                    return True
                limit.reschedule(asyncio.get_running_loop().time() + self._left())
        return False

    def _left(self) -> float:
        """Return the seconds after which the record, unless it changes, counts as free; a bit more than that."""
        lasts = self._lasts(self._record) if self._record else self.duration
        return max(0.0, self._since + lasts - self._clock()) + CLOCK_STEP

    async def _renew(self, cluster: Cluster) -> None:
        """Renew each third of a lease. An attempt without an answer gets another beside it, over a new connection."""
        under_way: set[asyncio.Task[bool]] = set()
        due = self._began + self.duration / 3
        try:
            while self._record is None or self._record.holder == self.holder:
                await asyncio.sleep(max(0.0, min(due - self._clock(), self.fence.remaining())))
                self.fence()
                if under_way:
                    cluster.reconnect()
                under_way.add(asyncio.create_task(self._attempt(cluster)))
                done, under_way = await asyncio.wait(
                    under_way, timeout=self.duration / 5, return_when=asyncio.FIRST_COMPLETED
                )
                won = [task.result() for task in done]
                if any(won):
                    await _cancel(under_way)
                    due = self._began + self.duration / 3
                else:
                    due = self._clock() + (self.duration / 15 if done else 0.0)
        except Fenced:
            log.warning("the lease was not renewed in time")
        except Exception:
            # Whatever it is: who cannot renew must end, or it would do nothing for ever and say so to nobody.
            log.exception("renewing the lease failed unexpectedly")
        finally:
            await _cancel(under_way)
        self.fence.deadline = -math.inf
        self.lost.set()

    async def _tried(self, cluster: Cluster) -> bool:
        """Try to take it; an attempt without an answer gets another beside it, over a new connection.

        A server that was away answers what comes then, and may never answer what it was asked before.
        """
        under_way: set[asyncio.Task[bool]] = set()
        try:
            while True:
                under_way.add(asyncio.create_task(self._attempt(cluster)))
                done, under_way = await asyncio.wait(
                    under_way, timeout=self.duration / 2, return_when=asyncio.FIRST_COMPLETED
                )
                won = [task.result() for task in done]
                if won:
                    return any(won)
                cluster.reconnect()
        finally:
            await _cancel(under_way)

    async def _attempt(self, cluster: Cluster) -> bool:
        """Take or renew the lease once; False if another holds it or the API server does not answer."""
        try:
            won = await self._take(cluster)
        except ApiError as error:
            log.warning("cannot acquire or renew the lease; retrying", extra={"error": str(error)})
            return False
        self._answered = self._clock()
        return won

    async def _take(self, cluster: Cluster) -> bool:
        """Write ourselves into the record if we may; one PATCH if it is as we left it, else what it is now decides."""
        known = self._record
        if known is not None and known.holder == self.holder and await self._won(cluster, known):
            return True
        asked = self._clock()
        found = await self._read(cluster)
        if self._began > asked:
            return True  # an attempt beside this one has won meanwhile: what was read may be older
        if found is not None:
            return self._free(found) and await self._won(cluster, found)
        # Somebody deleted it: whoever held it may still write for as long as it would have lasted.
        return (known is None or self._free(Record("", known.spec))) and await self._created(cluster)

    def _free(self, found: Record) -> bool:
        """Return whether the record is ours, nobody's, or unchanged for a full lease by our own clock."""
        now = self._clock()
        if self._record is None or self._record.version != found.version:
            self._record, self._since = found, now
        return found.holder in ("", self.holder) or now - self._since > self._lasts(found)

    def _lasts(self, record: Record) -> float:
        return float(record.spec.get("leaseDurationSeconds") or self.duration)

    async def _read(self, cluster: Cluster) -> Record | None:
        found = await cluster.get(_kind(cluster), self.namespace, self.name)
        return _record(found) if found else None

    async def _won(self, cluster: Cluster, record: Record) -> bool:
        now = _now()
        spec = {
            **record.spec,
            "holderIdentity": self.holder,
            "leaseDurationSeconds": math.ceil(self.duration),
            "renewTime": now,
        }
        if record.holder != self.holder:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = int(record.spec.get("leaseTransitions") or 0) + 1
        return await self._write(cluster, record, spec)

    async def _write(self, cluster: Cluster, record: Record, spec: Spec) -> bool:
        """Write a spec unless the record changed meanwhile; tells whether it was written."""
        operations: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": record.version},
            {"op": "add", "path": "/spec", "value": spec},
        ]
        sent = self._clock()
        try:
            answer = await cluster.patch(_kind(cluster), self.namespace, self.name, operations)
        except ApiError as error:
            if error.status in (404, 409, 422):
                return False
            raise
        self._record = _record(answer)
        self._since = self._clock()
        self._held(sent)
        return True

    async def _created(self, cluster: Cluster) -> bool:
        now = _now()
        manifest = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self.name, "namespace": self.namespace},
            "spec": {
                "holderIdentity": self.holder,
                "leaseDurationSeconds": math.ceil(self.duration),
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": 0,
            },
        }
        sent = self._clock()
        try:
            answer = await cluster.create(_kind(cluster), manifest)
        except ApiError as error:
            if error.status == 409:
                return False
            raise
        self._record = _record(answer)
        self._held(sent)
        return True

    def _held(self, sent: float) -> None:
        """Note since when the lease is ours at least: others wait from when the server had what was sent then."""
        if self._record is not None and self._record.holder == self.holder:
            self._began = max(self._began, sent)
            self.fence.deadline = self._began + self.duration * SAFE_SHARE


async def _cancel(tasks: set[asyncio.Task[bool]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    tasks.clear()


def _record(found: dict[str, Any]) -> Record:
    return Record(found["metadata"]["resourceVersion"], found.get("spec") or {})


def _kind(cluster: Cluster) -> Kind:
    kind = cluster.kind("coordination.k8s.io/v1", "Lease")
    if kind is None:
        raise ApiError(0, "NotServed", "the API server serves no Leases")
    return kind


def _now() -> str:
    """Return the time as `MicroTime` of the API: for people, nobody decides by it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
