"""What ended by itself did not drift: nothing that is written beside it is taken for a correction."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.kit.samples import KEY, SHA, Woken, baseline, context, observed, oid, reached, target
from tests.kit.syncworld import Live

from setpoint.api.reasons import Problem, Reason
from setpoint.apply.dry_run import DryRun
from setpoint.apply.result import ApplyResult
from setpoint.health.ends.end import End
from setpoint.health.verdict import healthy
from setpoint.objects.identity import ObjectId
from setpoint.objects.inventory import grouped as inventory
from setpoint.objects.observed import Departure
from setpoint.plan.change import Action, Change
from setpoint.plan.desired import Desired, Phase, Ref
from setpoint.plan.drift import ownership_digest
from setpoint.plan.endings.ending import Ending, State, grouped
from setpoint.store.claims import Claims
from setpoint.store.index import Store
from setpoint.syncs.builder import NotYet
from setpoint.syncs.dispatcher import Dispatcher
from setpoint.syncs.memory import Account, Built
from setpoint.syncs.run import Evaluation, Reached
from setpoint.syncs.steps.drift_log import DriftLog
from setpoint.syncs.steps.gatherer import Gatherer
from setpoint.syncs.target import Target
from setpoint.watch.observations import LiveChange

OID = oid("a")
RAN = End(60, 100, 160, healthy("Complete", "completed"))


def gatherer(fleet: Dispatcher) -> Gatherer:
    """Return one that knows that there is no ConfigMap and no Job, and whose Source fails."""
    live = Live()
    live.listed = {"ConfigMap", "Job"}
    failing = SimpleNamespace(trouble=lambda _key: Problem(Reason.SourceNotReady, "no route"))
    observer = SimpleNamespace(kinds_had=lambda _inventory: [])
    parts: tuple[Any, ...] = (observer, live, Store(), Claims(), failing, fleet, None, None)
    return Gatherer(*parts)


def begun(**more: Any) -> Reached:
    """Return the start of a run whose object began to run, and may have ended since."""
    endings = grouped({OID: Ending("v1", "d1", State.RUNNING, 70)})
    return reached(ctx=context({"endings": endings, **more}))


def found(went: Departure | None) -> tuple[Reached, dict[ObjectId, str]]:
    """Return what a run finds after the object went, and what of it counts as drift."""
    fleet = Dispatcher(Store(), Claims(), "c", Woken())
    fleet.seen({"metadata": {"namespace": KEY.namespace, "name": KEY.name}})
    memory = fleet.memory(KEY)
    memory.account = Account(baselines={OID: baseline()})
    fleet.live_changed(LiveChange(OID, "", observed("a", sync_label=fleet.label(KEY)), None, went))
    assert OID in fleet.detected(KEY)
    run = gatherer(fleet).ends(Evaluation(), memory, begun())
    return run, dict(fleet.detected(KEY))


def test_what_is_done_did_not_drift() -> None:
    run, drifted = found(Departure(RAN, 160))
    assert run.course[OID].gone
    assert drifted == {}


def test_what_was_deleted_too_soon_did() -> None:
    run, drifted = found(Departure(RAN, 110))
    assert OID not in run.course
    assert list(drifted) == [OID]


def test_what_ended_while_the_commit_was_lost_is_not_missing() -> None:
    """After a restart without a cache, while the Source fails."""
    applied = {"revision": f"main@sha1:{SHA}", "digest": "t1", "ownership": ownership_digest([])}
    ready = {"type": "Ready", "status": "True", "reason": "Succeeded", "message": ""}
    told = {"inventory": inventory([("v1", OID)]), "applied": applied, "conditions": [ready]}
    fleet = Dispatcher(Store(), Claims(), "c", Woken())
    with pytest.raises(NotYet):
        asyncio.run(gatherer(fleet).compare(Evaluation(), fleet.memory(KEY), begun(**told)))


def test_what_went_and_is_not_judged_yet_is_not_reported_as_drift() -> None:
    fleet = Dispatcher(Store(), Claims(), "c", Woken())
    log, memory = DriftLog(Live(), b"", cast("Any", None), fleet), fleet.memory(KEY)
    went = DryRun(Desired(OID, {}, "d1", "a.yaml:1", None), Change(OID, Action.KEEP))
    assert log.report(KEY, memory, [went], {}) == ()
    assert memory.account.reported == {}


# --- jobs

JOB = ObjectId("batch", "Job", "shop", "migrate")
FORMER, NEWER = (Ref(JOB, "batch/v1", d * 16, "a.yaml:1", (Phase.WAVES, 0, 1)) for d in "12")
DONE = Ending("batch/v1", "2" * 10, State.SUCCEEDED, gone=True)


def endings(run: Reached, evaluation: Evaluation, good: Target | None = None, **went: Departure) -> Any:
    """Return how far the job is at the end of a run; it is not there, and the watch may say how it `went`."""
    fleet = Dispatcher(Store(), Claims(), "c", Woken())
    fleet.seen({"metadata": {"namespace": KEY.namespace, "name": KEY.name}})
    seen = replace(observed("a", sync_label=fleet.label(KEY)), id=JOB)
    for how in went.values():
        fleet.live_changed(LiveChange(JOB, "", seen, None, how))
    memory = fleet.memory(KEY)
    memory.built = Built(good=good)
    return gatherer(fleet).endings(evaluation, memory, run).get(JOB)


def test_what_is_done_at_a_commit_stays_done_while_a_later_one_is_broken_or_the_sync_is_suspended() -> None:
    """The commit was not applied completely, so another is enforced."""
    run = reached(ctx=context({"endings": grouped({JOB: DONE})}))
    assert endings(run, Evaluation(), target(FORMER)) == DONE
    assert endings(run, Evaluation(target=target(FORMER)), target(FORMER)) is None


def test_what_is_done_stays_done_while_its_kind_is_not_served() -> None:
    run = reached(ctx=context({"endings": grouped({JOB: DONE})}))
    unserved = replace(target(), unplaced=((JOB, Problem(Reason.KindUnknown, "no kind Job")),))
    assert endings(run, Evaluation(target=unserved), unserved) == DONE


def test_what_begins_and_ends_in_one_run_is_done() -> None:
    started = {JOB: Ending("batch/v1", "2" * 10, State.RUNNING, 100)}
    git, wrote = Evaluation(target=target(NEWER)), ApplyResult(written=(Change(JOB, Action.CREATE),))
    run = reached(endings={}, begun=started)
    ended = endings(replace(run, applied=wrote), git, went=Departure(RAN, 160))
    assert (ended.gone, ended.state) == (True, State.SUCCEEDED)
    assert endings(run, git) is None, "it was not written"
