"""Records the result of a run in memory, and drift in the drift log (shell: reads clocks)."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from setpoint.api.formats import rfc3339_millis
from setpoint.apply.dry_run import DryRun
from setpoint.apply.result import ApplyResult
from setpoint.objects.identity import ObjectId, SyncKey
from setpoint.plan.change import Action, Change
from setpoint.plan.desired import Desired, Ref
from setpoint.plan.drift import (
    Baseline,
    Choice,
    Failure,
    is_news,
    judged,
    restore_baselines,
    state_of,
    still_reported,
    unreported,
    written_of,
)
from setpoint.plan.redact import shown_patch, shown_value
from setpoint.runtime.metrics import Metrics
from setpoint.status.outcome import Correction
from setpoint.syncs.dispatcher import Dispatcher
from setpoint.syncs.memory import Memory
from setpoint.syncs.run import Context, PruneResult, Reached
from setpoint.syncs.target import Target
from setpoint.watch.protocol import LiveObjects


class DriftLog:
    """Keeps account of writes and of drift."""

    def __init__(
        self, informers: LiveObjects, secret_key: bytes, metrics: Metrics, dispatcher: Dispatcher
    ) -> None:
        """`secret_key`: what values of Secrets are replaced by is made with it."""
        self._live, self._key, self._metrics, self._dispatcher = informers, secret_key, metrics, dispatcher

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
        key = reached.ctx.key
        corrections = self._log(key, memory, result, chosen, old=enforced or not reached.changed)
        settled = (*result.unchanged, *(c.id for c in result.written))
        self._dispatcher.settled(key, settled)
        account = memory.account.settled(settled)
        failed = {
            oid: Failure(chosen[oid].digest, before[oid], problem)
            for oid, problem in result.failed.items()
            if oid in chosen
        }
        memory.account = replace(
            account,
            failed={**account.failed, **failed},
            baselines={**account.baselines, **result.baselines},
        )
        applied = reached.applied
        return replace(
            reached,
            # What failed before this is told first.
            applied=replace(applied | result, failed={**result.failed, **applied.failed}),
            corrections=(*reached.corrections, *corrections),
            retry=reached.retry or result.transient,
            waiting=reached.waiting or result.waiting,
        )

    def report(
        self, key: SyncKey, memory: Memory, items: Iterable[DryRun], kept: Mapping[ObjectId, Baseline]
    ) -> tuple[Correction, ...]:
        """With `drift: Report`, remember what differs and return it; an object that is as it should be is taken over.

        `kept`: the baselines of those, as they were read: the watch may be ahead, and say nothing more.
        """
        corrections: list[Correction] = []
        reported, baselines = dict(memory.account.reported), {**memory.account.baselines, **kept}
        for item in items:
            oid, change = item.desired.id, item.change
            if change.action is Action.KEEP and item.live is None:
                continue  # how it went is not known yet
            if change.action is Action.KEEP:
                self._dispatcher.settled(key, (oid,))
                reported.pop(oid, None)
                continue
            old, state = reported.get(oid), state_of(judged(self._live.get(oid), item.live))
            reported[oid] = (state, change, shown_patch(change, self._key))
            if is_news(old, state, change):
                corrections.append(self._correction(key, memory, change, item.desired, corrected=None))
        memory.account = replace(memory.account, reported=reported, baselines=baselines)
        return tuple(corrections)

    def restore(
        self, ctx: Context, target: Target, memory: Memory, over: Container[ObjectId] = frozenset()
    ) -> None:
        """Take over what a former process wrote, where its status says that this target was applied; `over`: what is done."""
        applied = ctx.previous.get("applied") or {}
        if memory.account.baselines or applied.get("digest") != target.digest or not applied.get("ownership"):
            return
        refs = [r for r in target.refs if r.id not in over]
        found = restore_baselines(refs, self._live.get, applied["ownership"])
        memory.account = replace(memory.account, baselines=found)

    def back_off(self, memory: Memory, choice: Choice) -> None:
        """Record which objects others fight for."""
        memory.account = memory.account.backing_off(choice)

    def forgive(self, memory: Memory) -> None:
        """Forget the failures, so that everything is tried again."""
        memory.account = replace(memory.account, failed={})

    def unreported(self, memory: Memory, todo: Sequence[Ref]) -> tuple[Ref, ...]:
        """With `drift: Report`, return what was not reported yet or has moved since; forgets what drifts no more."""
        memory.account = replace(memory.account, reported=still_reported(memory.account.reported, todo))
        return unreported(memory.account, todo, self._live.get)

    def check_again(self, memory: Memory, oids: Iterable[ObjectId]) -> None:
        """Mark objects to be checked again by the next run; what it changes is not drift."""
        baselines = memory.account.baselines
        anew = {oid: replace(b, digest="") for oid in oids if (b := baselines.get(oid)) is not None}
        if anew:
            memory.account = replace(memory.account, baselines={**baselines, **anew})

    def report_no_more(self, memory: Memory) -> None:
        """Forget what was reported, as drift is not left alone."""
        if memory.account.reported:
            memory.account = replace(memory.account, reported={})

    def let_go(self, memory: Memory, pruned: PruneResult) -> None:
        """Forget what was written of objects that are the Sync's no more."""
        if pruned.gone:
            memory.account = memory.account.let_go(pruned.gone)

    def _log(
        self,
        key: SyncKey,
        memory: Memory,
        result: ApplyResult,
        chosen: Mapping[ObjectId, Desired],
        *,
        old: bool,
    ) -> tuple[Correction, ...]:
        now = asyncio.get_running_loop().time()
        corrections: list[Correction] = []
        for change in result.written:
            d = chosen.get(change.id)
            if d is None or change.tidies or not _was_drift(memory, d, old=old):
                continue
            correction = self._correction(key, memory, change, d, corrected=rfc3339_millis(datetime.now(UTC)))
            corrections.append(correction)
            self._metrics.corrected(change.id.kind)
        by = {c.id: c.opponent for c in corrections}
        fields = {c.id: c.fields for c in result.written if c.id in by}
        memory.account = memory.account.corrected(by, now, fields)
        return tuple(corrections)

    def _correction(
        self, key: SyncKey, memory: Memory, change: Change, d: Desired, *, corrected: str | None
    ) -> Correction:
        seen = self._live.get(change.id)
        base = memory.account.baselines.get(change.id)
        stamped = seen.changed_by if seen else None
        believed = stamped is not None and base is not None and stamped != base.changed_by
        return Correction(
            change.id,
            d.manifest["apiVersion"],
            change.manager,
            stamped.partition("\n")[0] if believed and stamped else None,
            self._dispatcher.detected(key).get(change.id, rfc3339_millis(datetime.now(UTC))),
            corrected,
            shown_patch(change, self._key),
            shown_value(change.was, change, self._key),
            change.beyond,
        )


def _was_drift(memory: Memory, d: Desired, *, old: bool) -> bool:
    """Distinguish a correction from news: the very state was written before (`old`: as far as the status knows)."""
    base = memory.account.baselines.get(d.id)
    return base.digest == d.digest if base is not None else old
