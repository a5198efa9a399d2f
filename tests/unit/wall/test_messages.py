"""Messages are plain values: they say what a person must understand, and show no login."""

from __future__ import annotations

from setpoint.api.reasons import Problem, Reason
from setpoint.wall.messages import Failed, Login


def test_a_problem_crosses_whole() -> None:
    problem = Problem(Reason.GitFailed, "a.yaml:1: it fails", retry=True)
    failed = Failed.of(problem, "look-1")
    assert failed == Failed(Reason.GitFailed, "a.yaml:1: it fails", True, "look-1")
    there = failed.problem()
    assert (there.reason, there.message, there.retry) == (problem.reason, problem.message, True)


def test_no_login_is_shown() -> None:
    login = Login("user", "secret", "token", "key", "phrase", "hosts", "ca")
    assert repr(login) == "Login()"
