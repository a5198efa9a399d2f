"""What is said of a run that ended early."""

from __future__ import annotations

import logging

import pytest

from setpoint.api.reasons import Problem, Reason
from setpoint.kube.errors import ApiError, Fenced
from setpoint.objects.identity import SyncKey
from setpoint.runtime.workqueue import Result
from setpoint.store.status_writer import RETRYABLE, Conflict, retry_later

KEY = SyncKey("team", "shop")


@pytest.mark.parametrize(
    ("error", "level"),
    [
        (Conflict(), None),
        (Fenced("nothing was sent"), logging.INFO),
        (ApiError(503, "ServiceUnavailable", "etcd is away"), logging.WARNING),
        (Problem(Reason.Invalid, "no such field"), logging.WARNING),
    ],
)
def test_it_is_tried_again_and_said_as_loudly_as_it_matters(
    error: Exception, level: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    assert isinstance(error, RETRYABLE)
    with caplog.at_level(logging.DEBUG):
        assert retry_later("Sync", KEY, error) == Result(retry=True)
    said = [(record.levelno, record.object, record.error) for record in caplog.records]  # type: ignore[attr-defined]
    assert said == ([(level, "Sync/team/shop", str(error))] if level else [])
