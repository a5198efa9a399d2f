"""What a Source says after a check."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.kit.samples import SHA, fetched

from setpoint.api.reasons import Problem, Reason
from setpoint.api.source import SourceStatus
from setpoint.sources.check import CheckResult, unasked
from setpoint.sources.status import News, build, news, replaced, retold, words

AT, LATER = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
GOOD = CheckResult(3, None, fetched(), None, False)
DOWN = CheckResult(3, None, None, Problem(Reason.HostUnreachable, "git.example.org does not answer"), False)
WRONG = CheckResult(3, None, None, Problem(Reason.RedirectRefused, "redirects elsewhere", False), False)
RESTS = CheckResult(3, None, None, None, True)


def ready(status: dict[str, Any]) -> tuple[str, str, str]:
    c = next(c for c in status["conditions"] if c["type"] == "Ready")
    return c["status"], c["reason"], c["message"]


def test_a_new_commit_is_shown_and_told_once() -> None:
    status = build({}, replace(GOOD, requested="now"), AT)
    assert SourceStatus.model_validate(status)
    assert status["revision"] == f"main@sha1:{SHA}"
    assert status["commit"]["summary"] == "Fix the shop (Ada)"
    assert (status["observedGeneration"], status["requested"], status["lastFetched"]) == (3, "now", AT)
    assert ready(status) == ("True", "Succeeded", "main@1a2b3c4")
    assert news({}, status) == News("Normal", "Fetched", "main@1a2b3c4: Fix the shop (Ada)")
    again = build(status, replace(GOOD, requested="now"), LATER)
    assert again == status, "nothing new: nothing is written"
    assert news(status, again) is None


def test_a_failure_keeps_the_last_revision_and_says_so() -> None:
    before = build({}, GOOD, AT)
    status = build(before, DOWN, LATER)
    assert status["revision"] == before["revision"]
    words = "git.example.org does not answer; main@1a2b3c4 stays enforced"
    assert ready(status) == ("False", "HostUnreachable", words)
    assert news(before, status) == News("Warning", "HostUnreachable", words)
    assert news(status, build(status, DOWN, LATER)) is None
    recovered = build(status, GOOD, LATER)
    assert news(status, recovered) == News("Normal", "Recovered", "main@1a2b3c4")
    assert recovered["lastFetched"] == AT


def test_a_commit_that_the_cache_lost_is_not_said_to_be_enforced() -> None:
    status = build(build({}, GOOD, AT), replace(DOWN, held=False), LATER)
    lost = "main@1a2b3c4 is not in the cache now: what drifts is put back once it is fetched again"
    assert ready(status)[2] == f"git.example.org does not answer; {lost}"
    assert "cache" not in ready(build({}, replace(DOWN, held=False), AT))[2], "there was none yet"


@pytest.mark.parametrize(
    ("checked", "stalled"), [(DOWN, False), (WRONG, True), (GOOD, False), (RESTS, False)]
)
def test_only_what_waits_for_a_person_is_stalled(checked: CheckResult, stalled: bool) -> None:
    types = [c["type"] for c in build(build({}, GOOD, AT), checked, LATER)["conditions"]]
    assert ("Stalled" in types) is stalled


def test_suspended_is_no_warning() -> None:
    before = build({}, GOOD, AT)
    status = build(before, RESTS, LATER)
    assert ready(status) == ("False", "Suspended", "suspended: the remote is not asked")
    told = news(before, status)
    assert told is not None
    assert told.type == "Normal"


def test_a_first_failure_has_nothing_to_enforce() -> None:
    assert ready(build({}, DOWN, AT))[2] == "git.example.org does not answer"


def test_long_subjects_are_cut() -> None:
    status = build({}, replace(GOOD, fetched=replace(fetched(), subject="x" * 999, author="y" * 999)), AT)
    assert (len(status["commit"]["subject"]), len(status["commit"]["author"])) == (200, 100)
    assert len(status["commit"]["summary"]) == 72 + 40 + 3


def test_a_source_is_another_when_its_spec_or_the_object_is_but_not_for_its_status() -> None:
    old: dict[str, Any] = {"metadata": {"uid": "u", "generation": 3}}
    assert replaced(None, old)
    assert not replaced(old, {**old, "status": build({}, GOOD, AT)})
    for change in ({"uid": "v"}, {"generation": 4}, {"deletionTimestamp": AT}):
        assert replaced(old, {"metadata": {**old["metadata"], **change}})


@pytest.mark.parametrize(
    ("before", "after", "news_to_them"),
    [
        (None, GOOD, True),
        (GOOD, replace(GOOD, fetched=fetched("b" * 40)), False),
        (GOOD, replace(GOOD, requested="now"), False),
        (GOOD, DOWN, True),
        (DOWN, DOWN, False),
        (DOWN, WRONG, True),
        (DOWN, GOOD, True),
    ],
)
def test_a_sync_without_a_commit_hears_only_why(
    before: CheckResult | None, after: CheckResult, news_to_them: bool
) -> None:
    first = build({}, before, AT) if before else {}
    assert retold({"status": first}, {"status": build(first, after, LATER)}) is news_to_them


def test_a_suspended_source_is_that_alone_while_the_worker_is_away() -> None:
    """Its remote is not asked when the worker is back either."""
    status = {"observedGeneration": 3, "requested": "now", "short": "main@aaaaaaa"}
    checked = unasked({"spec": {"suspend": True}, "status": status}, held=True)
    assert (checked.generation, checked.requested) == (3, "now")
    assert words(checked, status) == (False, Reason.Suspended, "suspended: the remote is not asked")
    asked = unasked({"spec": {}, "status": status}, held=True)
    assert words(asked, status)[1] is Reason.WorkerGone
