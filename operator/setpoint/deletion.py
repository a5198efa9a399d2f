"""Deleting a Sync: its objects go in reverse order, the finalizer last (shell)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from setpoint import accounts, names
from setpoint.api import Sync
from setpoint.cluster import Cluster
from setpoint.cluster_errors import ApiError
from setpoint.nested import Nested, orphans
from setpoint.objects import ObjectId, SyncKey
from setpoint.prune import NO_SYNCS
from setpoint.reasons import Problem, Reason
from setpoint.removal import Removed, Remover
from setpoint.store import Store


@dataclass(frozen=True, slots=True)
class Ending:
    """How a deletion stands: `done` when the finalizer may go, what is `left`, and what to say.

    `kept`: what was let go of now, as the Sync goes by a commit; `moved`: whether to look again soon.
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
        """All parts are shared."""
        self._cluster, self._store = cluster, store

    async def run(
        self, key: SyncKey, sync: Sync, inventory: Mapping[ObjectId, str], remover: Remover, others: Others
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
        if remover.by_commit:
            left = await remover.leave(free, others.take, others.nested)
            kept = tuple(left.gone)
            free = [o for o in free if o not in left.gone]
            if left.failed:
                left.pending |= {o: "waits" for o in (*free, *others.take) if o not in left.failed}
                return replace(await self._told(key, inventory, left, remover.user), kept=kept)
        removed = await remover.remove(free, others.nested if remover.by_commit else NO_SYNCS)
        removed.pending |= others.take
        rest = [o for o in inventory if o not in kept]
        return replace(await self._told(key, rest, removed, remover.user), kept=kept)

    async def _told(self, key: SyncKey, rest: Collection[ObjectId], removed: Removed, user: str) -> Ending:
        """Return how a deletion stands after what was done; the `rest` of the inventory was to go."""
        if removed.failed and await self._without_identity(key, removed):
            return _orphaned(rest, "its identity is gone with the namespace")
        reasons = {p.reason for p in removed.failed.values()}
        if problem := await accounts.missing(self._cluster, user, reasons):
            return _failed(problem, removed)
        return _ending(removed, len(rest), key.namespace)

    async def _crd_is_going(self) -> bool:
        kind = self._cluster.kind_of_group("apiextensions.k8s.io", "CustomResourceDefinition")
        if kind is None:
            # Every cluster has it: discovery was of a server that is not there yet, and nothing may follow from that.
            raise ApiError(503, "ServiceUnavailable", "the API server does not say whether it serves CRDs")
        crd = await self._cluster.get(kind, "", f"syncs.{names.GROUP}")
        return crd is None or "deletionTimestamp" in crd["metadata"]

    def _dependents(self, key: SyncKey) -> SyncKey | None:
        """Give a Sync that depends on this one and is being deleted too: it goes first."""
        for other in sorted(self._store.dependents(key)):
            body: Mapping[str, Any] = self._store.syncs.get(other) or {}
            if other != key and "deletionTimestamp" in body.get("metadata", {}):
                return other
        return None

    async def _without_identity(self, key: SyncKey, removed: Removed) -> bool:
        """Tell whether the rights went with the namespace: a terminating one loses its ServiceAccount first."""
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


def _ending(removed: Removed, total: int, home: str) -> Ending:
    if removed.failed:
        oid = min(removed.failed)
        return _failed(removed.failed[oid], removed)
    if removed.pending:
        oid = next(iter(removed.pending))
        text = f"{len(removed.left)} of {total} left: {oid.label(home)} {removed.pending[oid]}"
        return Ending(False, Reason.Deleting, text, frozenset(removed.left), moved=removed.moved)
    return Ending(True, Reason.Pruned, f"{total} objects deleted")


def _failed(problem: Problem, removed: Removed) -> Ending:
    return Ending(False, problem.reason, f"deletion: {problem.message}", frozenset(removed.left), retry=True)
