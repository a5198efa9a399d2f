"""The worker as a process of its own, at the other end of a socket (shell). It ends when the operator's end is closed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from setpoint import __version__
from setpoint.api.hosts import HostRules
from setpoint.link.server import Handler, Server, greeting, typed
from setpoint.link.stream import Stream
from setpoint.link.turns import Turns
from setpoint.runtime.logs import configure
from setpoint.runtime.malloc import TrimTimer, separate_large_blocks
from setpoint.settings import Settings
from setpoint.wall.messages import (
    PROTOCOL,
    Build,
    Check,
    Compare,
    Drop,
    Fetch,
    Hello,
    Objects,
    Places,
    Welcome,
)
from setpoint.worker.inprocess import InProcess


def handlers(worker: InProcess) -> Mapping[type[Any], Handler]:
    """Return what answers each request."""

    async def drop(request: Drop) -> None:
        worker.drop(request)

    return {
        Hello: greeting(Welcome(PROTOCOL, __version__, landlock=0, cache="")),
        Check: worker.check,
        Fetch: worker.fetch,
        Compare: worker.compare,
        Build: worker.build,
        Objects: worker.objects,
        Places: worker.places,
        Drop: drop,
    }


async def serve(settings: Settings, hosts: HostRules, connected: socket.socket) -> None:
    """Answer the operator until it closes the socket."""
    worker, turns, returns = InProcess.of(settings, hosts), Turns(), TrimTimer()
    answers = typed(handlers(worker), turns)

    async def answer(channel: Any, head: Any) -> None:
        returns.worked()
        await answers(channel, head)

    try:
        await Server(await Stream.over(connected), answer).run()
    finally:
        returns.close()
        await worker.close()


def main(settings: Settings, descriptor: int, api: Sequence[tuple[str, int]]) -> int:
    """Run a worker at this end of a socket pair; what `python -m setpoint worker` calls.

    `api`: host and port of each place of the API server, where Git may not connect to.
    """
    configure(settings.log_level, settings.log_format)
    separate_large_blocks()
    # Whoever ends the operator, at a terminal too, ends this by it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    with suppress(KeyboardInterrupt):
        hosts = HostRules(settings.git_allowed_hosts, settings.git_denied_hosts, tuple(api))
        asyncio.run(_serve(settings, hosts, descriptor))
    return 0


async def _serve(settings: Settings, hosts: HostRules, descriptor: int) -> None:
    try:
        await serve(settings, hosts, socket.socket(fileno=descriptor))
    finally:
        # A thread may still read what somebody wrote, and nobody waits for that any more.
        os._exit(0)
