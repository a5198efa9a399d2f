"""Deletes objects in the order of deletion, and reports what is still there (shell).

Nothing waits: a step whose objects are still terminating ends the run, and the watch event of the last of them
starts the next run.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from setpoint.api import names
from setpoint.api.reasons import Problem, Reason
from setpoint.apply.result import united
from setpoint.health.evaluate import terminating
from setpoint.kube.absence import asked_anew, kind_served
from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError, classify
from setpoint.kube.explain import problem_of
from setpoint.objects.identity import Manifest, ObjectId, SyncKey
from setpoint.objects.kinds import Kind
from setpoint.plan.adoption import is_ours
from setpoint.plan.marks import marking, unowned
from setpoint.plan.nested import Nested, is_sync
from setpoint.plan.order import deletion_steps
from setpoint.plan.prune import NO_SYNCS, PROTECTED, left_behind
from setpoint.runtime.slots import Slots

MOVED = "changed meanwhile; it is checked again"


@dataclass(frozen=True, slots=True)
class DeleteResult:
    """What became of each object: `deleted` now, `gone` (or not ours, with why), `pending`, `failed`."""

    deleted: tuple[ObjectId, ...] = ()
    gone: Mapping[ObjectId, str] = field(default_factory=dict)
    pending: Mapping[ObjectId, str] = field(default_factory=dict)
    failed: Mapping[ObjectId, Problem] = field(default_factory=dict)
    moved: bool = False
    """Whether something was not as it had been looked at: no event tells when to look again."""

    @property
    def left(self) -> frozenset[ObjectId]:
        """What must stay in the inventory."""
        return frozenset((*self.pending, *self.failed))


def joined(results: Sequence[DeleteResult]) -> DeleteResult:
    """Return several results as one, earlier ones first."""
    return DeleteResult(
        tuple(o for r in results for o in r.deleted),
        united(r.gone for r in results),
        united(r.pending for r in results),
        united(r.failed for r in results),
        any(r.moved for r in results),
    )


class Deleter:
    """Deletes objects that name a Sync as their owner, on its behalf."""

    def __init__(
        self,
        cluster: Cluster,
        limit: Slots,
        key: SyncKey,
        user: str,
        *,
        by_commit: bool = False,
        is_strange: Callable[[ObjectId], bool] = lambda _oid: False,
    ) -> None:
        """`limit` bounds the requests of all Syncs together; `by_commit`: whether what goes does so by a commit.

        `is_strange`: whether the watch shows that an object is not the Sync's; then it goes from the inventory if the
        identity may not even read it.
        """
        self._cluster, self._limit, self._key, self.user = cluster, limit, key, user
        self.by_commit, self._is_strange = by_commit, is_strange

    async def remove(
        self, objects: Iterable[ObjectId], nested: Mapping[ObjectId, Nested] = NO_SYNCS
    ) -> DeleteResult:
        """Delete objects step by step; stops after the first step that is not gone at once.

        What `nested` tells of goes only as it was told.
        """
        steps = deletion_steps(every := list(objects))
        await asked_anew(self._cluster, every)
        results: list[DeleteResult] = []
        for index, step in enumerate(steps):
            done = joined(await asyncio.gather(*(self._one(oid, nested.get(oid)) for oid in step)))
            results.append(done)
            if done.left:
                why = f"waits until {min(done.left).label()} is gone"
                rest = [oid for later in steps[index + 1 :] for oid in later]
                results.append(DeleteResult(pending=dict.fromkeys(rest, why)))
                break
        result = joined(results)
        if any(p.reason is Reason.KindUnknown for p in result.failed.values()):
            with contextlib.suppress(ApiError):  # the next try asks again; what was done is told first
                await self._cluster.discover()
        return result

    async def leave(
        self, objects: Iterable[ObjectId], lent: Iterable[ObjectId], nested: Mapping[ObjectId, Nested]
    ) -> DeleteResult:
        """Take our marks off what stays when a Sync goes by a commit: `gone`, or `failed` and the rest not tried."""
        every = [o for o in objects if (o.group, o.kind) in PROTECTED]
        await asked_anew(self._cluster, every)
        found: dict[ObjectId, tuple[Kind, Manifest]] = {}
        failed: dict[ObjectId, Problem] = {}
        for oid in sorted(every):
            try:
                if (seen := await self._own(oid)) is not None:
                    found[oid] = seen
            except ApiError as error:
                if not self._lets_go(oid, error):
                    failed[oid] = problem_of(error, oid, "read")
        if failed:
            return DeleteResult(failed=failed)
        candidates = {o: obj["metadata"]["annotations"] for o, (_, obj) in found.items()}
        gone: dict[ObjectId, str] = {}
        for oid in left_behind(candidates, lent, nested):
            kind, obj = found[oid]
            try:
                await self._patch(kind, oid, unowned(obj))
            except ApiError as error:
                return DeleteResult(gone=gone, failed={oid: problem_of(error, oid, "patch")})
            gone[oid] = "stays, as a commit dropped its Sync"
        return DeleteResult(gone=gone)

    async def _own(self, oid: ObjectId) -> tuple[Kind, Manifest] | None:
        """Read an object that is this Sync's and not on its way out."""
        async with self._limit.held(self._key.namespace):
            kind = kind_served(self._cluster, oid)
            obj = await self._cluster.get(kind, oid.namespace, oid.name, user=self.user) if kind else None
        if kind is None or obj is None or not is_ours(obj, oid, self._key):
            return None
        return None if "deletionTimestamp" in obj["metadata"] else (kind, obj)

    async def _patch(self, kind: Kind, oid: ObjectId, operations: list[dict[str, object]]) -> Manifest:
        async with self._limit.held(self._key.namespace):
            return await self._cluster.patch(kind, oid.namespace, oid.name, operations, user=self.user)

    async def _one(self, oid: ObjectId, nested: Nested | None) -> DeleteResult:
        async with self._limit.held(self._key.namespace):
            try:
                return await self._delete(oid, nested)
            except ApiError as error:
                if self._lets_go(oid, error):
                    return DeleteResult(gone={oid: "may not be read, and does not name this Sync"})
                return _refused(oid, error)

    def _lets_go(self, oid: ObjectId, error: ApiError) -> bool:
        """Return whether an object is none of the Sync's: it may not write it, and never did."""
        return classify(error) is Reason.Forbidden and self._is_strange(oid)

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

    async def _delete(self, oid: ObjectId, nested: Nested | None) -> DeleteResult:
        kind = kind_served(self._cluster, oid)
        live = await self._cluster.get(kind, oid.namespace, oid.name, user=self.user) if kind else None
        if kind is None or live is None:
            return DeleteResult(gone={oid: "is gone"})
        meta = live["metadata"]
        if not is_ours(live, oid, self._key):
            return DeleteResult(gone={oid: "does not name this Sync"})
        if (meta.get("annotations") or {}).get(names.ANNOTATION_PRUNE) == "never":
            return DeleteResult(gone={oid: "stays, as it may not be pruned"})
        if "deletionTimestamp" in meta:
            return DeleteResult(pending={oid: terminating(meta)})
        version = await self._marked(kind, oid, live, nested) if is_sync(oid) else ""
        uid = str(meta["uid"])
        done = await self._cluster.delete(
            kind, oid.namespace, oid.name, uid=uid, version=version, user=self.user
        )
        return replace(await self._after(kind, oid, uid), deleted=(oid,) if done else ())

    async def _after(self, kind: Kind, oid: ObjectId, uid: str) -> DeleteResult:
        """Return what is left of an object that was deleted: finalizers and grace periods keep some for a while."""
        try:
            rest = await self._cluster.get(kind, oid.namespace, oid.name, user=self.user)
        except ApiError as error:
            return _refused(oid, error)
        if rest is None or rest["metadata"]["uid"] != uid:
            return DeleteResult(gone={oid: "deleted"})
        return DeleteResult(pending={oid: terminating(rest["metadata"])})


def _refused(oid: ObjectId, error: ApiError) -> DeleteResult:
    """Return what an error means for an object: a Sync that changed meanwhile is looked at again."""
    if is_sync(oid) and error.status in (409, 422):
        return DeleteResult(pending={oid: MOVED}, moved=True)
    return DeleteResult(failed={oid: problem_of(error, oid, "delete")})
