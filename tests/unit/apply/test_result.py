"""What several steps of an apply did, told as one."""

from __future__ import annotations

from tests.kit.samples import oid

from setpoint.api.reasons import Problem, Reason
from setpoint.apply.result import ApplyResult, merged

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


def test_another_try_is_wanted_for_what_no_event_ends() -> None:
    assert not ApplyResult(failed={oid("a"): BAD}, waiting=WAITS).transient
    assert ApplyResult(failed={oid("a"): Problem(Reason.Forbidden, "no")}).transient
    assert ApplyResult(waiting=Problem(Reason.Waiting, "a is being deleted", retry=True)).transient
