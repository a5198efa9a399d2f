"""The worker as a process of its own (shell): a child of the operator, which ends with it, or a container, which waits for the next."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

from setpoint import __version__
from setpoint.api.hosts import HostRules
from setpoint.api.reasons import Problem
from setpoint.link.channel import Channel
from setpoint.link.server import Handle, Server, introduced
from setpoint.link.stream import Stream
from setpoint.link.turns import Turns
from setpoint.runtime.bell import Bell
from setpoint.runtime.logs import configure
from setpoint.runtime.loop_holds import watched
from setpoint.runtime.malloc import TrimTimer, separate_large_blocks
from setpoint.settings import Settings
from setpoint.wall.frames import Frame
from setpoint.wall.messages import (
    PROTOCOL,
    Hello,
    Welcome,
)
from setpoint.worker import container
from setpoint.worker.broker import Broker
from setpoint.worker.cache_id import cache_id
from setpoint.worker.fences import fences
from setpoint.worker.folders.scratch import Remover
from setpoint.worker.shares import check
from setpoint.worker.telling import SECONDS

log = logging.getLogger(__name__)


async def serve(settings: Settings, remover: Remover, stream: Stream) -> None:
    """Answer the operator until the connection ends. Its first message says where the API server is, which Git may not connect to."""
    turns, returns = Turns(), TrimTimer()
    async with AsyncExitStack() as ends:
        ends.callback(returns.close)

        def work(hello: Hello) -> Handle:
            broker = Broker.of(settings, _rules(settings, hello), remover)
            ends.push_async_callback(whole, broker.close)

            telling = Bell(lambda: server.tell(broker.stats()))
            ends.callback(telling.stop)

            async def answer(channel: Channel, head: Frame) -> None:
                returns.worked()
                telling.ring_after(SECONDS)
                await broker.handle(channel, head)

            return answer

        server = Server(stream, introduced(_welcome(settings), work, turns))
        await server.run()


async def whole(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Do something to its end, also where this is cancelled meanwhile; CancelledError comes after it.

    A broker that closes is left by an operator that dials anew, and what it did not come to would run, and lie there, for ever.
    """
    task, cut = asyncio.create_task(work()), None
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError as error:
            cut = error
    task.result()
    if cut is not None:
        raise cut


def _rules(settings: Settings, hello: Hello) -> HostRules:
    api = tuple((place.host, place.port) for place in hello.api)
    return HostRules(settings.git_allowed_hosts, settings.git_denied_hosts, api)


def _welcome(settings: Settings) -> Welcome:
    return Welcome(PROTOCOL, __version__, fences(settings).abi, cache_id(Path(settings.cache_dir)))


def main(settings: Settings, place: int | Path) -> int:
    """Run a worker; what `python -m setpoint worker` calls.

    `place`: the descriptor of a socket whose other end is the operator, with which it ends; or the folder in which it listens for one.
    """
    configure(settings.log_level, settings.log_format)
    try:
        check(settings)
    except Problem as problem:
        log.error("the worker does not start: %s", problem.message)  # noqa: TRY400 - it is a setting
        return 1
    separate_large_blocks()
    # At a terminal too, who ends the operator ends this by it; of a container, `container.listen` says when.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    with suppress(KeyboardInterrupt):
        asyncio.run(_run(settings, place))
    return 0


async def _run(settings: Settings, place: int | Path) -> None:
    code, remover = 1, Remover()
    try:
        with watched():
            if isinstance(place, Path):
                await container.listen(place, settings, partial(serve, settings, remover))
            else:
                await serve(settings, remover, await Stream.over(socket.socket(fileno=place)))
        code = 0
    except Exception:
        log.exception("the worker failed; it ends")
    finally:
        remover.finish()
        # A thread may still read what somebody wrote, and nobody waits for that any more.
        os._exit(code)
