"""Deletes a Sync: its objects in reverse order, the finalizer last (shell).

The progress is kept in the status and the finalizer of the Sync.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from setpoint.api import names
from setpoint.api.formats import rfc3339
from setpoint.api.reasons import Problem, Reason
from setpoint.api.resources import Sync
from setpoint.apply.deleter import Deleter, DeleteResult
from setpoint.kube import absence
from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError
from setpoint.kube.event_recorder import Recorder
from setpoint.objects.bodies import source_key
from setpoint.objects.identity import ObjectId, SyncKey, oid_of
from setpoint.objects.inventory import grouped
from setpoint.plan.nested import Nested, orphans
from setpoint.plan.prune import NO_SYNCS
from setpoint.runtime.workqueue import Result
from setpoint.sources.commits import Commits
from setpoint.status.announcements import kept_words
from setpoint.status.conditions import condition
from setpoint.store.index import Store
from setpoint.store.status_writer import StatusWriter
from setpoint.syncs.dispatcher import Dispatcher
from setpoint.syncs.run import Context
from setpoint.syncs.steps.observer import Observer
from setpoint.syncs.steps.pruner import Pruner
from setpoint.syncs.steps.reporter import Reporter


@dataclass(frozen=True, slots=True)
class Ending:
    """The progress of a deletion: `done` when the finalizer may go, what is `left`, and the message.

    `kept`: what was released now, as a commit deletes the Sync; `moved`: whether to look again soon.
    """

    done: bool
    reason: Reason
    message: str
    left: frozenset[ObjectId] = frozenset()
    retry: bool = False
    kept: tuple[ObjectId, ...] = ()
    moved: bool = False


@dataclass(frozen=True, slots=True)
class Others:
    """What the other Syncs mean for a deletion.

    Why nothing may go yet, what they take over, with words for it, and what stands behind the nested ones.
    """

    barrier: str | None
    take: Mapping[ObjectId, str]
    nested: Mapping[ObjectId, Nested] = field(default_factory=lambda: NO_SYNCS)


class Deletion:
    """Decides and carries out what the end of a Sync means for its objects."""

    def __init__(self, cluster: Cluster, store: Store) -> None:
        self._cluster, self._store = cluster, store

    async def run(
        self, key: SyncKey, sync: Sync, inventory: Mapping[ObjectId, str], deleter: Deleter, others: Others
    ) -> Ending:
        """Delete or orphan the inventory, as far as it goes now."""
        if not inventory:
            return Ending(True, Reason.Pruned, "no objects")
        if why := orphans(sync.spec):
            return _orphaned(inventory, why)
        if await self._crd_is_going():
            return _orphaned(inventory, "the CRD of Syncs is being deleted")
        if later := self._dependents(key):
            text = f"waits until Sync {later}, which depends on it, is gone"
            return Ending(False, Reason.Deleting, text, frozenset(inventory))
        if others.barrier:
            return Ending(False, Reason.Deleting, others.barrier, frozenset(inventory))
        free = [o for o in inventory if o not in others.take]
        kept: tuple[ObjectId, ...] = ()
        if deleter.by_commit:
            left = await deleter.leave(free, others.take, others.nested)
            kept = tuple(left.gone)
            free = [o for o in free if o not in left.gone]
            if left.failed:
                rest_waits = {o: "waits" for o in (*free, *others.take) if o not in left.failed}
                left = replace(left, pending=rest_waits)
                return replace(await self._told(key, inventory, left, deleter.user), kept=kept)
        removed = await deleter.remove(free, others.nested if deleter.by_commit else NO_SYNCS)
        removed = replace(removed, pending={**removed.pending, **others.take})
        rest = [o for o in inventory if o not in kept]
        return replace(await self._told(key, rest, removed, deleter.user), kept=kept)

    async def _told(
        self, key: SyncKey, rest: Collection[ObjectId], removed: DeleteResult, user: str
    ) -> Ending:
        """Return the progress of a deletion after this step; the `rest` of the inventory was to go."""
        if removed.failed and await self._without_identity(key, removed):
            return _orphaned(rest, "its identity is gone with the namespace")
        reasons = {p.reason for p in removed.failed.values()}
        if problem := await absence.missing(self._cluster, user, reasons):
            return _failed(problem, removed)
        return _ending(removed, len(rest), key.namespace)

    async def unreadable(self, key: SyncKey, error: ApiError) -> Problem:
        """Return why objects cannot be read; a kind that is not served any more has discovery asked again."""
        return await absence.unreadable(error, oid_of(key), "delete", self._cluster.discover)

    async def _crd_is_going(self) -> bool:
        kind = self._cluster.kind_of_group("apiextensions.k8s.io", "CustomResourceDefinition")
        if kind is None:
            # Every cluster has it: discovery was of a server that is not there yet, and nothing may follow from that.
            raise ApiError(503, "ServiceUnavailable", "the API server does not say whether it serves CRDs")
        crd = await self._cluster.get(kind, "", f"syncs.{names.GROUP}")
        return crd is None or "deletionTimestamp" in crd["metadata"]

    def _dependents(self, key: SyncKey) -> SyncKey | None:
        """Return a Sync that depends on this one and is being deleted too: it goes first, if it is of the same namespace.

        Whoever depends on it from elsewhere must not be able to keep it.
        """
        for other in sorted(self._store.dependents(key)):
            body: Mapping[str, Any] = self._store.syncs.get(other) or {}
            if (
                other != key
                and other.namespace == key.namespace
                and "deletionTimestamp" in body.get("metadata", {})
            ):
                return other
        return None

    async def _without_identity(self, key: SyncKey, removed: DeleteResult) -> bool:
        """Return whether the rights went with the namespace: a terminating one loses its ServiceAccount first."""
        if not all(p.reason is Reason.Forbidden for p in removed.failed.values()):
            return False
        kind = self._cluster.kind("v1", "Namespace")
        if kind is None:
            return False
        try:
            namespace = await self._cluster.get(kind, "", key.namespace)
        except ApiError:
            return False
        return namespace is None or "deletionTimestamp" in namespace["metadata"]


def _orphaned(inventory: Collection[ObjectId], why: str) -> Ending:
    return Ending(True, Reason.Orphaned, f"{len(inventory)} objects stay in the cluster, as {why}")


def _ending(removed: DeleteResult, total: int, home: str) -> Ending:
    if removed.failed:
        oid = min(removed.failed)
        return _failed(removed.failed[oid], removed)
    if removed.pending:
        oid = next(iter(removed.pending))
        text = f"{len(removed.left)} of {total} left: {oid.label(home)} {removed.pending[oid]}"
        return Ending(False, Reason.Deleting, text, removed.left, moved=removed.moved)
    return Ending(True, Reason.Pruned, f"{total} objects deleted")


def _failed(problem: Problem, removed: DeleteResult) -> Ending:
    return Ending(False, problem.reason, f"deletion: {problem.message}", removed.left, retry=True)


LOOK_AGAIN = 60.0
"""Seconds. What a deletion waits for wakes it; but it may be of a kind that is not watched, and a word may be missed."""

MOVED_AGAIN = 1.0
"""Seconds until something is looked at again that was not as it had been decided about."""


class Finalizer:
    """Ends one Sync after another."""

    def __init__(
        self,
        deletion: Deletion,
        observer: Observer,
        sources: Commits,
        writer: StatusWriter,
        recorder: Recorder,
        dispatcher: Dispatcher,
        reporter: Reporter,
        pruner: Pruner,
    ) -> None:
        self._deletion, self._observer, self._sources, self._writer = deletion, observer, sources, writer
        self._recorder, self._dispatcher, self._reporter, self._pruner = (
            recorder,
            dispatcher,
            reporter,
            pruner,
        )

    async def end(self, ctx: Context, deleter: Deleter) -> Result:
        """Delete or orphan what a Sync owns, as far as it goes now; the finalizer goes last."""
        if names.FINALIZER not in (ctx.body["metadata"].get("finalizers") or []):
            return Result()
        inventory = ctx.inventory
        self._dispatcher.want(ctx.key, ())  # nobody keeps anything for it
        current = self._sources.current(source_key(ctx.body))
        lent: Mapping[ObjectId, str] = {}
        patience: float | None = None
        try:
            await self._observer.require(self._observer.kinds_had(inventory))
            blocker = self._pruner.barrier(ctx, current)
            patience = blocker.again if blocker else None
            handed, take = await self._pruner.give_away(ctx, blocker, ends=True)
            lent = handed.lent
            blocked = self._pruner.words(ctx, blocker) if blocker and not blocker.doubted else None
            others = Others(blocked, take, self._pruner.nested(inventory))
            ending = await self._deletion.run(ctx.key, ctx.sync, inventory, deleter, others)
        except ApiError as error:
            problem = await self._deletion.unreadable(ctx.key, error)
            await self._say(ctx, problem.reason, problem.message, inventory, lent)
            return Result(retry=True)
        for words in kept_words(ending.kept, ctx.key.namespace):
            self._recorder.record(ctx.body, "Warning", str(Reason.Orphaned), words)
        if ending.done:
            kind = "Warning" if ending.reason is Reason.Orphaned else "Normal"
            self._recorder.record(ctx.body, kind, str(ending.reason), ending.message)
            await self._release(ctx.key, ctx.body)
            return Result()
        left = {o: v for o, v in inventory.items() if o in ending.left}
        await self._say(ctx, ending.reason, ending.message, left, lent)
        after = MOVED_AGAIN if ending.moved else LOOK_AGAIN if patience is None else patience
        return Result(after=after, retry=ending.retry)

    async def orphan(self, key: SyncKey, body: Mapping[str, Any], problem: Problem) -> None:
        """Orphan the objects of a Sync that has no identity to delete them with."""
        text = f"objects stay in the cluster: {problem.message}"
        self._recorder.record(body, "Warning", str(Reason.Orphaned), text)
        await self._release(key, body)

    async def _say(
        self,
        ctx: Context,
        reason: Reason,
        message: str,
        left: Mapping[ObjectId, str],
        lent: Mapping[ObjectId, str],
    ) -> None:
        """Report how far a deletion is; the inventory shrinks with it."""
        old = ctx.previous.get("conditions") or []
        ready = condition(
            old,
            ctx.generation,
            kind="Ready",
            true=False,
            reason=str(reason),
            message=message,
            at=rfc3339(datetime.now(UTC)),
        )
        rows = [ready, *(c for c in old if c["type"] in ("Synced", "Healthy"))]
        entries = grouped((v, o) for o, v in left.items())
        # All goes now, whatever is in use.
        told = {k: v for k, v in ctx.previous.items() if k != "leaving"}
        await self._reporter.write(ctx.key, ctx.body, {**told, "inventory": entries, "conditions": rows})
        self._dispatcher.record(ctx.key, left.keys() - ctx.provisional, lent)

    async def _release(self, key: SyncKey, body: Mapping[str, Any]) -> None:
        rest = [f for f in body["metadata"].get("finalizers") or [] if f != names.FINALIZER]
        await self._writer.finalizers(oid_of(key), body, rest)
        if not rest:
            self._dispatcher.gone(key, body["metadata"]["uid"])
