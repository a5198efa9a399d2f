"""Watches the pods of unhealthy workloads, one watch for each namespace that has any (shell).

A rollout that ends within moments costs no request: the watch begins when a workload was not healthy for `GRACE`
seconds, and ends when it is. What is kept of a pod is `pod_states.PodState`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any

from setpoint.health.verdict import Verdict
from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError
from setpoint.kube.requests import Selection
from setpoint.objects.identity import ObjectId, SyncKey
from setpoint.runtime.workqueue import WorkQueue
from setpoint.watch import pod_states

log = logging.getLogger(__name__)

GRACE = 2.0
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 60.0
FORBIDDEN = 403
# Rights change rarely, as with any kind that may not be watched.
FORBIDDEN_PAUSE = 300.0
GONE = 410
Pods = dict[str, pod_states.PodState]


class PodInformers:
    """Says what keeps the pods of workloads from running; wakes the Syncs that asked when that changes."""

    def __init__(self, cluster: Cluster, queue: WorkQueue[SyncKey]) -> None:
        """`queue` is that of the Syncs."""
        self._cluster, self._queue = cluster, queue
        self._wanted: dict[SyncKey, frozenset[ObjectId]] = {}
        self._followers: dict[str, PodInformer] = {}

    async def want(self, key: SyncKey, workloads: Iterable[ObjectId], *, known: bool) -> None:
        """Set whose pods a Sync asks about from now on.

        `known`: the status says already that they are stuck; after a restart nothing else is reported before they were read.
        """
        new = frozenset(workloads)
        # Nothing is awaited before all is noted: other workers call this too.
        ended = self._note(key, new) if new != self._wanted.get(key, frozenset()) else []
        listed = [self._followers[n].listed() for n in {oid.namespace for oid in new}] if known else []
        await asyncio.gather(*(f.close() for f in ended), *listed)

    def _note(self, key: SyncKey, new: frozenset[ObjectId]) -> list[PodInformer]:
        """Note what a Sync asks about, begin to follow what nobody asked about before; returns the followers to end."""
        self._wanted.pop(key, None)
        if new:
            self._wanted[key] = new
        wanted = {oid.namespace for oids in self._wanted.values() for oid in oids}
        for namespace in wanted - set(self._followers):
            self._followers[namespace] = PodInformer(self._cluster, namespace, self._changed)
        return [self._followers.pop(n) for n in set(self._followers) - wanted]

    def verdict(self, oid: ObjectId) -> Verdict | None:
        """Return what keeps the pods of a workload from running, as far as it is known."""
        follower = self._followers.get(oid.namespace)
        return follower.verdict(oid) if follower else None

    async def close(self) -> None:
        """Stop all watches."""
        followers, self._followers = list(self._followers.values()), {}
        self._wanted.clear()
        await asyncio.gather(*(f.close() for f in followers))

    def _changed(self, oid: ObjectId) -> None:
        for key, wanted in self._wanted.items():
            if oid in wanted:
                self._queue.add(key)


class PodInformer:
    """One list and watch of the pods of a namespace, tried for ever."""

    def __init__(self, cluster: Cluster, namespace: str, changed: Callable[[ObjectId], None]) -> None:
        self._cluster, self._namespace, self._changed = cluster, namespace, changed
        self._workloads: dict[ObjectId, Pods] = {}
        self._version = ""
        self._now, self._first = asyncio.Event(), asyncio.Event()
        self._task = asyncio.create_task(self._run())

    def verdict(self, oid: ObjectId) -> Verdict | None:
        """Return what keeps the pods of a workload from running."""
        return pod_states.verdict_of(self._workloads.get(oid, {}).values())

    async def listed(self) -> None:
        """Begin at once, and wait for the end of the first list, or of the try."""
        self._now.set()
        await self._first.wait()

    async def close(self) -> None:
        """Stop."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._first.set()

    async def _run(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._now.wait(), GRACE)
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
                pause = FORBIDDEN_PAUSE if error.status == FORBIDDEN else min(LONGEST_PAUSE, pause * 2)
                log.debug(
                    "cannot watch pods; retrying", extra={"where": self._namespace, "error": str(error)}
                )
            except Exception:
                # A pod that cannot be read must not end this for ever.
                log.exception("the watch of pods failed unexpectedly; retrying")
                self._version, pause = "", min(LONGEST_PAUSE, pause * 2)
            self._first.set()
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    def _selection(self) -> Selection:
        kind = self._cluster.kind("v1", "Pod")
        if kind is None:
            raise ApiError(404, "NotFound", "pods are not served")
        return Selection(kind, self._namespace)

    async def _list(self) -> None:
        before, after, version = self._workloads, dict[ObjectId, Pods](), ""
        async with aclosing(self._cluster.pages(self._selection())) as pages:
            async for page, of_version in pages:
                version = of_version
                for pod in page:
                    _take(after, pod, before)
        self._workloads, self._version = after, version
        for oid in before.keys() | after.keys():
            if pod_states.verdict_of(before.get(oid, {}).values()) != self.verdict(oid):
                self._changed(oid)
        self._first.set()

    async def _watch(self) -> None:
        what = self._selection()
        stream = self._cluster.watch(what.kind, resource_version=self._version, namespace=what.namespace)
        async with aclosing(stream) as events:
            async for event, pod in events:
                self._event(event, pod)
                self._version = pod["metadata"]["resourceVersion"]

    def _event(self, event: str, pod: Mapping[str, Any]) -> None:
        oid = pod_states.workload_of(pod)
        if oid is None or event == "BOOKMARK":
            return
        before = self.verdict(oid)
        if event == "DELETED":
            self._workloads.get(oid, {}).pop(pod["metadata"]["uid"], None)
        else:
            _take(self._workloads, pod, self._workloads)
        if before != self.verdict(oid):
            self._changed(oid)


def _take(workloads: dict[ObjectId, Pods], pod: Mapping[str, Any], known: Mapping[ObjectId, Pods]) -> None:
    """Note the state of a pod, after what was known of it."""
    oid, uid = pod_states.workload_of(pod), pod["metadata"]["uid"]
    if oid is None:
        return
    state = pod_states.state_of(pod, known.get(oid, {}).get(uid))
    pods = workloads.setdefault(oid, {})
    pods.pop(uid, None)
    if state is not None:
        pods[uid] = state
    if not pods:
        del workloads[oid]
