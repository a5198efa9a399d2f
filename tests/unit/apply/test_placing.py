"""What is said of built objects names the file that each comes from."""

from __future__ import annotations

from setpoint.api.reasons import Problem, Reason
from setpoint.apply.placing import needs_places, with_places
from setpoint.apply.result import ApplyResult
from setpoint.objects.identity import ObjectId
from setpoint.plan.desired import Desired

A, B, C = (ObjectId("", "ConfigMap", "n", name) for name in "abc")


def desired(oid: ObjectId) -> Desired:
    return Desired(oid, {}, "", "k", None)


def test_the_folder_gives_way_to_the_file() -> None:
    bare = ObjectId("", "ConfigMap", "", "a")
    places = {bare: "k/a.yaml", B: "k/b.yaml:3"}
    failed = {
        A: Problem(Reason.Invalid, "k: ConfigMap/n/a: no", retry=True),
        B: Problem(Reason.Contested, "ConfigMap/n/b belongs to another"),
        C: Problem(Reason.Invalid, "k: ConfigMap/n/c: no"),
    }
    result = ApplyResult(failed=failed, warnings=(f"k: {B.label()}: old", "else"))
    chosen = [desired(oid) for oid in (A, B, C)]
    assert needs_places(result, chosen)
    made = with_places(result, chosen, places)
    assert [problem.message for problem in made.failed.values()] == [
        "k/a.yaml: ConfigMap/n/a: no",
        "ConfigMap/n/b belongs to another",
        "k: ConfigMap/n/c: no",
    ]
    assert made.failed[A].retry
    assert made.warnings == (f"k/b.yaml:3: {B.label()}: old", "else")


def test_what_says_no_place_needs_none() -> None:
    assert not needs_places(ApplyResult(failed={B: Problem(Reason.Contested, "no")}), [desired(B)])
    assert not needs_places(ApplyResult(), [])
