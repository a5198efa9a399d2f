"""The end of a Sync as its status and finalizer tell it (shell around `deletion`)."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import UTC, datetime

from setpoint import names
from setpoint.cluster_errors import ApiError, classify, problem_of
from setpoint.conditions import condition, stamp
from setpoint.deletion import Deletion, Others
from setpoint.fleet import Fleet
from setpoint.inventory import grouped
from setpoint.objects import ObjectId, SyncKey
from setpoint.parts import Parts
from setpoint.pruning import Pruner
from setpoint.queue import Result
from setpoint.reasons import Problem, Reason
from setpoint.removal import Remover
from setpoint.run import Run, oid_of
from setpoint.store import Body, source_key
from setpoint.telling import Teller

LOOK_AGAIN = 60.0
"""Seconds. What a deletion waits for wakes it; but it may be of a kind that is not watched, and a word may be missed."""


class Ender:
    """Ends one Sync after another."""

    def __init__(self, parts: Parts, fleet: Fleet, teller: Teller, pruner: Pruner) -> None:
        """All parts are shared."""
        self._p, self._fleet, self._teller, self._pruner = parts, fleet, teller, pruner
        self._deletion = Deletion(parts.cluster, parts.store)

    async def end(self, run: Run, remover: Remover) -> Result:
        """Delete or orphan what a Sync owns, as far as it goes now; the finalizer goes last."""
        if names.FINALIZER not in (run.body["metadata"].get("finalizers") or []):
            return Result()
        inventory, cluster = run.inventory, self._p.cluster
        self._fleet.wake(self._p.claims.want(run.key, ()))  # nobody keeps anything for it
        run.current = self._p.sources.current(source_key(run.body))
        kinds = {cluster.kind_of_group(o.group, o.kind) for o in inventory}
        try:
            await self._p.live.require(k for k in kinds if k is not None)
            others = Others(self._pruner.barrier(run), await self._pruner.give_away(run))
            ending = await self._deletion.run(run.key, run.sync, inventory, remover, others)
        except ApiError as error:
            problem = await self._unreadable(run, error)
            await self._say(run, problem.reason, problem.message, inventory)
            return Result(retry=True)
        if ending.done:
            kind = "Warning" if ending.reason is Reason.Orphaned else "Normal"
            self._p.events.record(run.body, kind, str(ending.reason), ending.message)
            await self._release(run.key, run.body)
            return Result()
        left = {o: v for o, v in inventory.items() if o in ending.left}
        await self._say(run, ending.reason, ending.message, left)
        return Result(after=LOOK_AGAIN, retry=ending.retry)

    async def _unreadable(self, run: Run, error: ApiError) -> Problem:
        """Say why objects cannot be read; a kind that is not served any more has discovery asked again."""
        if classify(error) is not Reason.KindUnknown:
            return problem_of(error, oid_of(run.key), "delete")
        with contextlib.suppress(ApiError):  # the next try asks again; this one is told first
            await self._p.cluster.discover()
        return Problem(Reason.KindUnknown, "a kind of this Sync is not served any more, or not yet again")

    async def orphan(self, key: SyncKey, body: Body, problem: Problem) -> None:
        """Let go of a Sync that has no identity to delete with."""
        text = f"objects stay in the cluster: {problem.message}"
        self._p.events.record(body, "Warning", str(Reason.Orphaned), text)
        await self._release(key, body)

    async def _say(self, run: Run, reason: Reason, message: str, left: Mapping[ObjectId, str]) -> None:
        """Say how far a deletion is; the inventory shrinks with it."""
        old = run.previous.get("conditions") or []
        ready = condition(
            old,
            run.generation,
            kind="Ready",
            true=False,
            reason=str(reason),
            message=message,
            at=stamp(datetime.now(UTC)),
        )
        rows = [ready, *(c for c in old if c["type"] in ("Synced", "Healthy"))]
        entries = grouped((v, o) for o, v in left.items())
        await self._teller.write(
            run.key, run.body, {**run.previous, "inventory": entries, "conditions": rows}
        )
        self._fleet.record(run.key, left, run.lent)

    async def _release(self, key: SyncKey, body: Body) -> None:
        rest = [f for f in body["metadata"].get("finalizers") or [] if f != names.FINALIZER]
        await self._p.writer.finalizers(oid_of(key), body, rest)
        if not rest:
            self._p.store.drop_sync(key, body["metadata"]["uid"])
            self._fleet.forget(key)
