"""What is said of each object."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from tests.kit.samples import HEALTHY, baseline, context, observed, oid, reached, ref, target

from setpoint.api.reasons import Problem, Reason
from setpoint.apply.result import ApplyResult
from setpoint.objects.identity import ObjectId, SyncKey
from setpoint.objects.inventory import grouped
from setpoint.objects.observed import Observed
from setpoint.plan.change import Action, Change
from setpoint.status.outcome import ObjectState, SyncState
from setpoint.syncs.memory import Account, Built, Memory
from setpoint.syncs.run import Evaluation, Reached
from setpoint.syncs.steps.object_states import states_of

A = oid("a")


@dataclass(frozen=True)
class Case:
    """What is known of one object when a run ends; it was written, and nothing is wrong with it."""

    evaluation: Evaluation = field(default_factory=lambda: Evaluation(target=target(ref("a"))))
    reached: Reached = field(default_factory=reached)
    memory: Memory = field(default_factory=lambda: Memory(account=Account(baselines={A: baseline()})))

    def applied(self, **changes: Any) -> Case:
        """The same after a run that did something else, too."""
        applied = self.reached.applied | ApplyResult(**changes)
        return replace(self, reached=replace(self.reached, applied=applied))

    def states(self, *live: Observed) -> tuple[ObjectState, ...]:
        known = {o.id: o for o in live}
        return states_of(self.evaluation, self.reached, self.memory, known.get)

    def only(self, *live: Observed) -> tuple[SyncState, Reason | str, str]:
        [state] = self.states(*live)
        assert state.id == A
        return state.sync, state.reason, state.message


def test_what_was_written_and_is_there_is_synced() -> None:
    assert Case().only(observed("a"))[0] is SyncState.SYNCED


def test_what_is_not_there_is_missing() -> None:
    assert Case().only() == (SyncState.MISSING, Reason.Missing, "is not in the cluster")


def test_what_git_changed_and_nobody_wrote_waits() -> None:
    case = Case(Evaluation(target=target(ref("a", "d2"))))
    assert case.only(observed("a")) == (SyncState.WAITING, Reason.Waiting, "is not written yet")


def test_the_first_thing_wrong_is_said() -> None:
    case, change = Case(), Change(A, Action.PATCH, Reason.Drift, "differs at /data/k")
    account = case.memory.account
    case.memory.account = account = replace(account, reported={A: (None, change, ())})
    assert case.only(observed("a")) == (SyncState.OUT_OF_SYNC, Reason.Drift, "differs at /data/k")
    case.memory.account = replace(account, fights={A: "x undoes every correction"})
    assert case.only(observed("a"))[1] is Reason.Fight
    case = case.applied(deferred={A: "waits: wave 1"})
    assert case.only(observed("a")) == (SyncState.WAITING, Reason.Waiting, "waits: wave 1")
    case = case.applied(failed={A: Problem(Reason.Invalid, "a.yaml:1: bad")})
    assert case.only(observed("a")) == (SyncState.FAILED, Reason.Invalid, "a.yaml:1: bad")
    case = replace(case, reached=replace(case.reached, contested={A: SyncKey("team", "other")}))
    assert case.only(observed("a"))[2] == "ConfigMap/shop/a belongs to Sync team/other"


def test_an_object_that_cannot_be_taken_is_contested_not_failed() -> None:
    case = Case().applied(failed={A: Problem(Reason.Contested, "belongs to Sync x/y")})
    assert case.only(observed("a"))[0] is SyncState.CONTESTED


def test_reported_deletions_are_missing() -> None:
    case = Case()
    change = Change(A, Action.CREATE, Reason.Missing, "was deleted")
    case.memory.account = replace(case.memory.account, reported={A: (None, change, ())})
    assert case.only() == (SyncState.MISSING, Reason.Missing, "was deleted")


def test_without_a_target_what_is_enforced_is_shown_else_the_inventory() -> None:
    case = Case(Evaluation(), memory=Memory(Built(good=target(ref("a")))))
    assert case.only(observed("a"))[0] is SyncState.SYNCED
    there = reached(ctx=context({"inventory": grouped([("v1", A)])}))
    [state] = Case(Evaluation(), there, Memory()).states(observed("a"))
    assert (state.id, state.api_version, state.verdict) == (A, "v1", HEALTHY)


def test_failures_beside_the_target_are_shown_and_not_counted() -> None:
    gadget = ObjectId("example.org", "Gadget", "shop", "g")
    case = Case().applied(failed={gadget: Problem(Reason.KindUnknown, "no kind Gadget")})
    last = case.states(observed("a"))[-1]
    assert (last.id, last.sync, last.counted) == (gadget, SyncState.FAILED, False)


def test_what_is_in_git_counts_though_its_kind_is_not_served() -> None:
    gadget = ObjectId("example.org", "Gadget", "shop", "g")
    problem = Problem(Reason.KindUnknown, "no kind Gadget")
    aimed = replace(target(ref("a")), unplaced=((gadget, problem),))
    assert aimed.total == 2
    states = Case(Evaluation(target=aimed)).applied(failed={gadget: problem}).states(observed("a"))
    assert [(s.id, s.sync, s.counted) for s in states] == [
        (A, SyncState.SYNCED, True),
        (gadget, SyncState.FAILED, True),
    ]
    # Nothing was tried, as it is suspended or waits.
    last = Case(Evaluation(target=aimed)).states(observed("a"))[-1]
    assert (last.id, last.sync, last.counted) == (gadget, SyncState.MISSING, True)


# --- what a Sync is told of objects that are not its own

THEIRS = SyncKey("elsewhere", "other")
FORBIDDEN = Problem(Reason.Forbidden, "a.yaml:1: may not patch configmaps")


def test_what_may_not_be_written_looks_the_same_whether_it_is_there_or_not() -> None:
    fresh = Case(memory=Memory())
    refused = replace(fresh, reached=replace(fresh.reached, refused={A: FORBIDDEN})).applied(
        failed={A: FORBIDDEN}
    )
    for case in (fresh, fresh.applied(failed={A: FORBIDDEN}), fresh.applied(deferred={A: "waits"}), refused):
        [there], [absent] = case.states(observed("a", owner=THEIRS)), case.states()
        assert there == absent
        assert there.verdict is None


def test_who_may_write_it_sees_how_it_is() -> None:
    live, fresh = observed("a", owner=THEIRS), Case(memory=Memory())
    tried = replace(fresh, reached=replace(fresh.reached, tried=frozenset([A])))
    contested = replace(fresh, reached=replace(fresh.reached, contested={A: THEIRS}))
    mine = reached(ctx=context({"inventory": grouped([("v1", A)])}))
    foreign = fresh.applied(failed={A: Problem(Reason.Foreign, "belongs to Helm")})
    for case in (Case(), tried, contested, replace(fresh, reached=mine), foreign):
        assert case.states(live)[0].verdict == HEALTHY


def test_what_was_never_tried_is_told_nothing_of_though_the_inventory_has_it() -> None:
    entries = grouped([("v1", A)])
    untried = reached(ctx=context({"inventory": entries, "wants": entries}))
    assert untried.provisional == {A}
    assert Case(reached=untried, memory=Memory()).states(observed("a", owner=THEIRS))[0].verdict is None
    assert replace(untried, tried=frozenset([A])).provisional == frozenset()
    assert replace(untried, complete=True).provisional == frozenset()
    unchanged = replace(untried, applied=ApplyResult(unchanged=(A,)))
    assert unchanged.provisional == frozenset()


def test_nor_while_nobody_knows_what_is_aimed_at() -> None:
    entries, b = grouped([("v1", A), ("v1", oid("b"))]), observed("b", owner=THEIRS)
    untried = reached(ctx=context({"inventory": entries, "wants": grouped([("v1", A)])}))
    states = Case(Evaluation(), untried, Memory()).states(observed("a", owner=THEIRS), b)
    assert {s.id: s.verdict for s in states} == {A: None, oid("b"): HEALTHY}
    [mine, _] = Case(Evaluation(), untried, Memory()).states(observed("a"), b)
    assert mine.verdict == HEALTHY


def test_what_may_not_be_written_and_was_not_tried_again_is_hidden_too() -> None:
    """A wave says what it waits for: nothing of an object that the run before was refused."""
    case = Case().applied(failed={A: FORBIDDEN, oid("b"): Problem(Reason.Invalid, "bad")})
    assert replace(case.reached, refused={oid("c"): FORBIDDEN}).forbidden == {A, oid("c")}
