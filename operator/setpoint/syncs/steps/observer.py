"""Observes the objects of a Sync: starts watches, and reads objects that it may not watch (shell)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import UTC, datetime

from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError
from setpoint.objects.identity import ObjectId
from setpoint.objects.kinds import Kind
from setpoint.plan.endings import looks
from setpoint.syncs.run import Context
from setpoint.syncs.target import Target
from setpoint.watch.protocol import LiveObjects


class Observer:
    """Looks at objects on behalf of one Sync after another; each look returns after how many seconds another is due."""

    def __init__(self, cluster: Cluster, informers: LiveObjects) -> None:
        self._cluster, self._informers = cluster, informers

    def kinds_had(self, inventory: Iterable[ObjectId]) -> list[Kind]:
        """Return the kinds of the objects that a Sync has, as far as they are served."""
        kinds = sorted({(o.group, o.kind) for o in inventory})
        return [k for each in kinds if (k := self._cluster.kind_of_group(*each)) is not None]

    async def require(self, kinds: Collection[Kind]) -> float | None:
        """Watch kinds, and wait until they are listed. Raises ApiError."""
        await self._informers.require(kinds)
        again = self._informers.again(kinds)
        return None if again is None else max(1.0, again)

    async def watch(self, ctx: Context, target: Target) -> float | None:
        """Watch all kinds of a target and of the inventory. Raises ApiError."""
        kinds = [self._cluster.kind(*each) for each in sorted(target.kinds)]
        wanted = dict.fromkeys([*(k for k in kinds if k is not None), *self.kinds_had(ctx.inventory)])
        return _sooner(await self.require(wanted), await self._read_unwatched(ctx, target))

    async def look(self, ctx: Context) -> float | None:
        """Look up which objects of the inventory exist: after a restart nobody may have asked, and they would seem gone.

        What may not be watched is read once, and what may not be read either is left. Raises ApiError if something
        else keeps an object from being read, when all others are.
        """
        again = await self.require(self.kinds_had(ctx.inventory))
        failed: ApiError | None = None
        for oid, version in ctx.inventory.items():
            if not self._informers.unwatched(oid) or self._informers.get(oid) is not None:
                continue
            if (kind := self._cluster.kind(version, oid.kind)) is not None:
                try:
                    await self._read(ctx, kind, oid)
                except ApiError as error:
                    failed = failed or (error if error.status != 403 else None)
        if failed is not None:
            raise failed
        return again

    async def _read_unwatched(self, ctx: Context, target: Target) -> float | None:
        """Read what may not be watched and is not healthy yet, or ends by itself; nobody tells us when that changes."""
        again = None
        for ref in target.refs:
            if not self._informers.unwatched(ref.id):
                continue
            now = int(datetime.now(UTC).timestamp())
            kind = self._cluster.kind(ref.api_version, ref.id.kind)
            due = looks.is_due(self._informers.get(ref.id), ctx.endings.get(ref.id), now)
            if due and kind is not None:
                await self._read(ctx, kind, ref.id)
            again = _sooner(again, looks.again(self._informers.get(ref.id), now))
        return again

    async def _read(self, ctx: Context, kind: Kind, oid: ObjectId) -> None:
        obj = await self._cluster.get(kind, oid.namespace, oid.name, user=ctx.user)
        if obj is not None:
            self._informers.store(kind, obj)
        else:
            self._informers.missing(oid)


def _sooner(one: float | None, other: float | None) -> float | None:
    return min((s for s in (one, other) if s is not None), default=None)
