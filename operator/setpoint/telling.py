"""What came of a run is told: the status, Events, metrics, and when to come back (shell around `status.build`)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from setpoint import pacing, status, stuck
from setpoint.announce import Deeds, announcements
from setpoint.choosing import ownership_digest
from setpoint.conditions import condition_of
from setpoint.fleet import Fleet
from setpoint.objects import ObjectId, Observed, SyncKey
from setpoint.outcome import Outcome, Revision
from setpoint.parts import Parts
from setpoint.queue import Result
from setpoint.reasons import Problem, Reason
from setpoint.revisions import seconds, short
from setpoint.run import Run, oid_of
from setpoint.states import states_of
from setpoint.store import Body

# Not the error itself: it may quote a Secret, and says nothing to who reads a status.
BUG = "an error inside Setpoint ended the run, which is tried again; the operator's log has it: work failed unexpectedly"


class Teller:
    """Tells of one run after another."""

    def __init__(self, parts: Parts, fleet: Fleet) -> None:
        """All parts are shared."""
        self._p, self._fleet = parts, fleet

    async def tell(self, run: Run) -> Result:
        """Write what came of a run, if it differs from what is stored; gives when to run again."""
        inventory, had = self._next_inventory(run), run.inventory.keys()
        await self._ask_pods(run)
        new = status.build(run.previous, self._outcome(run, inventory), datetime.now(UTC))
        self._announce(run, new)
        self._pace(run, new)
        if not run.hold_back(new, asyncio.get_running_loop().time()):
            run.memory.held = new  # a write that fails must not take along what this run has to tell
            await self.write(run.key, run.body, new)
        self._fleet.record(run.key, inventory, run.lent)
        if self._fleet.dropped(run.key) and inventory.keys() != had:
            self._fleet.shrunk(run.key)
        run.memory.settled, run.memory.failing = run.settled, run.retries
        if run.complete:
            run.memory.started, run.memory.trigger = "", "Commit"
        took = asyncio.get_running_loop().time() - run.began
        self._p.telemetry.reconciled("Sync", _ready(new)["reason"], took)
        if run.retries:
            return Result(retry=True)
        return Result(after=run.again)

    async def tell_of_bug(self, key: SyncKey, body: Body, held: Mapping[str, Any] | None) -> None:
        """Say that a run came to no result for a reason that only the log has; `held` is a status not written yet."""
        previous, generation = held or body.get("status") or {}, int(body["metadata"].get("generation", 0))
        bug = Problem(Reason.InternalError, BUG)
        await self.write(key, body, status.broken(previous, generation, bug, datetime.now(UTC)))

    async def write(self, key: SyncKey, body: Body, new: Mapping[str, Any]) -> None:
        """Write a status if it differs; those who depend on this Sync are woken when they may care."""
        ready = _ready(new)
        self._p.telemetry.ready("Sync", key.namespace, key.name, ready=ready["status"] == "True")
        before = condition_of(body.get("status") or {}, "Ready")
        await self._p.writer.write(oid_of(key), body, new)
        self._fleet.told(key)
        if before is None or before["status"] != ready["status"]:
            self._fleet.wake(self._p.store.dependents(key))

    def _outcome(self, run: Run, inventory: Mapping[ObjectId, str]) -> Outcome:
        target = run.target
        return Outcome(
            namespace=run.key.namespace,
            generation=run.generation,
            desired=Revision(target.revision, target.digest) if target else None,
            attempted=run.current.revision if run.current and target is None else "",
            requested=run.answers,
            problem=run.problem,
            waiting=run.waiting,
            refused=run.refused,
            complete=run.complete,
            ownership=self._ownership(run),
            states=tuple(states_of(run, self._look) + run.extra),
            inventory=tuple((v, o) for o, v in inventory.items()),
            corrections=tuple(run.corrections),
            changed=len(run.applied.written) + len(run.pruned),
            started=run.memory.started,
            trigger=run.memory.trigger,
            timeout=seconds(run.sync.spec.timeout),
            waited=self._waited(run, run.previous),
            suspended=run.sync.spec.suspend,
        )

    async def _ask_pods(self, run: Run) -> None:
        """Have the pods of workloads watched that do not get on, as long as they do not."""
        target = None if run.sync.spec.suspend else run.target or run.memory.good
        seen = [o for r in (target.refs if target else ()) if (o := self._p.live.get(r.id)) is not None]
        healthy = condition_of(run.previous, "Healthy")
        known = healthy is not None and healthy["reason"] == str(Reason.Degraded)
        workloads = (o.id for o in seen if stuck.in_question(o.id, o.verdict))
        await self._p.pods.want(run.key, workloads, known=known)

    def _look(self, oid: ObjectId) -> Observed | None:
        """Give what is known of an object, in the words of its pods where those tell more."""
        seen = self._p.live.get(oid)
        if seen is None:
            return None
        verdict = stuck.refined(oid, seen.verdict, self._p.pods.verdict(oid))
        return seen if verdict is seen.verdict else replace(seen, verdict=verdict)

    @staticmethod
    def _next_inventory(run: Run) -> dict[ObjectId, str]:
        if not run.complete or run.target is None:
            return {o: v for o, v in run.inventory.items() if o not in run.released}
        desired = {r.id: r.api_version for r in run.target.refs if r.id not in run.contested}
        return {**desired, **run.kept}

    def _ownership(self, run: Run) -> str:
        if not run.complete or run.target is None:
            return ""
        found = [o for r in run.target.refs if (o := self._p.live.get(r.id)) is not None]
        return ownership_digest(found) if len(found) == len(run.target.refs) else ""

    @staticmethod
    def _waited(run: Run, state: Mapping[str, Any]) -> float:
        """Give the seconds since what a status says was applied; the sooner it is asked the first time, the better."""
        applied = state.get("applied")
        clock = asyncio.get_running_loop().time()
        return run.memory.rollout.since(applied["at"], datetime.now(UTC), clock) if applied else 0.0

    def _pace(self, run: Run, new: Mapping[str, Any]) -> None:
        """Come back for what no event announces: the time-out of a rollout, the safety-net interval."""
        waited, now = self._waited(run, new), asyncio.get_running_loop().time()
        healthy = next(c for c in new["conditions"] if c["type"] == "Healthy")
        spec, due = run.sync.spec, run.memory.full_check_at
        if healthy["reason"] == str(Reason.Progressing) and new.get("applied"):
            run.sooner(pacing.rollout(waited, seconds(spec.timeout), complete=run.complete))
        if due is not None and not spec.suspend:
            run.sooner(pacing.safety_net(due, now, seconds(spec.interval)))

    def _announce(self, run: Run, new: Mapping[str, Any]) -> None:
        """Post Events about what is new."""
        target = run.target
        deeds = Deeds(
            home=run.key.namespace,
            revision=short(target.revision) if target else "",
            total=len(target.refs) if target else 0,
            took=asyncio.get_running_loop().time() - run.began,
            corrections=run.corrections,
            written=run.applied.written,
            pruned=run.pruned,
            warnings=run.applied.warnings,
        )
        for a in announcements(deeds, condition_of(run.previous, "Ready"), _ready(new)):
            self._p.events.record(run.body, a.type, a.reason, a.message)


def _ready(new: Mapping[str, Any]) -> Mapping[str, Any]:
    return next(c for c in new["conditions"] if c["type"] == "Ready")
