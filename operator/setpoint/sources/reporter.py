"""Reports the checks of Sources: status, Events, metrics (shell around `sources.status`)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from setpoint.api import names
from setpoint.api.formats import rfc3339
from setpoint.api.reasons import Problem
from setpoint.kube.event_recorder import EventRecorder
from setpoint.objects.bodies import Body
from setpoint.objects.identity import ObjectId, SyncKey
from setpoint.runtime.metrics import Metrics
from setpoint.sources import status as source_status
from setpoint.sources.check import CheckResult
from setpoint.status.conditions import condition_of
from setpoint.store.status_writer import StatusWriter


class SourceReporter:
    """Tells of one check after another."""

    def __init__(self, writer: StatusWriter, recorder: EventRecorder, metrics: Metrics) -> None:
        self._writer, self._recorder, self._metrics = writer, recorder, metrics

    def fetched(self, problem: Problem | None) -> None:
        """Count a check by its result."""
        self._metrics.fetched("success" if problem is None else str(problem.reason))

    async def report(self, key: SyncKey, body: Body, checked: CheckResult) -> None:
        """Write the result of a check, if it differs from what is stored. Raises Deleted, Conflict and Problem."""
        previous: Mapping[str, Any] = body.get("status") or {}
        status = source_status.build(previous, checked, rfc3339(datetime.now(UTC)))
        if news := source_status.news(previous, status):
            self._recorder.record(body, news.type, news.reason, news.message)
        ready = condition_of(status, "Ready") or {}
        self._metrics.ready("Source", key.namespace, key.name, ready=ready.get("status") == "True")
        await self._writer.write(ObjectId(names.GROUP, "Source", key.namespace, key.name), body, status)

    def forget(self, key: SyncKey) -> None:
        """Remove the metrics of a Source that is gone."""
        self._metrics.forget("Source", key.namespace, key.name)
