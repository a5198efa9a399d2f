"""Records the result of a run in memory, and drift in the drift log (shell: reads clocks)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from setpoint.api.formats import rfc3339_millis
from setpoint.apply.dry_run import DryRun
from setpoint.apply.result import ApplyResult
from setpoint.objects.identity import ObjectId
from setpoint.plan.change import Action, Change
from setpoint.plan.desired import Desired
from setpoint.plan.drift import Baseline, Failure, state_of, written_of
from setpoint.plan.redact import shown_patch, shown_value
from setpoint.status.outcome import Correction
from setpoint.syncs.memory import Memory
from setpoint.syncs.run import Reached
from setpoint.syncs.services import Parts


class DriftLog:
    """Keeps account of writes and of drift."""

    def __init__(self, parts: Parts) -> None:
        self._live, self._key, self._metrics = parts.informers, parts.secret_key, parts.metrics

    def before(self, chosen: Iterable[Desired]) -> dict[ObjectId, object]:
        """Record the live objects before they are checked: whoever changes one later may repair what fails."""
        return {d.id: written_of(self._live.get(d.id)) for d in chosen}

    def absorb(
        self,
        reached: Reached,
        memory: Memory,
        result: ApplyResult,
        chosen: Mapping[ObjectId, Desired],
        before: Mapping[ObjectId, object],
        *,
        enforced: bool = False,
    ) -> Reached:
        """Take what a run of the applier did into memory, log what was drift, and return how far the run came.

        `before` is from before the applier looked at anything. `enforced`: this was about what had been applied
        before, so all of it is drift, and what failed in this run before stays.
        """
        corrections = self._log(memory, result, chosen, old=enforced or not reached.changed)
        for oid in (*result.unchanged, *(c.id for c in result.written)):
            memory.detected.pop(oid, None)
            memory.failed.pop(oid, None)
        for oid, problem in result.failed.items():
            if oid in chosen:
                memory.failed[oid] = Failure(chosen[oid].digest, before[oid], problem)
        memory.baselines |= result.baselines
        applied = reached.applied
        return replace(
            reached,
            # What failed before this is told first.
            applied=replace(applied | result, failed={**result.failed, **applied.failed}),
            corrections=(*reached.corrections, *corrections),
            retry=reached.retry or any(p.transient for p in result.failed.values()),
            waiting=reached.waiting or result.waiting,
        )

    def report(self, memory: Memory, item: DryRun) -> Correction | None:
        """With `drift: Report`, remember what differs and return it; an object that is as it should be is taken over."""
        oid, change, seen = item.desired.id, item.change, self._live.get(item.desired.id)
        if change.action is Action.KEEP and item.live is not None:
            memory.reported.pop(oid, None)
            memory.detected.pop(oid, None)
            if seen is not None:
                memory.baselines[oid] = Baseline(item.desired.digest, seen.ownership, seen.changed_by)
            return None
        memory.reported[oid] = (state_of(seen), change, shown_patch(change, self._key))
        return self._correction(memory, change, item.desired, corrected=None)

    def _log(
        self, memory: Memory, result: ApplyResult, chosen: Mapping[ObjectId, Desired], *, old: bool
    ) -> tuple[Correction, ...]:
        now = asyncio.get_running_loop().time()
        corrections = []
        for change in result.written:
            d = chosen.get(change.id)
            if d is None or not _was_drift(memory, d, old=old):
                continue
            correction = self._correction(memory, change, d, corrected=rfc3339_millis(datetime.now(UTC)))
            corrections.append(correction)
            memory.corrected(change.id, now, correction.manager or correction.user or "")
            self._metrics.corrected(change.id.kind)
        return tuple(corrections)

    def _correction(self, memory: Memory, change: Change, d: Desired, *, corrected: str | None) -> Correction:
        seen = self._live.get(change.id)
        base = memory.baselines.get(change.id)
        stamped = seen.changed_by if seen else None
        believed = stamped is not None and base is not None and stamped != base.changed_by
        return Correction(
            change.id,
            d.manifest["apiVersion"],
            change.manager,
            stamped.partition("\n")[0] if believed and stamped else None,
            memory.detected.get(change.id, rfc3339_millis(datetime.now(UTC))),
            corrected,
            shown_patch(change, self._key),
            shown_value(change.was, change, self._key),
        )


def _was_drift(memory: Memory, d: Desired, *, old: bool) -> bool:
    """Distinguish a correction from news: the very state was written before (`old`: as far as the status knows)."""
    base = memory.baselines.get(d.id)
    return base.digest == d.digest if base is not None else old
