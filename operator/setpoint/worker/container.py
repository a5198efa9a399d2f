"""The worker as a container of the operator's pod: it listens for the operator, and outlives it (shell)."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

from setpoint.link.listener import Listener
from setpoint.link.sockets import listen as listening_in
from setpoint.link.sockets import user_of
from setpoint.link.stream import Stream
from setpoint.settings import Settings

LONGEST_END = 25.0
"""Seconds that an operator has to end after SIGTERM, which both get: five less than the pod's grace."""


async def listen(folder: Path, settings: Settings, serve: Callable[[Stream], Awaitable[None]]) -> None:
    """Serve the operator that dials, one connection at a time, until SIGTERM and the end of its connection. Raises OSError.

    `serve` gets each connection, and returns when it ended.
    """
    one_at_a_time = asyncio.Lock()

    async def connection(stream: Stream) -> None:
        try:
            async with one_at_a_time:  # the one before has ended when its children have
                await serve(stream)
        finally:
            await stream.closed()

    uid = user_of(settings.operator_user, same_user=settings.same_user)
    listener = Listener(listening_in(folder), uid, connection)
    running = asyncio.create_task(listener.run())
    try:
        await _told_to_end()
        with suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_END):
                await listener.idle()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _told_to_end() -> None:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    await told.wait()
