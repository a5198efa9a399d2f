"""Status: conditions, phrases, history; the same outcome gives the same status."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from setpoint.api.formats import rfc3339
from setpoint.api.reasons import Problem, Reason
from setpoint.api.sync_status import SyncStatus
from setpoint.health.verdict import Health, Verdict
from setpoint.objects.identity import ObjectId
from setpoint.objects.inventory import grouped, ungrouped
from setpoint.status import build as status
from setpoint.status.outcome import Correction, ObjectState, Outcome, Revision, SyncState

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SHA = "1a2b3c4d5e6f7a8b9c0d1a2b3c4d5e6f7a8b9c0d"
GIT = Revision(f"main@sha1:{SHA}", "d1")
GOOD = Verdict(Health.Healthy, "Available", "")
SLOW = Verdict(Health.Progressing, "RolloutInProgress", "1 of 3 pods ready")
BAD = Verdict(Health.Degraded, "ImagePullBackOff", "ImagePullBackOff registry/ads:9")


def oid(name: str, namespace: str = "shop") -> ObjectId:
    return ObjectId("apps", "Deployment", namespace, name)


def state(
    name: str, verdict: Verdict | None = GOOD, sync: SyncState = SyncState.SYNCED, **more: Any
) -> ObjectState:
    return ObjectState(oid(name), "apps/v1", sync, verdict=verdict, **more)


def outcome(*states: ObjectState, **more: Any) -> Outcome:
    inventory = tuple(("apps/v1", s.id) for s in states)
    return Outcome(
        **{
            "namespace": "shop",
            "generation": 2,
            "desired": GIT,
            "complete": True,
            "states": states,
            "inventory": inventory,
            "ownership": "o",
            **more,
        }
    )


def ready(built: dict[str, Any], kind: str = "Ready") -> tuple[str, str, str]:
    c = next(c for c in built["conditions"] if c["type"] == kind)
    return c["status"], c["reason"], c["message"]


@pytest.mark.parametrize(
    ("o", "expected"),
    [
        (outcome(state("a"), state("b")), ("True", "Succeeded", "2/2 healthy")),
        (outcome(), ("True", "Succeeded", "0/0 healthy")),
        (
            outcome(state("a"), state("search", SLOW)),
            ("False", "Progressing", "1 of 2 progressing: Deployment/search (1 of 3 pods ready)"),
        ),
        (
            outcome(state("ads", BAD), state("search", SLOW)),
            ("False", "Degraded", "1 of 2 degraded: Deployment/ads (ImagePullBackOff registry/ads:9)"),
        ),
        (
            outcome(state("a"), refused="would delete 40 of 41 objects (limit 25%)"),
            ("False", "Refused", "refused: would delete 40 of 41 objects (limit 25%)"),
        ),
        (
            outcome(desired=None, problem=Problem(Reason.RenderFailed, "a.yaml:12: bad"), complete=False),
            ("False", "RenderFailed", "render failed: a.yaml:12: bad"),
        ),
        (
            outcome(state("a", None, SyncState.FAILED, reason=Reason.Forbidden, message="a.yaml:1: may not"), state("b"), complete=False),
            ("False", "Forbidden", "1 of 2 failed: Deployment/a: a.yaml:1: may not"),
        ),
        (outcome(state("a", sync=SyncState.OUT_OF_SYNC, message="differs at /spec")), ("False", "Drift", "1 of 1 drifted: Deployment/a: differs at /spec")),
        (outcome(state("a"), suspended=True), ("False", "Suspended", "suspended at main@1a2b3c4: nothing is applied or corrected")),
    ],
)  # fmt: skip
def test_what_ready_says(o: Outcome, expected: tuple[str, str, str]) -> None:
    built = status.build({}, o, NOW)
    assert ready(built) == expected
    SyncStatus.model_validate(built)


@pytest.mark.parametrize("retry", [None, False])
def test_waiting_for_a_commit_is_not_stalled(retry: bool | None) -> None:
    """Nobody has to do anything: a Sync that is made with its Source is woken by the first commit."""
    waits = Problem(Reason.SourceNotReady, "Source team/src has no revision yet", retry=retry)
    built = status.build({}, outcome(desired=None, problem=waits, complete=False), NOW)
    assert "Stalled" not in [c["type"] for c in built["conditions"]]


def failed(name: str, cause: str, where: str = "", reason: Reason = Reason.AdmissionDenied) -> ObjectState:
    message = f"{where or name + '.yaml:3'}: {oid(name).label()}: {cause}"
    return state(name, None, SyncState.FAILED, reason=reason, message=message)


DENIED = "denied by webhook v.example.org: no owner"


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        (
            [failed(f"a{n:02}", DENIED) for n in range(53)],
            f"53 of 53 failed: {DENIED}; first: a00.yaml:3: Deployment/shop/a00",
        ),
        (
            [
                failed("a", "may not"),
                failed("b", DENIED, "some dir/b.yaml:1"),
                failed("c", DENIED),
                state("d"),
            ],
            f"3 of 4 failed, 2 of them: {DENIED}; first: some dir/b.yaml:1: Deployment/shop/b",
        ),
        (
            [failed("a", "may not", reason=Reason.Forbidden), failed("b", DENIED)],
            "2 of 2 failed: a.yaml:3: Deployment/shop/a: may not",
        ),
        (
            [
                state(n, None, SyncState.FAILED, reason=Reason.ApiUnavailable, message="no answer")
                for n in ("a", "b")
            ],
            "2 of 2 failed: no answer; first: Deployment/a",
        ),
        (
            [
                state(n, None, SyncState.FAILED, reason=Reason.KindUnknown, message=f"{n}.yaml:3: no kind X")
                for n in ("a", "b")
            ],
            "2 of 2 failed: no kind X; first: a.yaml:3: Deployment/a",
        ),
        (
            [state("a", BAD), state("b", SLOW), state("c", BAD)],
            "2 of 3 degraded: ImagePullBackOff registry/ads:9; first: Deployment/a",
        ),
        (
            [state("a", GOOD), state("b", BAD)],
            "1 of 2 degraded: Deployment/b (ImagePullBackOff registry/ads:9)",
        ),
    ],
)
def test_one_cause_of_many_failures_is_told_once_with_its_count(
    states: list[ObjectState], expected: str
) -> None:
    built = status.build({}, outcome(*states), NOW)
    assert ready(built)[2] == expected


def test_the_cause_of_most_failures_gives_the_reason() -> None:
    states = [failed("a", "may not", reason=Reason.Forbidden), failed("b", DENIED), failed("c", DENIED)]
    assert ready(status.build({}, outcome(*states), NOW))[1] == "AdmissionDenied"


def test_the_same_outcome_gives_the_same_status_later() -> None:
    o = outcome(state("a"), state("b", SLOW))
    first = status.build({}, o, NOW)
    assert status.build(first, o, NOW + timedelta(seconds=1)) == first


def test_a_rollout_that_takes_too_long_has_failed_and_one_over_two_seconds_is_reconciling() -> None:
    o = outcome(state("a", SLOW), timeout=60)
    first = status.build({}, o, NOW)
    assert "Reconciling" not in [c["type"] for c in first["conditions"]]
    assert ready(status.build(first, replace(o, waited=3), NOW), "Reconciling")[0] == "True"
    late = status.build(first, replace(o, waited=60), NOW)
    assert ready(late)[:2] == ("False", "TimedOut")
    assert late["history"][0]["result"] == "TimedOut"


def nested(name: str) -> ObjectState:
    return ObjectState(ObjectId("setpoint.dev", "Sync", "shop", name), "setpoint.dev/v1alpha1", verdict=SLOW)


def test_a_nested_sync_has_a_time_limit_of_its_own() -> None:
    o = outcome(state("a"), nested("child"), timeout=60)
    first = status.build({}, o, NOW)
    assert ready(status.build(first, replace(o, waited=600), NOW))[:2] == ("False", "Progressing")
    o = outcome(state("a", SLOW), nested("child"), timeout=60)
    assert ready(status.build(first, replace(o, waited=600), NOW))[:2] == ("False", "TimedOut")


def test_what_is_suspended_is_not_reconciling() -> None:
    o = outcome(state("a", SLOW), timeout=60)
    first = status.build({}, o, NOW)
    built = status.build(first, replace(o, waited=3, suspended=True), NOW)
    assert "Reconciling" not in [c["type"] for c in built["conditions"]]


@pytest.mark.parametrize("step", [timedelta(hours=1), timedelta(hours=-1)])
def test_a_clock_that_is_set_ends_no_rollout(step: timedelta) -> None:
    o = outcome(state("a", SLOW), timeout=60)
    first = status.build({}, o, NOW)
    assert status.build(first, replace(o, waited=1), NOW + step) == first


def test_what_is_written_anew_has_all_its_time() -> None:
    """What was waited for before does not count for the next revision."""
    o = outcome(state("a", SLOW), timeout=60)
    first = status.build({}, o, NOW)
    new = replace(o, desired=Revision("main@sha1:" + "b" * 40, "another"), changed=1, waited=600)
    assert ready(status.build(first, new, NOW + timedelta(seconds=9)))[1] == "Progressing"


def test_transition_times_move_only_with_the_status() -> None:
    first = status.build({}, outcome(state("a", SLOW)), NOW)
    later = NOW + timedelta(seconds=1)
    second = status.build(first, outcome(state("a", BAD)), later)
    times = {c["type"]: c["lastTransitionTime"] for c in second["conditions"]}
    assert times["Ready"] == rfc3339(NOW)
    third = status.build(second, outcome(state("a")), later)
    assert {c["type"]: c["lastTransitionTime"] for c in third["conditions"]}["Ready"] == rfc3339(later)


def test_what_stays_enforced_is_said() -> None:
    first = status.build({}, outcome(state("a")), NOW)
    broken = Outcome("shop", 2, problem=Problem(Reason.RenderFailed, "a.yaml: bad"), states=(state("a"),))
    built = status.build(first, broken, NOW)
    assert ready(built)[2] == "render failed: a.yaml: bad; main@1a2b3c4 stays enforced"
    assert built["applied"] == first["applied"]
    assert [c["type"] for c in built["conditions"]][-1] == "Stalled"


def test_healthy_keeps_the_last_revision_that_was() -> None:
    first = status.build({}, outcome(state("a")), NOW)
    worse = outcome(state("a", BAD), desired=Revision("main@sha1:" + "f" * 40, "d2"))
    second = status.build(first, worse, NOW)
    assert second["healthy"] == first["healthy"]
    assert second["applied"]["digest"] == "d2"
    assert [h["result"] for h in second["history"]] == ["Degraded", "Healthy"]


def test_lists_are_bounded_and_say_so() -> None:
    many = outcome(*(state(f"o{i:03}", BAD) for i in range(70)))
    built = status.build({}, many, NOW)
    assert (len(built["differences"]), built["omitted"]) == (50, 20)
    log = tuple(
        Correction(
            oid("a"),
            "apps/v1",
            "kubectl-edit",
            "alice",
            "t",
            "t",
            ({"op": "remove", "path": "/x", "value": None},),
        )
        for _ in range(30)
    )
    again = status.build(built, outcome(state("a"), corrections=log), NOW)
    assert len(again["driftLog"]) == 20
    assert again["driftLog"][0]["patch"][0] == {"op": "remove", "path": "/x", "value": None}
    assert again["summary"]["corrected"] == 30
    first, second = (replace(log[0], corrected=f"t{n}") for n in (1, 2))  # in the order in which it happened
    newest = status.build(again, outcome(state("a"), corrections=(first, second)), NOW)["driftLog"][:3]
    assert [entry["corrected"] for entry in newest] == ["t2", "t1", "t"]


def test_an_inventory_is_grouped_and_read_back() -> None:
    entries = [("apps/v1", oid(f"d{i}")) for i in range(5)] + [("v1", ObjectId("", "Namespace", "", "n"))]
    groups = grouped(entries)
    assert len(groups) == 2
    assert ungrouped(groups) == {o: v for v, o in entries}


def test_ten_thousand_objects_fit() -> None:
    import json

    built = status.build({}, outcome(*(state(f"deployment-number-{i:05}") for i in range(10_000))), NOW)
    assert len(json.dumps(built)) < 500_000


def test_a_commit_that_cannot_be_rendered_stands_in_the_history_once() -> None:
    good = status.build({}, outcome(state("a"), trigger="Commit"), NOW)
    broken = Problem(Reason.RenderFailed, "a.yaml:12: bad")
    failing = {"desired": None, "complete": False, "problem": broken, "trigger": "Commit"}
    bad = status.build(good, outcome(state("a"), attempted="main@sha1:2", **failing), NOW)
    assert [(h["revision"], h["result"]) for h in bad["history"]] == [
        ("main@sha1:2", "RenderFailed"),
        (GIT.revision, "Healthy"),
    ]
    worse = status.build(bad, outcome(state("a"), attempted="main@sha1:3", **failing), NOW)
    assert worse["history"] == bad["history"], "a commit elsewhere does not add to it"
    mended = status.build(worse, outcome(state("a"), trigger="Commit"), NOW)
    assert [h["result"] for h in mended["history"]] == ["Healthy", "RenderFailed", "Healthy"]


def test_drift_that_is_only_reported_is_logged_and_not_counted_as_corrected() -> None:
    seen = Correction(oid("web"), "apps/v1", "kubectl", None, "2026-01-02T03:04:05.000Z", None, ())
    told = status.build({}, outcome(state("web", sync=SyncState.OUT_OF_SYNC), corrections=(seen,)), NOW)
    assert told["summary"]["corrected"] == 0
    assert [entry["manager"] for entry in told["driftLog"]] == ["kubectl"]


def used(*names: str, user: str = "Pod/web-1") -> dict[ObjectId, str]:
    words = f"is no longer in Git and stays while {user} uses it"
    return {ObjectId("", "ConfigMap", "shop", name): words for name in names}


def test_what_stays_in_use_is_told_beside_ready_and_changes_nothing_else() -> None:
    plain = status.build({}, outcome(state("a")), NOW)
    built = status.build({}, outcome(state("a"), in_use=used("old")), NOW)
    words = "ConfigMap/old is no longer in Git and stays while Pod/web-1 uses it"
    assert ready(built) == ("True", "Succeeded", f"1/1 healthy; {words}")
    for kind in ("Synced", "Healthy"):
        assert ready(built, kind) == ready(plain, kind)
    assert "Stalled" not in [c["type"] for c in built["conditions"]]


def test_of_several_in_use_the_first_is_named_whatever_their_order() -> None:
    one, other = (outcome(state("a"), in_use=used(*names)) for names in (("b", "a", "c"), ("c", "b", "a")))
    assert status.build({}, one, NOW)["conditions"] == status.build({}, other, NOW)["conditions"]
    assert ready(status.build({}, one, NOW))[2].endswith(
        "; ConfigMap/a is no longer in Git and stays while Pod/web-1 uses it (and 2 more)"
    )


def test_long_words_of_what_is_in_use_leave_room_for_health() -> None:
    slow = Verdict(Health.Progressing, "RolloutInProgress", "x" * 3000)
    for verdict in (GOOD, slow):
        o = outcome(state("a", verdict), in_use=used("a", user="Pod/" + "y" * 3000))
        message = ready(status.build({}, o, NOW))[2]
        assert len(message) <= 1024
        assert "; ConfigMap/a is no longer in Git" in message
        assert message.startswith("1/1 healthy" if verdict is GOOD else "1 of 1 progressing")


@pytest.mark.parametrize("more", [{"suspended": True}, {"refused": "no"}, {"complete": False}])
def test_trouble_is_told_without_what_is_in_use(more: dict[str, Any]) -> None:
    plain, kept = (outcome(state("a"), **more, in_use=u) for u in ({}, used("a")))
    assert ready(status.build({}, kept, NOW)) == ready(status.build({}, plain, NOW))
