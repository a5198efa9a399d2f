"""Deletes objects in the order of deletion, and reports what is still there (shell).

Nothing waits: a step whose objects are still terminating ends the run, and the watch event of the last of them
starts the next run.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from setpoint.api import names
from setpoint.api.reasons import Problem, Reason
from setpoint.kube.absence import asked_anew, kind_served
from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError
from setpoint.kube.explain import problem_of
from setpoint.objects.identity import Manifest, ObjectId, SyncKey
from setpoint.objects.kinds import Kind
from setpoint.plan.adoption import is_ours
from setpoint.plan.marks import marking, unowned
from setpoint.plan.nested import Nested, is_sync
from setpoint.plan.order import deletion_steps
from setpoint.plan.prune import NO_SYNCS, PROTECTED, left_behind

MOVED = "changed meanwhile; it is checked again"


@dataclass(slots=True)
class DeleteResult:
    """What became of each object: `deleted` now, `gone` (or not ours, with why), `pending`, `failed`."""

    deleted: list[ObjectId] = field(default_factory=list)
    gone: dict[ObjectId, str] = field(default_factory=dict)
    pending: dict[ObjectId, str] = field(default_factory=dict)
    failed: dict[ObjectId, Problem] = field(default_factory=dict)
    moved: bool = False
    """Whether something was not as it had been looked at: no event tells when to look again."""

    @property
    def left(self) -> set[ObjectId]:
        """What must stay in the inventory."""
        return set(self.pending) | set(self.failed)


class Deleter:
    """Deletes objects that name a Sync as their owner, on its behalf."""

    def __init__(
        self, cluster: Cluster, limit: asyncio.Semaphore, key: SyncKey, user: str, *, by_commit: bool = False
    ) -> None:
        """`limit` bounds the requests of all Syncs together; `by_commit`: whether what goes does so by a commit."""
        self._cluster, self._limit, self._key, self.user = cluster, limit, key, user
        self.by_commit = by_commit

    async def remove(
        self, objects: Iterable[ObjectId], nested: Mapping[ObjectId, Nested] = NO_SYNCS
    ) -> DeleteResult:
        """Delete objects step by step; stops after the first step that is not gone at once.

        What `nested` tells of goes only as it was told.
        """
        result = DeleteResult()
        steps = deletion_steps(every := list(objects))
        await asked_anew(self._cluster, every)
        for index, step in enumerate(steps):
            await asyncio.gather(*(self._one(oid, result, nested.get(oid)) for oid in step))
            if result.left:
                rest = [oid for later in steps[index + 1 :] for oid in later]
                first = min(result.left)
                result.pending |= dict.fromkeys(rest, f"waits until {first.label()} is gone")
                break
        if any(p.reason is Reason.KindUnknown for p in result.failed.values()):
            with contextlib.suppress(ApiError):  # the next try asks again; what was done is told first
                await self._cluster.discover()
        return result

    async def leave(
        self, objects: Iterable[ObjectId], lent: Iterable[ObjectId], nested: Mapping[ObjectId, Nested]
    ) -> DeleteResult:
        """Take our marks off what stays when a Sync goes by a commit: `gone`, or `failed` and the rest not tried."""
        result, found = DeleteResult(), {}
        every = [o for o in objects if (o.group, o.kind) in PROTECTED]
        await asked_anew(self._cluster, every)
        for oid in sorted(every):
            try:
                if (seen := await self._own(oid)) is not None:
                    found[oid] = seen
            except ApiError as error:
                result.failed[oid] = problem_of(error, oid, "read")
        if result.failed:
            return result
        candidates = {o: obj["metadata"]["annotations"] for o, (_, obj) in found.items()}
        for oid in left_behind(candidates, lent, nested):
            kind, obj = found[oid]
            try:
                await self._patch(kind, oid, unowned(obj))
            except ApiError as error:
                result.failed[oid] = problem_of(error, oid, "patch")
                return result
            result.gone[oid] = "stays, as a commit dropped its Sync"
        return result

    async def _own(self, oid: ObjectId) -> tuple[Kind, Manifest] | None:
        """Read an object that is this Sync's and not on its way out."""
        async with self._limit:
            kind = kind_served(self._cluster, oid)
            obj = await self._cluster.get(kind, oid.namespace, oid.name, user=self.user) if kind else None
        if kind is None or obj is None or not is_ours(obj, oid, self._key):
            return None
        return None if "deletionTimestamp" in obj["metadata"] else (kind, obj)

    async def _patch(self, kind: Kind, oid: ObjectId, operations: list[dict[str, object]]) -> Manifest:
        async with self._limit:
            return await self._cluster.patch(kind, oid.namespace, oid.name, operations, user=self.user)

    async def _one(self, oid: ObjectId, result: DeleteResult, nested: Nested | None) -> None:
        async with self._limit:
            try:
                await self._delete(oid, result, nested)
            except ApiError as error:
                if is_sync(oid) and error.status in (409, 422):
                    result.pending[oid], result.moved = MOVED, True
                else:
                    result.failed[oid] = problem_of(error, oid, "delete")

    async def _marked(self, kind: Kind, oid: ObjectId, live: Manifest, nested: Nested | None) -> str:
        """Mark on a Sync whether a commit deletes it; returns the marked version, which may be deleted.

        ApiError 409 if it is not as it was when that was decided.
        """
        version = str(live["metadata"]["resourceVersion"])
        if nested is not None and version != nested.version:
            raise ApiError(409, "Conflict", MOVED)
        operations = marking(live, str(self._key) if self.by_commit else None)
        if operations:
            live = await self._cluster.patch(kind, oid.namespace, oid.name, operations, user=self.user)
        return str(live["metadata"]["resourceVersion"])

    async def _delete(self, oid: ObjectId, result: DeleteResult, nested: Nested | None) -> None:
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
            version = await self._marked(kind, oid, live, nested) if is_sync(oid) else ""
            if await self._cluster.delete(
                kind, oid.namespace, oid.name, uid=str(meta["uid"]), version=version, user=self.user
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
