"""What a run did goes into memory, and what was drift into the log of drift (shell: reads clocks)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from setpoint.apply_result import ApplyResult
from setpoint.change import Action, Change
from setpoint.checking import Checked
from setpoint.choosing import state_of, written_of
from setpoint.desired import Desired
from setpoint.memory import Baseline, Failure
from setpoint.objects import ObjectId
from setpoint.outcome import Correction
from setpoint.parts import Parts
from setpoint.redact import shown_patch, shown_value
from setpoint.run import Run, precise


class Ledger:
    """Keeps account of writes and of drift."""

    def __init__(self, parts: Parts) -> None:
        """All parts are shared."""
        self._live, self._key, self._telemetry = parts.live, parts.secret_key, parts.telemetry

    def before(self, chosen: Iterable[Desired]) -> dict[ObjectId, object]:
        """Note how the live objects are, before they are checked: whoever changes one later may mend what fails."""
        return {d.id: written_of(self._live.get(d.id)) for d in chosen}

    def absorb(
        self,
        run: Run,
        result: ApplyResult,
        chosen: Mapping[ObjectId, Desired],
        before: Mapping[ObjectId, object],
        *,
        enforced: bool = False,
    ) -> None:
        """Take what a run of the applier did into memory, and log what was drift.

        `before` is from before the applier looked at anything. `enforced`: this was about what had been applied
        before, so all of it is drift, and what failed in this run before stays.
        """
        self._log(run, result, chosen, old=enforced or not run.pending)
        memory = run.memory
        for oid in (*result.unchanged, *(c.id for c in result.written)):
            memory.detected.pop(oid, None)
            memory.failed.pop(oid, None)
        for oid, problem in result.failed.items():
            if oid in chosen:
                memory.failed[oid] = Failure(chosen[oid].digest, before[oid], problem)
            run.retry = run.retry or problem.transient
        memory.baselines |= result.baselines
        # What failed before this is told first.
        run.applied = replace(run.applied | result, failed={**result.failed, **run.applied.failed})
        run.waiting = run.waiting or result.waiting

    def report(self, run: Run, item: Checked) -> None:
        """With `drift: Report`, remember and log what differs; an object that is as it should be is taken over."""
        oid, change, seen = item.desired.id, item.change, self._live.get(item.desired.id)
        if change.action is Action.KEEP and item.live is not None:
            run.memory.reported.pop(oid, None)
            run.memory.detected.pop(oid, None)
            if seen is not None:
                run.memory.baselines[oid] = Baseline(item.desired.digest, seen.ownership, seen.changed_by)
            return
        run.memory.reported[oid] = (state_of(seen), change, shown_patch(change, self._key))
        run.corrections.append(self._correction(run, change, item.desired, corrected=None))

    def _log(self, run: Run, result: ApplyResult, chosen: Mapping[ObjectId, Desired], *, old: bool) -> None:
        now = asyncio.get_running_loop().time()
        for change in result.written:
            d = chosen.get(change.id)
            if d is None or not _was_drift(run, d, old=old):
                continue
            correction = self._correction(run, change, d, corrected=precise(datetime.now(UTC)))
            run.corrections.append(correction)
            run.memory.corrected(change.id, now, correction.manager or correction.user or "")
            self._telemetry.corrected(change.id.kind)

    def _correction(self, run: Run, change: Change, d: Desired, *, corrected: str | None) -> Correction:
        memory, seen = run.memory, self._live.get(change.id)
        base = memory.baselines.get(change.id)
        stamped = seen.changed_by if seen else None
        believed = stamped is not None and base is not None and stamped != base.stamp
        return Correction(
            change.id,
            d.manifest["apiVersion"],
            change.manager,
            stamped.partition("\n")[0] if believed and stamped else None,
            memory.detected.get(change.id, precise(datetime.now(UTC))),
            corrected,
            shown_patch(change, self._key),
            shown_value(change.was, change, self._key),
        )


def _was_drift(run: Run, d: Desired, *, old: bool) -> bool:
    """Tell a correction from news: the very state was written before (`old`: as far as the status knows)."""
    base = run.memory.baselines.get(d.id)
    return base.digest == d.digest if base is not None else old
