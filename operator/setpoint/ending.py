"""The end of a Sync as its status and finalizer tell it (shell around `deletion`)."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from setpoint import names
from setpoint.announce import kept_words
from setpoint.cluster_errors import ApiError, classify, problem_of
from setpoint.conditions import condition, stamp
from setpoint.deletion import Deletion, Others
from setpoint.fleet import Fleet
from setpoint.inventory import grouped
from setpoint.memory import Memory
from setpoint.nested import nested_of
from setpoint.objects import ObjectId, SyncKey
from setpoint.parts import Parts
from setpoint.pruning import Pruner
from setpoint.queue import Result
from setpoint.reasons import Problem, Reason
from setpoint.removal import Remover
from setpoint.run import Context, oid_of
from setpoint.store import source_key
from setpoint.telling import Teller

LOOK_AGAIN = 60.0
"""Seconds. What a deletion waits for wakes it; but it may be of a kind that is not watched, and a word may be missed."""

MOVED_AGAIN = 1.0
"""Seconds until something is looked at again that was not as it had been decided about."""


class Ender:
    """Ends one Sync after another."""

    def __init__(self, parts: Parts, fleet: Fleet, teller: Teller, pruner: Pruner) -> None:
        self._p, self._fleet, self._teller, self._pruner = parts, fleet, teller, pruner
        self._deletion = Deletion(parts.cluster, parts.store)

    async def end(self, ctx: Context, memory: Memory, remover: Remover) -> Result:
        """Delete or orphan what a Sync owns, as far as it goes now; the finalizer goes last."""
        if names.FINALIZER not in (ctx.body["metadata"].get("finalizers") or []):
            return Result()
        inventory, cluster = ctx.inventory, self._p.cluster
        self._fleet.wake(self._p.claims.want(ctx.key, ()))  # nobody keeps anything for it
        current = self._p.sources.current(source_key(ctx.body))
        kinds = {cluster.kind_of_group(o.group, o.kind) for o in inventory}
        lent: Mapping[ObjectId, str] = {}
        try:
            await self._p.live.require(k for k in kinds if k is not None)
            blocker = self._pruner.barrier(ctx, current)
            handed, take = await self._pruner.give_away(ctx, memory, blocker)
            lent = handed.lent
            blocked = self._pruner.words(ctx, blocker) if blocker and not blocker.doubtful else None
            nested = nested_of(inventory, self._p.store.syncs, self._p.claims.wanted_of)
            others = Others(blocked, take, nested)
            ending = await self._deletion.run(ctx.key, ctx.sync, inventory, remover, others)
        except ApiError as error:
            problem = await self._unreadable(ctx, error)
            await self._say(ctx, problem.reason, problem.message, inventory, lent)
            return Result(retry=True)
        for words in kept_words(ending.kept, ctx.key.namespace):
            self._p.events.record(ctx.body, "Warning", str(Reason.Orphaned), words)
        if ending.done:
            kind = "Warning" if ending.reason is Reason.Orphaned else "Normal"
            self._p.events.record(ctx.body, kind, str(ending.reason), ending.message)
            await self._release(ctx.key, ctx.body)
            return Result()
        left = {o: v for o, v in inventory.items() if o in ending.left}
        await self._say(ctx, ending.reason, ending.message, left, lent)
        return Result(after=MOVED_AGAIN if ending.moved else LOOK_AGAIN, retry=ending.retry)

    async def _unreadable(self, ctx: Context, error: ApiError) -> Problem:
        """Return why objects cannot be read; a kind that is not served any more has discovery asked again."""
        if classify(error) is not Reason.KindUnknown:
            return problem_of(error, oid_of(ctx.key), "delete")
        with contextlib.suppress(ApiError):  # the next try asks again; this one is told first
            await self._p.cluster.discover()
        return Problem(Reason.KindUnknown, "a kind of this Sync is not served any more, or not yet again")

    async def orphan(self, key: SyncKey, body: Mapping[str, Any], problem: Problem) -> None:
        """Let go of a Sync that has no identity to delete with."""
        text = f"objects stay in the cluster: {problem.message}"
        self._p.events.record(body, "Warning", str(Reason.Orphaned), text)
        await self._release(key, body)

    async def _say(
        self,
        ctx: Context,
        reason: Reason,
        message: str,
        left: Mapping[ObjectId, str],
        lent: Mapping[ObjectId, str],
    ) -> None:
        """Say how far a deletion is; the inventory shrinks with it."""
        old = ctx.previous.get("conditions") or []
        ready = condition(
            old,
            ctx.generation,
            kind="Ready",
            true=False,
            reason=str(reason),
            message=message,
            at=stamp(datetime.now(UTC)),
        )
        rows = [ready, *(c for c in old if c["type"] in ("Synced", "Healthy"))]
        entries = grouped((v, o) for o, v in left.items())
        await self._teller.write(
            ctx.key, ctx.body, {**ctx.previous, "inventory": entries, "conditions": rows}
        )
        self._fleet.record(ctx.key, left, lent)

    async def _release(self, key: SyncKey, body: Mapping[str, Any]) -> None:
        rest = [f for f in body["metadata"].get("finalizers") or [] if f != names.FINALIZER]
        await self._p.writer.finalizers(oid_of(key), body, rest)
        if not rest:
            self._p.store.drop_sync(key, body["metadata"]["uid"])
            self._fleet.forget(key)
