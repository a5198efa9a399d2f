"""Golden cases: the plan and the status that come of a commit and of what a real server said."""

from __future__ import annotations

import json

import jsonpatch
import pytest
import yaml
from tests.golden import replay
from tests.golden.case import STAMP, Case, Json, cases
from tests.golden.record import expectation

from setpoint.api import names
from setpoint.objects import managed_fields
from setpoint.objects.json_patch import value_at
from setpoint.plan.change import Action
from setpoint.plan.diff import comparable, difference

ALL = {case.name: case for case in cases()}


@pytest.fixture(params=ALL)
def case(request: pytest.FixtureRequest) -> Case:
    return ALL[request.param]


def recorded(case: Case) -> Json:
    return dict(yaml.safe_load(case.recorded.read_text()))


def test_the_plan_and_the_status_are_as_expected(case: Case) -> None:
    assert expectation(case, recorded(case)) == yaml.safe_load(case.expected.read_text())


def test_applying_the_plan_gives_what_git_says_on_all_fields_that_are_owned(case: Case) -> None:
    planned = replay.planned(case, recorded(case))
    for d, change in planned.changes:
        if change.action is Action.REFUSE:
            continue
        live, predicted = planned.live.get(d.id), planned.predicted[d.id]
        after = comparable(predicted)
        if live is not None:
            removed = {op["path"] for op in change.patch if op["op"] == "remove"}
            after = jsonpatch.apply_patch(comparable(live), list(change.patch))
            gone = [managed_fields.pointer(p) for p, _ in change.additions]
            assert {op["path"] for op in difference(after, predicted).patch} <= set(gone), removed
        owned = managed_fields.own_entry(predicted["metadata"]["managedFields"])
        assert owned is not None
        ignored = {p for rule in case.sync.spec.ignore for p in rule.paths}
        for path in managed_fields.pointers(predicted, owned["fieldsV1"]):
            if path not in ignored:
                wanted = value_at(d.manifest, path)
                assert wanted is None or value_at(after, path) == wanted, path


def test_the_plan_of_the_result_is_empty(case: Case) -> None:
    first = replay.planned(case, recorded(case))
    refused = {d.id for d, change in first.changes if change.action is Action.REFUSE}
    for d, change in replay.planned(case, replay.carried_out(first)).changes:
        assert change.action is (Action.REFUSE if d.id in refused else Action.KEEP), change


def test_nothing_outside_the_inventory_goes_and_nothing_that_git_has(case: Case) -> None:
    planned = replay.planned(case, recorded(case))
    assert set(planned.prune.delete) <= set(planned.inventory) - {d.id for d in case.desired}


def test_the_same_outcome_gives_the_same_status(case: Case) -> None:
    planned = replay.planned(case, recorded(case))
    settled = replay.planned(case, replay.carried_out(planned))
    first = replay.told(case, settled, replay.told(case, planned))
    assert replay.told(case, settled, first) == first


def test_no_value_of_a_secret_is_shown(case: Case) -> None:
    shown = json.dumps(yaml.safe_load(case.expected.read_text()))
    for d in (*case.applied, *case.desired):
        values = {**d.manifest.get("data", {}), **d.manifest.get("stringData", {})}
        if d.id.kind == "Secret":
            assert [v for v in values.values() if v in shown] == []


def test_every_object_that_is_written_names_its_sync(case: Case) -> None:
    for d in case.desired:
        assert d.manifest["metadata"]["labels"][names.LABEL_SYNC] == STAMP.label
