"""Events: in which words, and that nothing is announced that did not change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from setpoint.objects.identity import ObjectId
from setpoint.plan.change import Action, Change
from setpoint.status.announcements import Announcement, RunSummary, announcements
from setpoint.status.outcome import Correction

DEPLOYMENT = ObjectId("apps", "Deployment", "shop", "ads")


def ready(status: str, reason: str, message: str = "words") -> dict[str, Any]:
    return {"type": "Ready", "status": status, "reason": reason, "message": message}


def said(before: dict[str, Any] | None, now: dict[str, Any], **deeds: Any) -> list[Announcement]:
    return list(announcements(RunSummary("shop", "main@1a2b3c4", 4, 0.21, **deeds), before, now))


def correction(*patch: dict[str, Any], was: Any = None) -> Correction:
    return Correction(DEPLOYMENT, "apps/v1", "kubectl-edit", "alice", "t", "t", patch, was)


def test_nothing_new_is_nothing_said() -> None:
    for state in (ready("True", "Succeeded"), ready("False", "Degraded"), ready("False", "Progressing")):
        assert said(state, {**state, "message": "other words"}) == []


def test_a_failure_and_its_end_are_said_once() -> None:
    good, bad = ready("True", "Succeeded", "4/4 healthy"), ready("False", "Degraded", "1 of 4 degraded")
    assert said(good, bad) == [Announcement("Warning", "Degraded", "1 of 4 degraded")]
    assert said(bad, good) == [Announcement("Normal", "Recovered", "4/4 healthy")]
    assert said(ready("False", "Progressing"), good) == []
    assert said(good, ready("False", "Suspended"))[0].type == "Normal"


def test_who_changed_what() -> None:
    good = ready("True", "Succeeded")
    replaced = correction({"op": "replace", "path": "/spec/replicas", "value": 3}, was=9)
    text = "Deployment/ads changed by alice with kubectl-edit: /spec/replicas 9 -> 3, corrected"
    assert said(good, good, corrections=[replaced]) == [Announcement("Warning", "Drift", text)]
    added = correction(
        {"op": "remove", "path": "/metadata/labels/x"}, {"op": "add", "path": "/y", "value": 1}
    )
    assert "/metadata/labels/x was added and 1 more" in said(good, good, corrections=[added])[0].message
    assert said(good, good, corrections=[correction()])[0].message.startswith(
        "Deployment/ads was deleted by alice"
    )


def test_nobody_is_known_by_a_name_of_ours() -> None:
    good = ready("True", "Succeeded")
    under = replace(correction({"op": "remove", "path": "/data/x"}), manager="setpoint", user="mallory")
    assert "changed by mallory as setpoint: " in said(good, good, corrections=[under])[0].message
    assert under.opponent == "mallory (as setpoint)"
    assert replace(under, user=None, manager="setpoint-adopted").opponent == "somebody (as setpoint-adopted)"
    found = [
        replace(under, manager=m, user=u).opponent for m, u in (("helm", "a"), (None, "a"), (None, None))
    ]
    assert found == ["helm", "a", ""]


def test_what_a_commit_changed() -> None:
    good = ready("True", "Succeeded")
    written = [Change(DEPLOYMENT, Action.PATCH)]
    many = [ObjectId("", "ConfigMap", "other", str(i)) for i in range(7)]
    applied, pruned = said(good, good, written=written, pruned=many)
    assert applied.message == "main@1a2b3c4: 1 patched (Deployment/ads), 3 unchanged in 0.2s"
    assert pruned.message.startswith("7 deleted: ConfigMap/other/0, ")
    assert pruned.message.endswith(" and 2 more")
