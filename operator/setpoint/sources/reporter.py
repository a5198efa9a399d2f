"""Tells of the checks of Sources: status, Events, metrics (shell around `source_status`)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from setpoint.api import names
from setpoint.api.formats import stamp
from setpoint.api.reasons import Problem
from setpoint.kube.event_recorder import Events
from setpoint.objects.bodies import Body
from setpoint.objects.identity import ObjectId, SyncKey
from setpoint.runtime.metrics import Telemetry
from setpoint.sources import status as source_status
from setpoint.sources.check import Checked
from setpoint.status.conditions import condition_of
from setpoint.store.status_writer import StatusWriter


class SourceReporter:
    """Tells of one check after another."""

    def __init__(self, writer: StatusWriter, events: Events, telemetry: Telemetry) -> None:
        self._writer, self._events, self._telemetry = writer, events, telemetry

    def fetched(self, problem: Problem | None) -> None:
        """Count a check by what came of it."""
        self._telemetry.fetched("success" if problem is None else str(problem.reason))

    async def report(self, key: SyncKey, body: Body, checked: Checked) -> None:
        """Write what came of a check, if it differs from what is stored. Raises Gone, Moved and Problem."""
        previous: Mapping[str, Any] = body.get("status") or {}
        status = source_status.build(previous, checked, stamp(datetime.now(UTC)))
        if news := source_status.news(previous, status):
            self._events.record(body, news.type, news.reason, news.message)
        ready = condition_of(status, "Ready") or {}
        self._telemetry.ready("Source", key.namespace, key.name, ready=ready.get("status") == "True")
        await self._writer.write(ObjectId(names.GROUP, "Source", key.namespace, key.name), body, status)

    def forget(self, key: SyncKey) -> None:
        """Measure nothing any more of a Source that is gone."""
        self._telemetry.forget("Source", key.namespace, key.name)
