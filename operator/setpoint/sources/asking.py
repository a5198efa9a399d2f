"""The running checks of Sources; cancels those that nobody waits for (shell).

A check may wait for a server for minutes. It belongs to the Source as it was when the check began. If that Source is gone
or has a new spec, it does not wait for the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from setpoint.objects.bodies import Body
from setpoint.objects.identity import SyncKey
from setpoint.sources import status
from setpoint.sources.check import CheckResult
from setpoint.store.index import Store


class Asking:
    """At most one check for each Source."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tasks: dict[SyncKey, tuple[Body, asyncio.Task[CheckResult]]] = {}

    async def ask(
        self, key: SyncKey, body: Body, check: Coroutine[Any, Any, CheckResult]
    ) -> CheckResult | None:
        """Return the answer of a check of a Source that has this body; None if it was given up."""
        task = asyncio.create_task(check)
        self._tasks[key] = (body, task)
        try:
            return await task
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if current is None or current.cancelling():
                raise
            return None
        finally:
            del self._tasks[key]

    def give_up(self, key: SyncKey) -> None:
        """Cancel the check of a Source that the store does not have any more as it was asked about."""
        body, task = self._tasks.get(key, (None, None))
        now = self._store.sources.get(key)
        if body is not None and task is not None and (now is None or status.replaced(body, now)):
            task.cancel()
