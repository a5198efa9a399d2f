"""Removes objects in the order of deletion, and says what is still there (shell).

Nothing waits: a step whose objects are still terminating ends the run, and the watch event of the last of
them starts the next one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from setpoint import names
from setpoint.adoption import is_ours
from setpoint.cluster import Cluster
from setpoint.cluster_errors import ApiError, problem_of
from setpoint.objects import ObjectId, SyncKey
from setpoint.order import deletion_steps
from setpoint.reasons import Problem, Reason
from setpoint.serving import asked_anew, kind_served


@dataclass(slots=True)
class Removed:
    """What became of each object: `deleted` now, `gone` (or not ours, with why), `pending`, `failed`."""

    deleted: list[ObjectId] = field(default_factory=list)
    gone: dict[ObjectId, str] = field(default_factory=dict)
    pending: dict[ObjectId, str] = field(default_factory=dict)
    failed: dict[ObjectId, Problem] = field(default_factory=dict)

    @property
    def left(self) -> set[ObjectId]:
        """What must stay in the inventory."""
        return set(self.pending) | set(self.failed)


class Remover:
    """Deletes objects that name a Sync as their owner, on its behalf."""

    def __init__(self, cluster: Cluster, limit: asyncio.Semaphore, key: SyncKey, user: str) -> None:
        """`limit` bounds the requests of all Syncs together."""
        self._cluster, self._limit, self._key, self.user = cluster, limit, key, user

    async def remove(self, objects: Iterable[ObjectId]) -> Removed:
        """Delete objects step by step; stops after the first step that is not gone at once."""
        result = Removed()
        steps = deletion_steps(every := list(objects))
        await asked_anew(self._cluster, every)
        for index, step in enumerate(steps):
            await asyncio.gather(*(self._one(oid, result) for oid in step))
            if result.left:
                rest = [oid for later in steps[index + 1 :] for oid in later]
                first = min(result.left)
                result.pending |= dict.fromkeys(rest, f"waits until {first.label()} is gone")
                break
        if any(p.reason is Reason.KindUnknown for p in result.failed.values()):
            with contextlib.suppress(ApiError):  # the next try asks again; what was done is told first
                await self._cluster.discover()
        return result

    async def _one(self, oid: ObjectId, result: Removed) -> None:
        async with self._limit:
            try:
                await self._delete(oid, result)
            except ApiError as error:
                result.failed[oid] = problem_of(error, oid, "delete")

    async def _delete(self, oid: ObjectId, result: Removed) -> None:
        kind = kind_served(self._cluster, oid)
        live = await self._cluster.get(kind, oid.namespace, oid.name, user=self.user) if kind else None
        if kind is None or live is None:
            result.gone[oid] = "is gone"
            return
        meta: Mapping[str, object] = live["metadata"]
        annotations = live["metadata"].get("annotations") or {}
        if not is_ours(live, oid, self._key):
            result.gone[oid] = "does not name this Sync"
        elif annotations.get(names.ANNOTATION_PRUNE) == "never":
            result.gone[oid] = "stays, as it may not be pruned"
        elif "deletionTimestamp" in meta:
            result.pending[oid] = _terminating(live["metadata"].get("finalizers") or [])
        else:
            if await self._cluster.delete(
                kind, oid.namespace, oid.name, uid=str(meta["uid"]), user=self.user
            ):
                result.deleted.append(oid)
            # Finalizers and grace periods keep it for a while; most objects are gone at once.
            rest = await self._cluster.get(kind, oid.namespace, oid.name, user=self.user)
            if rest is None or rest["metadata"]["uid"] != meta["uid"]:
                result.gone[oid] = "deleted"
            else:
                result.pending[oid] = _terminating(rest["metadata"].get("finalizers") or [])


def _terminating(finalizers: list[str]) -> str:
    return (
        f"is being deleted, waits for finalizers {', '.join(finalizers)}"
        if finalizers
        else "is being deleted"
    )
