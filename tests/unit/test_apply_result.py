"""What several steps of an apply did, told as one."""

from __future__ import annotations

from tests.unit.samples import oid

from setpoint.apply_result import ApplyResult, located, merged
from setpoint.reasons import Problem, Reason

BAD, WORSE = Problem(Reason.Invalid, "k: bad"), Problem(Reason.Invalid, "k: worse")
WAITS, LATER = Problem(Reason.Waiting, "a waits"), Problem(Reason.Waiting, "b waits")


def test_later_results_count_for_an_object_and_the_first_wait_is_told() -> None:
    first = ApplyResult(failed={oid("a"): BAD}, deferred={oid("b"): "x"}, warnings=("one",))
    second = ApplyResult(failed={oid("a"): WORSE}, waiting=WAITS, unchanged=(oid("c"),), warnings=("two",))
    both = merged([first, second, ApplyResult(waiting=LATER)])
    assert both == ApplyResult(
        failed={oid("a"): WORSE},
        deferred={oid("b"): "x"},
        waiting=WAITS,
        unchanged=(oid("c"),),
        warnings=("one", "two"),
    )
    assert first | second == merged([first, second])
    assert merged([]) == ApplyResult()


def test_a_failure_is_told_of_the_file_where_that_is_known() -> None:
    other = Problem(Reason.Contested, "ConfigMap/c belongs to Sync x/y")
    result = ApplyResult(failed={oid("a"): BAD, oid("b"): WORSE, oid("c"): other})
    folders, files = dict.fromkeys(result.failed, "k"), {oid("a"): "base/a.yaml", oid("c"): "base/c.yaml"}
    told = located(result, folders, files).failed
    assert {o.name: p.message for o, p in told.items()} == {
        "a": "base/a.yaml: bad",
        "b": "k: worse",
        "c": other.message,
    }
    assert told[oid("a")].reason is Reason.Invalid
