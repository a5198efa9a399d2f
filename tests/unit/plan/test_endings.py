"""What becomes of objects that end by themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.kit.samples import observed

from setpoint.health.ends.end import End
from setpoint.health.verdict import Health, Verdict, degraded, healthy, progressing
from setpoint.objects.identity import ObjectId
from setpoint.objects.observed import Departure, Observed
from setpoint.plan.desired import Desired, Phase, Ref
from setpoint.plan.endings import looks
from setpoint.plan.endings.course import Facts, begun, courses, expected, over
from setpoint.plan.endings.ending import MOST_GROUPS, Ending, State, grouped, ungrouped

JOB = ObjectId("batch", "Job", "shop", "migrate")
DIGEST = "0123456789abcdef"
REF = Ref(JOB, "batch/v1", DIGEST, "a.yaml:1", (Phase.WAVES, 0, 1))
FINE = End(60, 100, 160, healthy("Complete", "completed"))
BROKEN = replace(FINE, result=degraded("BackoffLimitExceeded", "too often"))


def ending(state: State = State.RUNNING, due: int | None = 70, **more: Any) -> Ending:
    return Ending("batch/v1", DIGEST[:10], state, due, **more)


def after(
    before: Ending | None,
    *,
    end: End | None = None,
    live: bool = False,
    went: Departure | None = None,
    now: int = 1000,
    digest: str = DIGEST,
    known: bool = True,
) -> Ending | None:
    seen: Observed | None = replace(observed("x"), id=JOB, end=end) if live else None
    written = digest if live else None
    facts = Facts(lambda _: seen, {JOB: went} if went else {}, lambda _: written, lambda _: known, now)
    return courses({JOB: before} if before else {}, [REF], facts).get(JOB)


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (End(60), ending(due=1060)),
        (End(None), None),
        (None, None),
        (FINE, ending(State.SUCCEEDED, 160)),
        (BROKEN, ending(State.FAILED, 160, words="too often")),
        (replace(FINE, due=None), None),
    ],
)
def test_what_is_there_is_as_far_as_it_says(end: End | None, expected: Ending | None) -> None:
    assert after(None, end=end, live=True) == expected


def test_the_time_before_which_it_cannot_end_does_not_move_on() -> None:
    assert after(ending(due=70), end=End(60), live=True) == ending(due=70)
    assert after(ending(due=70), end=FINE, live=True, digest="") == ending(due=70)


@pytest.mark.parametrize(
    ("before", "went", "now", "state"),
    [
        (ending(), Departure(FINE, 160), 161, State.SUCCEEDED),
        (ending(), Departure(FINE, 159), 161, State.SUCCEEDED),
        (ending(), Departure(BROKEN, 160), 161, State.FAILED),
        (ending(), Departure(FINE, 150), 161, None),
        (ending(), Departure(End(60), 161), 161, None),
        (ending(), Departure(End(60), watched=False), 161, State.UNKNOWN),
        (ending(), Departure(FINE, watched=False), 161, State.SUCCEEDED),
        (ending(), Departure(End(60), 161, watched=False, alive=100), 161, State.UNKNOWN),
        (ending(), Departure(End(60), 161, watched=False, alive=150), 161, None),
        (ending(), Departure(FINE, 161, watched=False, alive=150), 161, State.SUCCEEDED),
        (ending(), None, 161, State.UNKNOWN),
        (ending(), None, 60, None),
        (ending(State.SUCCEEDED, 160), None, 161, State.SUCCEEDED),
        (ending(State.FAILED, 160), None, 161, State.FAILED),
        (ending(State.SUCCEEDED, 160), None, 100, None),
        (None, Departure(FINE, 160), 161, None),
    ],
)
def test_what_went_is_done_if_its_end_was_due(
    before: Ending | None, went: Departure | None, now: int, state: State | None
) -> None:
    found = after(before, went=went, now=now)
    assert (found.state if found else None) == state
    assert found is None or found.gone


@pytest.mark.parametrize(
    "before", [ending(), ending(State.SUCCEEDED, 160), ending(State.SUCCEEDED, 5000), ending(gone=True)]
)
def test_what_nobody_looked_for_is_neither_done_nor_deleted(before: Ending) -> None:
    """Of a kind that may not be watched, or is not served."""
    assert after(before, known=False) == before
    assert after(None, known=False) is None
    found = after(before, known=False, went=Departure(FINE, 160))
    assert found is not None
    assert found.gone, "whoever saw it go knows"


def test_what_began_and_is_not_known_to_be_gone_is_not_made_again_unjudged() -> None:
    assert expected({JOB: ending()}, [REF]) == {JOB}
    assert expected({JOB: ending(gone=True)}, [REF]) == frozenset()
    assert expected({JOB: ending()}, [replace(REF, digest="f" * 16)]) == frozenset()
    assert expected({}, [REF]) == frozenset()


@pytest.mark.parametrize(
    ("verdict", "end", "now", "due", "next_look"),
    [
        (progressing("Running", "1 active"), End(60), 100, True, looks.OFTEN),
        (healthy("Completed"), FINE, 100, False, 61.0),
        (healthy("Completed"), FINE, 160, True, looks.OFTEN),
        (healthy("Running"), End(60), 100, False, None),
        (healthy("Exists"), None, 100, False, None),
    ],
    ids=["runs", "finished", "its-end-is-due", "healthy-while-it-runs", "without-an-end"],
)
def test_what_may_not_be_watched_is_looked_at_when_its_end_is_due(
    verdict: Verdict, end: End | None, now: int, due: bool, next_look: float | None
) -> None:
    seen = replace(observed("x"), id=JOB, verdict=verdict, end=end)
    assert (looks.is_due(seen, ending(), now), looks.again(seen, now)) == (due, next_look)


def test_what_began_before_a_restart_is_looked_for_once() -> None:
    assert looks.is_due(None, ending(), 100)
    assert not looks.is_due(None, ending(gone=True), 100)
    assert not looks.is_due(None, None, 100)
    assert looks.again(None, 100) is None


def test_it_is_done_for_as_long_as_its_manifest_is_the_same() -> None:
    done = ending(State.SUCCEEDED, None, gone=True)
    assert after(done) == done
    facts = Facts(lambda _: None, {}, lambda _: None, lambda _: True, 1000)
    assert courses({JOB: done}, [replace(REF, digest="f" * 16)], facts) == {}
    assert courses({JOB: done}, [], facts) == {}
    assert courses({JOB: done}, None, facts) == {JOB: done}
    assert over({JOB: done}, [REF], lambda _: None)[JOB].health is Health.Healthy
    assert over({JOB: done}, [REF], lambda _: observed("x")) == {}
    assert over({}, [REF], lambda _: None) == {}


def test_one_that_failed_and_one_that_nobody_saw_say_so() -> None:
    failed = ending(State.FAILED, None, gone=True, words="too often").verdict
    assert (failed.health, failed.message.endswith("again: too often")) == (Health.Degraded, True)
    assert "unknown" in ending(State.UNKNOWN, None, gone=True).verdict.message


def test_what_is_about_to_be_written_is_noted() -> None:
    job = {"apiVersion": "batch/v1", "kind": "Job", "spec": {"ttlSecondsAfterFinished": 60}}
    d = Desired(JOB, job, DIGEST, "a.yaml:1", None)
    assert begun([(d, job), (d, job)], 10) == {JOB: ending(due=70)}
    assert begun([(d, {**job, "spec": {}})], 10) == {}


def test_a_status_holds_them_grouped_and_bounded() -> None:
    few = {
        JOB: ending(State.FAILED, 1_000_000_007, words="w"),
        replace_name("b"): ending(gone=True, due=None),
    }
    assert ungrouped(grouped(few)) == few
    assert ungrouped([{"state": "Else"}]) == {}
    many = {replace_name(f"j{i}"): ending(State.SUCCEEDED, 1_000_000_000 + 977 * i) for i in range(10_000)}
    groups = grouped(many)
    assert len(groups) <= MOST_GROUPS
    assert ungrouped(groups).keys() == many.keys()
    assert len(str(groups)) < 400_000


@pytest.mark.parametrize(
    "wrong",
    [
        {"due": "soon"},
        {"due": 7},
        {"digests": ["a"]},
        {"digests": "a"},
        {"kind": ["a"]},
        {"state": ["Running"]},
    ],
)
def test_what_was_written_by_hand_and_cannot_be_read_is_left_out(wrong: Any) -> None:
    [good] = grouped({JOB: ending()})
    assert ungrouped([{**good, **wrong}, good]) == {JOB: ending()}
    assert ungrouped([{}, good]) == {JOB: ending()}


def replace_name(name: str) -> ObjectId:
    return JOB._replace(name=name)


@pytest.mark.parametrize(
    "time", ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"]
)
def test_times_at_the_ends_of_the_calendar_are_written_and_read(time: str) -> None:
    """A controller, or a tenant in its place, may write any time there."""
    flow = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": "w", "namespace": "shop"},
        "spec": {"ttlStrategy": {"secondsAfterCompletion": 10**9}},
        "status": {"phase": "Succeeded", "finishedAt": time},
    }
    oid = ObjectId("argoproj.io", "Workflow", "shop", "w")
    made = Desired(oid, flow, DIGEST, "a.yaml:1", None)
    assert ungrouped(grouped(begun([(made, flow)], 1000))).keys() == {oid}
