"""Which objects cost a request: only those that somebody or Git changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.kit.samples import KEY, LABEL, baseline, observed, oid, ownership, ref

from setpoint.api.reasons import Problem, Reason
from setpoint.objects.identity import ObjectId, SyncKey
from setpoint.objects.observed import Observed
from setpoint.plan.change import Action, Change
from setpoint.plan.drift import (
    DriftView,
    Failure,
    changed_since_applied,
    choose,
    drifted,
    is_news,
    judged,
    ownership_digest,
    restore_baselines,
    state_of,
    still_reported,
    unreported,
)
from setpoint.syncs.memory import Account

INVALID = Problem(Reason.Invalid, "a.yaml:1: bad")
LATER = Problem(Reason.ApiUnavailable, "away")


def view(memory: Account, *live: Observed) -> DriftView:
    known = {o.id: o for o in live}
    return DriftView(KEY, LABEL, known.get, memory)


def chosen(memory: Account, *live: Observed, refs: Any = None, **more: Any) -> list[str]:
    whole = {"due": False, "abort": True, **more}
    contested = whole.pop("contested", ())
    choice = choose(view(memory, *live), refs or (ref("a"), ref("b")), contested, 100.0, **whole)
    return [r.id.name for r in choice.todo]


def held(*names: str) -> Account:
    return Account(baselines={oid(n): baseline() for n in names})


@pytest.mark.parametrize(
    ("a", "todo"),
    [
        (observed("a"), []),
        (None, ["a"]),
        (observed("a", ownership=ownership("o2")), ["a"]),
        (observed("a", owner=SyncKey("other", "app")), ["a"]),
        (observed("a", owner=None), ["a"]),
        (observed("a", sync_label="fedcba9876543210"), ["a"]),
        (observed("a", resource_version=99, finalizers=("x",)), []),
    ],
    ids=["same", "gone", "edited", "taken", "unmarked", "relabelled", "status"],
)
def test_only_what_somebody_touched_is_looked_at(a: Observed | None, todo: list[str]) -> None:
    live = [o for o in (a, observed("b")) if o is not None]
    assert chosen(held("a", "b"), *live) == todo


def test_what_git_changed_is_looked_at() -> None:
    live = observed("a"), observed("b")
    assert chosen(held("a", "b"), *live, refs=(ref("a", "d2"), ref("b"))) == ["a"]
    assert chosen(held("a"), *live) == ["b"]


def test_the_safety_net_looks_at_all_but_what_is_contested() -> None:
    live = observed("a"), observed("b")
    assert chosen(held("a", "b"), *live, due=True) == ["a", "b"]
    assert chosen(held("a", "b"), *live, due=True, contested=[oid("a")]) == ["b"]


def failed(problem: Problem, digest: str = "d1") -> Account:
    return Account(failed={oid("a"): Failure(digest, None, problem)})


def test_what_only_a_person_can_change_is_not_tried_again() -> None:
    choice = choose(view(failed(INVALID)), (ref("a"), ref("b")), (), 0.0, due=False, abort=False)
    assert choice.stuck == {oid("a"): INVALID}
    assert [r.id.name for r in choice.todo] == ["b"]


def test_with_abort_nothing_new_is_written_beside_it_but_drift_is_corrected() -> None:
    memory = replace(failed(INVALID), baselines={oid("c"): baseline()})
    refs = (ref("a"), ref("b"), ref("c"))
    choice = choose(view(memory), refs, (), 0.0, due=False, abort=True)
    assert [r.id.name for r in choice.todo] == ["c"]
    assert list(choice.deferred) == [oid("b")]


@pytest.mark.parametrize("memory", [failed(LATER), failed(INVALID, "d0")], ids=["transient", "changed"])
def test_what_may_work_now_is_tried_again(memory: Account) -> None:
    assert chosen(memory) == ["a", "b"]


def test_a_fight_is_backed_off_from_until_the_safety_net() -> None:
    memory = held("a", "b")
    for second in range(6):
        memory = memory.corrected({oid("a"): "kubectl-edit"}, 90.0 + second)
    live = observed("b")
    choice = choose(view(memory, live), (ref("a"), ref("b")), (), 100.0, due=False, abort=True)
    assert (choice.todo, choice.backed_off) == ((), {oid("a"): 50.0})
    assert chosen(memory, live, due=True) == ["a", "b"]
    assert "kubectl-edit undoes every correction of ConfigMap/shop/a" in memory.fight_words(oid("a"))


def test_five_corrections_in_a_minute_are_no_fight() -> None:
    memory = held("a")
    for second in (30.0, 91.0, 92.0, 93.0, 94.0, 95.0):
        memory = memory.corrected({oid("a"): ""}, second)
    assert memory.fights_back(oid("a"), 100.0) is None


def change(name: str) -> Change:
    return Change(oid(name), Action.PATCH, Reason.Drift, "differs")


def test_reported_drift_costs_nothing_until_it_moves() -> None:
    seen = observed("a", ownership=ownership("o2"))
    reports = {oid("a"): (state_of(seen), change("a"), ()), oid("gone"): (None, change("gone"), ())}
    memory = Account(reported=reports)
    known: dict[ObjectId, Observed] = {seen.id: seen}
    assert unreported(memory, [ref("a"), ref("b")], known.get) == (ref("b"),)
    still = still_reported(memory.reported, [ref("a"), ref("b")])
    assert still.keys() == {oid("a")}, "what drifts no more is forgotten"
    known[seen.id] = observed("a", ownership=ownership("o3"))
    assert unreported(memory, [ref("a")], known.get) == (ref("a"),)
    known[seen.id] = observed("a", ownership=ownership("o2"), touched=8)
    assert unreported(memory, [ref("a")], known.get) == (ref("a"),), "perhaps moved within the same second"


def test_a_state_that_is_newer_than_its_judgement_is_looked_at_again() -> None:
    live = {"metadata": {"resourceVersion": "8"}}
    seen, newer = observed("a", resource_version=8), observed("a", resource_version=9)
    assert [judged(seen, live), judged(newer, live), judged(None, live), judged(seen, None)] == [
        seen,
        None,
        None,
        None,
    ]


def test_the_same_difference_after_another_touch_is_no_news() -> None:
    state, other = state_of(observed("a")), state_of(observed("a", ownership=ownership("o2")))
    touched = state_of(observed("a", touched=8))
    assert touched != state
    assert is_news(None, state, change("a"))
    assert not is_news((state, change("a"), ()), touched, change("a"))
    assert not is_news((None, change("a"), ()), state, change("a"))
    assert is_news((state, change("a"), ()), other, change("a"))
    assert is_news((state, change("a"), ()), touched, change("b"))


def test_what_a_person_may_have_written_since_is_looked_at() -> None:
    memory = held("a", "b")
    assert chosen(memory, observed("a", touched=7), observed("b", touched=8)) == ["b"]


def test_after_a_restart_the_lists_are_the_baseline_if_nobody_wrote() -> None:
    live = {o.id: o for o in (observed("a"), observed("b"))}
    stored = ownership_digest(reversed(live.values()))
    refs = (ref("a"), ref("b"))
    assert restore_baselines(refs, live.get, stored) == {oid("a"): baseline(), oid("b"): baseline()}
    live[oid("a")] = observed("a", ownership=ownership("o2"))
    assert restore_baselines(refs, live.get, stored) == {}
    assert restore_baselines((*refs, ref("c")), live.get, stored) == {}


def test_an_older_state_is_held_but_what_the_newer_one_lacks_is_not_made_again() -> None:
    refs, edited = (ref("a"), ref("b")), observed("a", ownership=ownership("o2"))
    both = {oid("a"), oid("b")}

    def found(
        *live: Observed, newer: Any = None, others: Any = (), memory: Account | None = None
    ) -> set[str]:
        seen = view(held("a", "b") if memory is None else memory, *live)
        return {o.name for o in drifted(seen, refs, others, newer, whole=True)}

    assert found(observed("a"), observed("b")) == set()
    assert found(edited, newer=both) == {"a", "b"}
    assert found(edited, newer=set()) == {"a"}  # b may have been pruned before a crash
    assert found(observed("b"), newer={oid("b")}, memory=Account()) == {"b"}
    assert found(observed("b"), newer=None, memory=Account()) == {"a", "b"}
    assert found(edited, newer=both, others={oid("a"), oid("b")}) == set()


def test_what_was_not_applied_completely_is_no_drift() -> None:
    seen = view(Account())
    assert drifted(seen, (ref("a"),), (), None, whole=False) == set()
    assert drifted(view(held("a")), (ref("a", "d2"),), (), None, whole=False) == set()


def test_what_is_unlike_is_seen_without_manifests() -> None:
    both = {o.id: o for o in (observed("a"), observed("b"))}
    stored = ownership_digest(both.values())
    assert changed_since_applied(both, both.get, stored, "team") == ""
    assert changed_since_applied([*both, oid("c")], both.get, stored, "shop") == "ConfigMap/c is missing"
    touched = {**both, oid("b"): observed("b", ownership=ownership("o2"))}
    assert changed_since_applied(both, touched.get, stored, "team") == "one of 2 objects was changed"


def test_what_is_known_to_be_forbidden_is_a_failure_like_any_other() -> None:
    forbidden = {oid("a"): Problem(Reason.Forbidden, "a.yaml:1: may not patch configmaps")}
    refs = (ref("a"), ref("b"))
    for abort, todo in ((True, ()), (False, (ref("b"),))):
        choice = choose(view(Account()), refs, (), 0.0, due=False, abort=abort, refused=forbidden)
        assert choice.todo == todo
        assert choice.stuck == forbidden
        assert choice.deferred.keys() == ({oid("b")} if abort else set())
