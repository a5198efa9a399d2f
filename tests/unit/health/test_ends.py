"""When objects end by themselves: a table of kinds, with what their own fields say."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from setpoint.health.ends.end import LONGEST, End, end_of, leaving, may_end, requested_at
from setpoint.health.verdict import Health
from setpoint.objects.identity import identity
from setpoint.objects.observed import observe

AT = "2026-01-01T00:00:00Z"
T = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())


def made(version: str, kind: str, **parts: Any) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "a"}, **parts}


def done(kind: str, **more: Any) -> dict[str, Any]:
    return {"conditions": [{"type": kind, "status": "True", "lastTransitionTime": AT, **more}]}


def job(ttl: Any = 60, **status: Any) -> dict[str, Any]:
    return made("batch/v1", "Job", spec={"ttlSecondsAfterFinished": ttl}, status=status)


def pod(policy: str = "Never", **status: Any) -> dict[str, Any]:
    return made("v1", "Pod", spec={"restartPolicy": policy}, status=status)


ENDED: dict[str, Any] = {"containerStatuses": [{"state": {"terminated": {"finishedAt": AT, "exitCode": 0}}}]}
PRUNED = {"annotations": {"pruner.tekton.dev/ttlSecondsAfterFinished": "60"}}
RAN = {"completionTime": AT, "conditions": [{"type": "Succeeded", "status": "True"}]}
WORKFLOW = "argoproj.io/v1alpha1"


@pytest.mark.parametrize(
    ("obj", "due", "failed"),
    [
        (job(**done("Complete")), T + 60, False),
        (job(0, **done("Complete")), T, False),
        (job(**done("Failed", reason="BackoffLimitExceeded")), T + 60, True),
        (job(10**20, **done("Complete")), T + LONGEST, False),
        (pod(phase="Succeeded", **ENDED), T, False),
        (pod(phase="Failed", startTime=AT), T, True),
        (made("tekton.dev/v1", "PipelineRun", metadata=PRUNED, status=RAN), T + 60, False),
        (made("tekton.dev/v1", "TaskRun", status=RAN), T, False),
        (
            made(
                WORKFLOW,
                "Workflow",
                spec={"ttlStrategy": {"secondsAfterSuccess": 5, "secondsAfterCompletion": 9}},
                status={"phase": "Succeeded", "finishedAt": AT},
            ),
            T + 5,
            False,
        ),
        (
            made(
                WORKFLOW,
                "Workflow",
                spec={"ttlStrategy": {"secondsAfterFailure": 7}},
                status={"phase": "Failed", "finishedAt": AT},
            ),
            T + 7,
            True,
        ),
        (
            made(
                "velero.io/v1",
                "Backup",
                spec={"ttl": "720h0m0s"},
                status={
                    "phase": "Completed",
                    "completionTimestamp": AT,
                    "expiration": "2026-01-01T00:01:00Z",
                },
            ),
            T + 60,
            False,
        ),
        (
            made(
                "velero.io/v1",
                "Backup",
                spec={"ttl": "1h1m1.5s"},
                status={"phase": "Completed", "completionTimestamp": AT},
            ),
            T + 3661,
            False,
        ),
        (
            made("velero.io/v1", "Restore", status={"phase": "Completed", "completionTimestamp": AT}),
            T,
            False,
        ),
        (
            made("certificates.k8s.io/v1", "CertificateSigningRequest", status=done("Approved")),
            T + 3600,
            False,
        ),
    ],
)
def test_a_finished_object_is_due(obj: Any, due: int, failed: bool) -> None:
    end = end_of(obj)
    assert end is not None
    assert (end.finished, end.due, end.failed) == (T, due, failed)


@pytest.mark.parametrize(
    "obj",
    [
        job(),
        job(**done("Complete", status="False")),
        job(conditions=[{"type": "Complete", "status": "True", "lastTransitionTime": "yesterday"}]),
        job(conditions=[{"type": "Complete", "status": "True", "lastTransitionTime": "0001-01-01T00:00:00"}]),
        pod(phase="Running"),
        pod(phase="Failed", conditions=[{"type": "DisruptionTarget", "status": "True"}]),
        made(WORKFLOW, "Workflow", spec={"ttlStrategy": {"secondsAfterCompletion": 1}}),
    ],
)
def test_one_that_runs_or_was_evicted_is_not(obj: Any) -> None:
    end = end_of(obj)
    assert end is not None
    assert (end.finished, end.due) == (None, None)


@pytest.mark.parametrize(
    "obj",
    [
        made("batch/v1", "Job", spec={}, status=done("Complete")),
        job(True),
        job("x" * 50),
        job("-1"),
        job(None),
        pod("Always", phase="Succeeded"),
        made("v1", "ConfigMap"),
        made(WORKFLOW, "Workflow", spec={"ttlStrategy": "soon"}, status={"finishedAt": AT}),
    ],
)
def test_what_does_not_ask_for_an_end_has_none(obj: Any) -> None:
    assert end_of(obj) is None


def test_a_result_without_a_time_for_it_is_never_due() -> None:
    spec = {"ttlStrategy": {"secondsAfterSuccess": 5}}
    end = end_of(made(WORKFLOW, "Workflow", spec=spec, status={"phase": "Failed", "finishedAt": AT}))
    assert end is not None
    assert (end.finished, end.due, end.failed) == (T, None, True)


def test_what_finished_after_it_was_told_to_go_did_not_end_by_itself() -> None:
    going = {
        "name": "a",
        "deletionTimestamp": "2026-01-01T00:00:20Z",
        "deletionGracePeriodSeconds": 30,
    }
    obj = {**job(**done("Complete")), "metadata": going}
    assert requested_at(obj) == T - 10
    assert end_of(obj) == End(60)
    assert requested_at(job()) is None


@pytest.mark.parametrize(
    ("second", "status", "health"),
    [
        (58, done("Complete"), Health.Healthy),
        (58, done("Failed"), Health.Degraded),
        (50, done("Complete"), Health.Progressing),
        (58, {}, Health.Progressing),
        (None, done("Complete"), Health.Healthy),
    ],
    ids=["due", "failed", "too-soon", "running", "stays"],
)
def test_what_goes_at_its_end_is_as_it_ended(second: int | None, status: Any, health: Health) -> None:
    """Foreground deletion takes its time, and that is no rollout."""
    meta = {"name": "a", "namespace": "shop"}
    if second is not None:
        meta |= {"deletionTimestamp": f"2026-01-01T00:00:{second}Z"}
    obj = {**job(**status), "metadata": meta}
    assert observe(obj, identity(obj)).verdict.health is health
    found = leaving(obj, end_of(obj))
    assert (found.health if found else None) == (health if second == 58 and status else None)


def test_only_kinds_of_the_table_may_end() -> None:
    assert may_end("batch", "Job")
    assert not may_end("apps", "Deployment")
