"""Watches the pods of unhealthy workloads, of claims that wait for a pod, and of what left Git and may be in use (shell).

There is one watch for each namespace that has any of these. A rollout that ends within moments costs no request: the watch begins when a workload was not healthy for `GRACE`
seconds, and ends when it is. What is kept of a pod is `pod_states.PodState`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

from setpoint.health import claims
from setpoint.health.verdict import Verdict
from setpoint.kube.client import Cluster
from setpoint.objects.identity import ObjectId, SyncKey
from setpoint.plan.prune import NOBODY, Users
from setpoint.runtime.workqueue import WorkQueue
from setpoint.watch import pod_states
from setpoint.watch.follower import Follower
from setpoint.watch.users import NamespaceUsers, by_namespace
from setpoint.watch.wants import UserIndex, tell

GRACE = 2.0
Pods = dict[str, pod_states.PodState]
Mounts = dict[str, frozenset[str]]
"""By the uid of a pod the claims that it mounts; only of pods that mount some."""


class PodInformers:
    """Says what keeps the pods of workloads from running; wakes the Syncs that asked when that changes."""

    def __init__(self, cluster: Cluster, queue: WorkQueue[SyncKey]) -> None:
        """`queue` is that of the Syncs."""
        self._cluster, self._queue = cluster, queue
        self._wanted: dict[SyncKey, frozenset[ObjectId]] = {}
        self._kept: dict[SyncKey, frozenset[ObjectId]] = {}
        self._followers: dict[str, PodInformer] = {}
        self._users: dict[str, NamespaceUsers] = {}

    async def want(self, key: SyncKey, objects: Iterable[ObjectId], *, known: bool) -> None:
        """Set the workloads and claims whose pods a Sync asks about from now on.

        `known`: the status says already that they are stuck; after a restart nothing else is reported before they were read.
        """
        new = frozenset(objects)
        # Nothing is awaited before all is noted: other workers call this too.
        ended = self._note(self._wanted, key, new)
        listed = [self._followers[n].listed() for n in {oid.namespace for oid in new}] if known else []
        await asyncio.gather(*(f.close() for f in ended), *listed)

    async def users(self, key: SyncKey, objects: Mapping[ObjectId, ObjectId | None]) -> Users:
        """Return who uses objects; the users that are given with them are believed where pods may not be read.

        `keep` must follow, with what stays. Raises ApiError if it cannot be found out.
        """
        self._note(self._kept, key, self._kept.get(key, frozenset()) | objects.keys())
        asked = by_namespace(objects)
        each = [self._users[n].of({o: objects[o] for o in found}) for n, found in asked.items()]
        told = await asyncio.gather(*each)
        found = {oid: user for users in told for oid, user in users.found.items()}
        return Users(found, NOBODY.union(*(users.unknown for users in told)))

    async def keep(self, key: SyncKey, objects: Iterable[ObjectId]) -> None:
        """Wake a Sync from now on when the user that was named of one of these objects is none any more."""
        new = frozenset(objects)
        ended = self._note(self._kept, key, new)
        for namespace in by_namespace(new):
            self._users[namespace].follow()
        await asyncio.gather(*(e.close() for e in ended))

    def _note(
        self, table: dict[SyncKey, frozenset[ObjectId]], key: SyncKey, new: frozenset[ObjectId]
    ) -> list[PodInformer | NamespaceUsers]:
        """Note what a Sync asks about, begin to follow what nobody asked about before; returns what is to end."""
        if new == table.get(key, frozenset()):
            return []
        table.pop(key, None)
        if new:
            table[key] = new
        kept = {oid.namespace for oids in self._kept.values() for oid in oids}
        wanted = kept | {oid.namespace for oids in self._wanted.values() for oid in oids}
        for namespace in wanted - set(self._followers):
            self._followers[namespace] = PodInformer(self._cluster, namespace, self._changed)
        for namespace in kept - set(self._users):
            pods = self._followers[namespace]
            self._users[namespace] = NamespaceUsers(self._cluster, namespace, pods, self._changed)
        ended = [self._users.pop(n) for n in set(self._users) - kept]
        return [*ended, *(self._followers.pop(n) for n in set(self._followers) - wanted)]

    def verdict(self, oid: ObjectId) -> Verdict | None:
        """Return what keeps the pods of a workload from running, as far as it is known."""
        follower = self._followers.get(oid.namespace)
        return follower.verdict(oid) if follower else None

    def mounted(self, claim: ObjectId) -> bool | None:
        """Return whether a pod that is not finished mounts a claim; None if nobody asked about it, or pods may not be read."""
        follower = self._followers.get(claim.namespace)
        return follower.mounted(claim.name) if follower else None

    async def close(self) -> None:
        """Stop all watches."""
        ended: list[PodInformer | NamespaceUsers] = [*self._users.values(), *self._followers.values()]
        self._users, self._followers, self._wanted, self._kept = {}, {}, {}, {}
        await asyncio.gather(*(e.close() for e in ended))

    def _changed(self, oid: ObjectId) -> None:
        for table in (self._wanted, self._kept):
            for key, wanted in table.items():
                if oid in wanted:
                    self._queue.add(key)


class PodInformer(Follower):
    """One list and watch of the pods of a namespace."""

    grace = GRACE

    def __init__(self, cluster: Cluster, namespace: str, changed: Callable[[ObjectId], None]) -> None:
        self._changed = changed
        self._workloads: dict[ObjectId, Pods] = {}
        self._mounts: Mounts = {}
        self.index = UserIndex("Pod")
        super().__init__(cluster, "v1", "Pod", namespace)

    def verdict(self, oid: ObjectId) -> Verdict | None:
        """Return what keeps the pods of a workload from running."""
        return pod_states.verdict_of(self._workloads.get(oid, {}).values())

    def mounted(self, claim: str) -> bool | None:
        """Return whether a pod mounts a claim; None if pods were not read."""
        return any(claim in names for names in self._mounts.values()) if self.known else None

    async def _relist(self, pages: AsyncIterator[tuple[list[dict[str, Any]], str]]) -> str:
        before, after, version = self._workloads, dict[ObjectId, Pods](), ""
        mounts: Mounts = {}
        index = UserIndex("Pod", self.index.about)
        async for page, version in pages:  # noqa: B007 - that of the last page counts
            for pod in page:
                _take(after, pod, before)
                _mount(mounts, pod)
                index.take(pod)
        former, self._mounts = self._mounts, mounts
        self.index, used = index, self.index
        self._workloads = after
        for oid in before.keys() | after.keys():
            if pod_states.verdict_of(before.get(oid, {}).values()) != self.verdict(oid):
                self._changed(oid)
        self._tell(frozenset().union(*former.values()) ^ frozenset().union(*mounts.values()))
        tell(self._changed, self._namespace, index.lost(used))
        return version

    def _event(self, event: str, pod: Mapping[str, Any]) -> None:
        uid = pod["metadata"]["uid"]
        before = self._mounts.get(uid, frozenset())
        _mount(self._mounts, pod, gone=event == "DELETED")
        tell(self._changed, self._namespace, self.index.take(pod, gone=event == "DELETED"))
        self._tell(before ^ self._mounts.get(uid, frozenset()))
        if (oid := pod_states.workload_of(pod)) is None:
            return
        said = self.verdict(oid)
        if event == "DELETED":
            self._workloads.get(oid, {}).pop(uid, None)
        else:
            _take(self._workloads, pod, self._workloads)
        if said != self.verdict(oid):
            self._changed(oid)

    def _tell(self, names: Iterable[str]) -> None:
        for name in names:
            self._changed(ObjectId(*claims.KIND, self._namespace or "", name))


def _mount(mounts: Mounts, pod: Mapping[str, Any], *, gone: bool = False) -> None:
    """Note which claims a pod mounts."""
    uid, names = pod["metadata"]["uid"], frozenset[str]() if gone else pod_states.mounts(pod)
    mounts.pop(uid, None)
    if names:
        mounts[uid] = names


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
