"""A wall clock that is set neither ends a rollout before its time nor keeps it from ending."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.api.formats import rfc3339
from setpoint.syncs.memory import Elapsed

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
AT = rfc3339(NOW)
HOUR = timedelta(hours=1)


class Rollout:
    """What a run leaves, the next takes up."""

    def __init__(self) -> None:
        self._elapsed = Elapsed()

    def since(self, at: str, now: datetime, clock: float) -> float:
        self._elapsed = self._elapsed.counting(at, now, clock)
        return self._elapsed.seconds(clock)


@pytest.mark.parametrize("step", [HOUR, -HOUR, timedelta(days=-4000)])
def test_a_step_between_two_looks_changes_nothing(step: timedelta) -> None:
    rollout = Rollout()
    assert rollout.since(AT, NOW + timedelta(seconds=0.4), 100.0) == pytest.approx(0.4)
    assert rollout.since(AT, NOW + step, 130.0) == pytest.approx(30.4)
    assert rollout.since(AT, NOW, 400.0) == pytest.approx(300.4)


def test_what_is_older_than_the_process_is_taken_from_the_wall_clock_once() -> None:
    rollout = Rollout()
    assert rollout.since(AT, NOW + HOUR, 7.0) == 3600.0
    assert rollout.since(AT, NOW - HOUR, 17.0) == 3610.0


def test_a_time_in_the_future_is_now() -> None:
    rollout = Rollout()
    assert rollout.since(AT, NOW - HOUR, 7.0) == 0.0
    assert rollout.since(AT, NOW - HOUR, 67.0) == 60.0


def test_another_rollout_begins_anew() -> None:
    rollout = Rollout()
    rollout.since(AT, NOW, 0.0)
    later = rfc3339(NOW - HOUR + timedelta(seconds=50))
    assert rollout.since(later, NOW - HOUR + timedelta(seconds=50), 50.0) == 0.0


@given(
    looks=st.lists(st.tuples(st.integers(-(10**6), 10**6), st.floats(0, 1000)), min_size=1),
    first=st.integers(-(10**6), 10**6),
)
def test_it_never_goes_back_and_is_never_negative(looks: list[tuple[int, float]], first: int) -> None:
    rollout, clock = Rollout(), 0.0
    last = rollout.since(AT, NOW + timedelta(seconds=first), clock)
    assert last >= 0.0
    for wall, passed in looks:
        clock += passed
        now = rollout.since(AT, NOW + timedelta(seconds=wall), clock)
        assert now >= last
        last = now
