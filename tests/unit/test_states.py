"""What is said of each object."""

from __future__ import annotations

import pytest
from tests.unit.samples import HEALTHY, baseline, observed, oid, ref, run, target

from setpoint.apply_result import ApplyResult
from setpoint.change import Action, Change
from setpoint.inventory import grouped
from setpoint.memory import Memory
from setpoint.objects import ObjectId, Observed, SyncKey
from setpoint.outcome import SyncState
from setpoint.reasons import Problem, Reason
from setpoint.run import Run
from setpoint.states import states_of

A = oid("a")


def only(r: Run, *live: Observed) -> tuple[SyncState, Reason | str, str]:
    known = {o.id: o for o in live}
    [state] = states_of(r, known.get)
    assert state.id == A
    return state.sync, state.reason, state.message


@pytest.fixture
def held() -> Run:
    r = run(Memory(baselines={A: baseline()}))
    r.target = target(ref("a"))
    return r


def test_what_was_written_and_is_there_is_synced(held: Run) -> None:
    assert only(held, observed("a"))[0] is SyncState.SYNCED


def test_what_is_not_there_is_missing(held: Run) -> None:
    assert only(held) == (SyncState.MISSING, Reason.Missing, "is not in the cluster")


def test_what_git_changed_and_nobody_wrote_waits(held: Run) -> None:
    held.target = target(ref("a", "d2"))
    assert only(held, observed("a")) == (SyncState.WAITING, Reason.Waiting, "is not written yet")


def test_the_first_thing_wrong_is_said(held: Run) -> None:
    change = Change(A, Action.PATCH, Reason.Drift, "differs at /data/k")
    held.memory.reported[A] = (None, change, ())
    assert only(held, observed("a")) == (SyncState.OUT_OF_SYNC, Reason.Drift, "differs at /data/k")
    held.memory.fights[A] = "x undoes every correction"
    assert only(held, observed("a"))[1] is Reason.Fight
    held.applied |= ApplyResult(deferred={A: "waits: wave 1"})
    assert only(held, observed("a")) == (SyncState.WAITING, Reason.Waiting, "waits: wave 1")
    held.applied |= ApplyResult(failed={A: Problem(Reason.Invalid, "a.yaml:1: bad")})
    assert only(held, observed("a")) == (SyncState.FAILED, Reason.Invalid, "a.yaml:1: bad")
    held.contested[A] = SyncKey("team", "other")
    assert only(held, observed("a"))[2] == "ConfigMap/shop/a belongs to Sync team/other"


def test_an_object_that_cannot_be_taken_is_contested_not_failed(held: Run) -> None:
    held.applied |= ApplyResult(failed={A: Problem(Reason.Contested, "belongs to Sync x/y")})
    assert only(held, observed("a"))[0] is SyncState.CONTESTED


def test_reported_deletions_are_missing(held: Run) -> None:
    held.memory.reported[A] = (None, Change(A, Action.CREATE, Reason.Missing, "was deleted"), ())
    assert only(held) == (SyncState.MISSING, Reason.Missing, "was deleted")


def test_without_a_target_what_is_enforced_is_shown_else_the_inventory() -> None:
    r = run(Memory(good=target(ref("a"))))
    assert only(r, observed("a"))[0] is SyncState.SYNCED
    r = run(status={"inventory": grouped([("v1", A)])})
    live: dict[ObjectId, Observed] = {A: observed("a")}
    [state] = states_of(r, live.get)
    assert (state.id, state.api_version, state.verdict) == (A, "v1", HEALTHY)


def test_failures_beside_the_target_are_shown_and_not_counted(held: Run) -> None:
    gadget = ObjectId("example.org", "Gadget", "shop", "g")
    held.applied |= ApplyResult(failed={gadget: Problem(Reason.KindUnknown, "no kind Gadget")})
    live: dict[ObjectId, Observed] = {A: observed("a")}
    last = states_of(held, live.get)[-1]
    assert (last.id, last.sync, last.counted) == (gadget, SyncState.FAILED, False)
