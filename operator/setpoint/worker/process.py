"""The worker as a process of its own (shell): a child of the operator, which ends with it, or a container, which waits for the next."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

from setpoint import __version__
from setpoint.api.hosts import HostRules
from setpoint.link.channel import Channel
from setpoint.link.server import Handle, Handler, Server, introduced, typed
from setpoint.link.stream import Stream
from setpoint.link.turns import Turns
from setpoint.runtime.logs import configure
from setpoint.runtime.malloc import TrimTimer, separate_large_blocks
from setpoint.runtime.watchdog import watched
from setpoint.settings import Settings
from setpoint.wall.frames import Frame
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
from setpoint.worker import container
from setpoint.worker.cache_id import cache_id
from setpoint.worker.fences import fences
from setpoint.worker.inprocess import InProcess

log = logging.getLogger(__name__)


def handlers(worker: InProcess) -> Mapping[type[Any], Handler]:
    """Return what answers each request."""

    async def drop(request: Drop) -> None:
        worker.drop(request)

    return {
        Check: worker.check,
        Fetch: worker.fetch,
        Compare: worker.compare,
        Build: worker.build,
        Objects: worker.objects,
        Places: worker.places,
        Drop: drop,
    }


async def serve(settings: Settings, stream: Stream) -> None:
    """Answer the operator until the connection ends. Its first message says where the API server is, which Git may not connect to."""
    turns, returns = Turns(), TrimTimer()
    async with AsyncExitStack() as ends:
        ends.callback(returns.close)

        def work(hello: Hello) -> Handle:
            worker = InProcess.of(settings, _rules(settings, hello))
            ends.push_async_callback(worker.close)
            answers = typed(handlers(worker), turns)

            async def answer(channel: Channel, head: Frame) -> None:
                returns.worked()
                await answers(channel, head)

            return answer

        await Server(stream, introduced(_welcome(settings), work, turns)).run()


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
    separate_large_blocks()
    # At a terminal too, who ends the operator ends this by it; of a container, `container.listen` says when.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    with suppress(KeyboardInterrupt):
        asyncio.run(_run(settings, place))
    return 0


async def _run(settings: Settings, place: int | Path) -> None:
    code = 1
    try:
        with watched():
            if isinstance(place, Path):
                await container.listen(place, settings, partial(serve, settings))
            else:
                await serve(settings, await Stream.over(socket.socket(fileno=place)))
        code = 0
    except Exception:
        log.exception("the worker failed; it ends")
    finally:
        # A thread may still read what somebody wrote, and nobody waits for that any more.
        os._exit(code)
