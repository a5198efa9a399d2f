"""Repeats a request until the API server answers it (shell)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from setpoint.kube.errors import ApiError

log = logging.getLogger(__name__)

T = TypeVar("T")
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 10.0
FORBIDDEN = 403


async def until_stopped(work: Callable[[], Awaitable[T]], what: str, stop: asyncio.Event) -> T | None:
    """Run `work` until it succeeds, or until `stop` (then None); ApiError if a retry cannot help.

    A process that exits instead is restarted with ever longer pauses, and misses the server's return. An API server
    that has just started knows no rights yet, and forbids what it will allow a second later.
    """
    pause = FIRST_PAUSE
    while not stop.is_set():
        try:
            return await work()
        except ApiError as error:
            if not error.transient and error.status != FORBIDDEN:
                raise
            log.warning("cannot read %s; retrying", what, extra={"error": str(error)})
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
        pause = min(LONGEST_PAUSE, pause * 2)
    return None
