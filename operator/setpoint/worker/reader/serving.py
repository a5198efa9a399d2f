"""A reader from inside: answers the broker, and asks it for builds (shell)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from setpoint.api.budgets import Budgets
from setpoint.git.contents.reading import Reading
from setpoint.link.caller import Caller
from setpoint.link.channel import Channel
from setpoint.link.server import Handler, Server, typed
from setpoint.link.stream import Stream
from setpoint.link.turns import Turns
from setpoint.render.renderer import Renderer
from setpoint.render.sandbox import Limits
from setpoint.runtime.disk import temporary
from setpoint.runtime.malloc import TrimTimer
from setpoint.wall import inside as i
from setpoint.wall import messages as m
from setpoint.wall.frames import Frame
from setpoint.worker.reader.answers import Answers
from setpoint.worker.reader.commits import MirrorCommits
from setpoint.worker.reader.ending import Threads, end, listen
from setpoint.worker.reader.errands import Errand
from setpoint.worker.reader.read_sets import ReadSets

T = TypeVar("T")
THREADS: Final = 4
"""That read at once. More would wait for Python's lock."""


@dataclass(frozen=True, slots=True)
class Reader:
    """What a reader is told when it starts: its `name`, which no other has or had, where mirrors are, its own folder, and its limits.

    `limits`: seconds, bytes of memory and bytes of output of one build; `concurrency`: how many it prepares at once.
    """

    name: str
    mirrors: str
    scratch: str
    budgets: Mapping[str, int]
    limits: Sequence[Any]
    concurrency: int


async def serve(calls: socket.socket, errands: socket.socket, reader: Reader) -> None:
    """Answer the broker until its socket ends."""
    turns, returns, loop = Turns(), TrimTimer(), asyncio.get_running_loop()
    loop.set_default_executor(Threads(THREADS))
    listen(loop)
    asking = Caller(await Stream.over(errands), turns)
    running = asyncio.create_task(asking.run())

    def damaged(handle: str) -> None:
        loop.call_soon_threadsafe(server.tell, i.Damaged(handle))

    answers = typed(_handlers(reader, asking, damaged), turns)

    async def answer(channel: Channel, head: Frame) -> None:
        returns.worked()
        await _or_die(answers(channel, head))

    server = Server(await Stream.over(calls), answer, introduced=False)
    try:
        await server.run()
    finally:
        running.cancel()


def _handlers(reader: Reader, asking: Caller, damaged: Callable[[str], None]) -> Mapping[type[Any], Handler]:
    budgets = Budgets(**reader.budgets)
    commits = MirrorCommits(Reading(Path(reader.mirrors), budgets, damaged))
    errand = Errand(asking, Limits(*reader.limits))
    scratch = Path(reader.scratch)
    volume = temporary(scratch.parent.parent)
    renderer = Renderer(errand, scratch, concurrency=reader.concurrency, budgets=budgets, volume=volume)
    answers = Answers(commits, renderer, ReadSets(reader.name))
    handlers: Mapping[type[Any], Handler] = {
        m.Build: answers.build,
        m.Objects: answers.objects,
        m.Places: answers.places,
        m.Compare: answers.compare,
        m.Drop: _at_once(answers.drop),
        i.Told: _at_once(commits.told),
        i.Describe: _in_thread(commits.describe),
        i.Links: _in_thread(commits.links),
    }
    return {request: partial(_answered, handler) for request, handler in handlers.items()}


async def _answered(handler: Handler, request: Any) -> Any:
    return await _or_die(handler(request))


async def _or_die(answer: Awaitable[T]) -> T:
    """Wait for an answer; without memory for it, this process ends: nobody knows what else it cannot do."""
    try:
        return await answer
    except MemoryError:
        end()


def _at_once(handle: Callable[[Any], None]) -> Handler:
    async def handler(request: Any) -> None:
        handle(request)

    return handler


def _in_thread(handle: Callable[[Any], Any]) -> Handler:
    async def handler(request: Any) -> Any:
        return await asyncio.to_thread(handle, request)

    return handler
