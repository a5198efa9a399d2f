"""How much may differ: within the budget a patch says what, beyond it a number says how much."""

from __future__ import annotations

import copy
from typing import Any

import jsonpatch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.plan.test_decide import ME, config, desired, live_of

from setpoint.api.reasons import Reason
from setpoint.plan import decide as plan
from setpoint.plan.change import Action
from setpoint.plan.diff import difference, last_writer
from setpoint.status.announcements import drift_words
from setpoint.status.differences import drift_entry
from setpoint.status.outcome import Correction


def of(data: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Any", "metadata": {"name": "a"}, "spec": data}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from(["", "a"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)


@settings(max_examples=300)
@given(VALUES, VALUES)
def test_what_is_left_out_before_changes_no_patch(left: Any, right: Any) -> None:
    whole = (
        []
        if of(left) == of(right)
        else jsonpatch.JsonPatch.from_diff(of(left), of(right), optimization=False).patch
    )
    assert list(difference(of(left), of(right)).patch) == whole


@pytest.mark.parametrize(
    ("changed", "added", "gone"), [(2_000, 0, 0), (1, 1_999, 0), (0, 0, 2_000), (1, 0, 0)]
)
def test_a_patch_of_the_budget_and_no_more(changed: int, added: int, gone: int) -> None:
    same = {f"s{n}": "x" for n in range(3_000)}
    left = {**same, **{f"c{n}": "old" for n in range(changed)}, **{f"g{n}": "x" for n in range(gone)}}
    right = {**same, **{f"c{n}": "new" for n in range(changed)}, **{f"a{n}": "x" for n in range(added)}}
    number = changed + added + gone
    assert len(difference(of(left), of(right)).patch) == number
    found = difference(of(left), of(right), most=number - 1 or 1)
    assert (found.patch, found.beyond) == (((), number) if number > 1 else (found.patch, 0))


@pytest.mark.parametrize(
    ("left", "right", "fields"),
    [
        (["a"] * 9, ["b"] * 5, 9),
        ([{"a": n, "b": 1} for n in range(5)], [{"a": n, "b": 2, "c": 1} for n in range(5)], 10),
        ({"a": {"b": [1, 2, {"c": 1}]}}, {"a": {"b": [1, 3, {"d": True}]}}, 3),
        ({"a": 1, "b": 1.5}, {"a": True, "b": "1.5"}, 2),
    ],
)
def test_fields_are_counted_at_any_depth(left: Any, right: Any, fields: int) -> None:
    found = difference(of({"v": left}), of({"v": right}), most=1)
    assert (found.beyond, found.parts) == (fields, frozenset({"spec"}))


def test_seventy_thousand_changed_keys_are_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop was held 1.8 s: by a patch of one operation for each."""
    asked: list[object] = []
    monkeypatch.setattr(jsonpatch.JsonPatch, "from_diff", lambda *a, **_: asked.append(a))
    d = desired(config(data={f"k{n}": "git" for n in range(70_000)}))
    predicted = live_of(d)
    live = copy.deepcopy(predicted)
    live["data"] = dict.fromkeys(live["data"], "somebody's")
    live["metadata"]["managedFields"].append(
        {
            "manager": "kubectl-edit",
            "operation": "Update",
            "time": "2026-01-01T00:00:00Z",
            "fieldsV1": {"f:data": {}},
        }
    )
    change = plan.decide(d, live, predicted, ME, (), frozenset())
    words = "differs in 70,000 fields, more than the 2,000 of settings.maxDiff that are shown one by one"
    assert (change.action, change.reason, change.message) == (Action.PATCH, Reason.OutOfSync, words)
    assert (change.patch, change.fields, change.beyond, change.manager) == ((), (), 70_000, "kubectl-edit")
    assert asked == []


def test_what_a_person_added_counts_as_well() -> None:
    d = desired(config())
    predicted = live_of(d)
    extra = {f"k{n}": "mine" for n in range(30)}
    predicted["data"] = {**predicted["data"], **extra}
    entry = {"manager": "kubectl-edit", "operation": "Update", "time": "2026-01-01T00:00:00Z"}
    fields: dict[str, Any] = {"f:data": {f"f:{name}": {} for name in extra}}
    predicted["metadata"]["managedFields"].append({**entry, "fieldsV1": fields})
    change = plan.decide(d, predicted, predicted, ME, (), frozenset(), most=29)
    assert (change.beyond, len(change.additions), change.patch) == (30, 30, ())
    assert len(plan.decide(d, predicted, predicted, ME, (), frozenset(), most=30).patch) == 30


def test_who_wrote_last_in_what_differs() -> None:
    entries = [
        {"manager": "a", "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:data": {}}},
        {"manager": "b", "time": "2026-01-02T00:00:00Z", "fieldsV1": {"f:data": {}}},
        {"manager": "c", "time": "2026-01-03T00:00:00Z", "fieldsV1": {"f:status": {}}},
        {
            "manager": "setpoint",
            "operation": "Apply",
            "time": "2026-01-04T00:00:00Z",
            "fieldsV1": {"f:data": {}},
        },
    ]
    live = {"metadata": {"managedFields": entries}}
    assert last_writer(live, {"data"}) == "b"
    assert last_writer(live, {"spec"}) is None


def test_so_many_fields_are_told_as_a_change_and_not_as_a_deletion() -> None:
    d = desired(config())
    told = Correction(d.id, "v1", "kubectl-edit", None, "now", "then", (), beyond=70_000)
    assert (
        drift_words(told, "team")
        == f"{d.id.label('team')} changed with kubectl-edit: 70,000 fields, corrected"
    )
    assert drift_entry(told)["fields"] == 70_000


def test_what_we_wrote_ourselves_before_a_crash_is_ours_however_much_it_is() -> None:
    d = desired(config(data={f"k{n}": "new" for n in range(30)}))
    live = live_of(d)
    live["data"] = dict.fromkeys(live["data"], "newer")
    live["metadata"]["managedFields"][0]["fieldsV1"] = {"f:data": {f"f:{name}": {} for name in live["data"]}}
    assert plan.decide(d, live, live_of(d), ME, (), frozenset(), most=20).ours
    entry = {
        "manager": "kubectl-edit",
        "operation": "Update",
        "time": "t",
        "fieldsV1": {"f:data": {"f:k1": {}}},
    }
    live["metadata"]["managedFields"].append(entry)
    assert not plan.decide(d, live, live_of(d), ME, (), frozenset(), most=20).ours
