"""The answering side of one connection: each call is a task, and what goes wrong in it ends nothing else (shell)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from setpoint.api.reasons import Problem, Reason
from setpoint.link.caller import OPEN, credit
from setpoint.link.channel import Channel, receive_message, send_message
from setpoint.link.stream import ENDED as CONNECTION_ENDED
from setpoint.link.stream import Stream
from setpoint.link.turns import Turns
from setpoint.wall.codec import encode, number
from setpoint.wall.errors import ProtocolError, WorkerGone
from setpoint.wall.frames import CANCEL, CREDIT, ENDED, FAULT, Frame
from setpoint.wall.kinds import NUMBERS, REQUESTS, TO_WORKER, TYPES
from setpoint.wall.messages import Failed, Hello, Welcome

log = logging.getLogger(__name__)
HELLO = NUMBERS[Hello]

Handle = Callable[[Channel, Frame], Awaitable[None]]
"""Answers the call whose first frame this is. Whoever only passes frames on takes the others of the channel, and sends such."""
Handler = Callable[[Any], Awaitable[Any]]
"""Returns the answer to a request, or None where none is sent; Problem becomes Failed."""


class Server:
    """Answers the calls of one connection."""

    def __init__(
        self,
        stream: Stream,
        handle: Handle,
        *,
        introduced: bool = True,
        most: int = OPEN,
        strict: bool = False,
    ) -> None:
        """`handle` is called for each call, in a task of its own. `introduced`: whether the first call must be `Hello`.

        `most`: calls that may be open, but for those that were cancelled and end in a moment, which are at most `OPEN` with them.
        `strict`: whether a call that breaks the protocol ends the connection, and not itself alone.
        """
        self._most, self._strict = most, strict
        self._stream, self._handle, self._introduced = stream, handle, introduced
        self._calls: dict[int, tuple[Channel, asyncio.Task[None]]] = {}
        self._last = 0

    async def run(self) -> None:
        """Answer calls until the connection ends, then cancel those that are open. What breaks the protocol is logged."""
        try:
            await self._stream.frames(TO_WORKER, self._take)
        except ProtocolError as error:
            log.warning(
                "the other side broke the protocol; closing the connection", extra={"what": str(error)}
            )
        finally:
            self._stream.close()
            tasks = [task for _, task in self._calls.values()]
            for channel, task in self._calls.values():
                channel.end(WorkerGone(CONNECTION_ENDED))
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._stream.closed()

    def tell(self, notice: Any) -> None:
        """Send what nobody asked for, unless the other side is slow: the next notice says it better."""
        if self._stream.unsent == 0:
            [piece] = encode(notice)
            self._stream.post(Frame(number(notice), 0, piece.body))

    def _take(self, frame: Frame) -> None:
        if frame.call > self._last:
            self._begin(frame)
            return
        if frame.kind in REQUESTS:
            raise ProtocolError("a request with the number of another call")
        if frame.call not in self._calls:
            return  # it was answered when this came
        channel, task = self._calls[frame.call]
        if frame.kind == CANCEL:
            task.cancel()
        elif frame.kind == CREDIT:
            channel.credited(credit(frame))
        elif channel.complete:
            raise ProtocolError("a frame of a request that was complete")
        else:
            channel.take(frame, final=not frame.more)

    def _begin(self, frame: Frame) -> None:
        if frame.kind not in REQUESTS:
            raise ProtocolError(f"a frame of kind {frame.kind} for a call that is not open")
        if self._introduced and self._last == 0 and frame.kind != HELLO:
            raise ProtocolError("a request before the first message")
        calls = [task for channel, task in self._calls.values() if not channel.answered]
        if len(calls) >= OPEN or sum(not task.cancelling() for task in calls) >= self._most:
            raise ProtocolError(f"more than {min(OPEN, self._most)} calls at once")
        self._last = frame.call
        channel = Channel(self._stream, frame.call)
        channel.take(frame, final=not frame.more)
        task = asyncio.create_task(self._answer(channel))
        self._calls[frame.call] = channel, task
        task.add_done_callback(partial(self._ended, channel))

    async def _answer(self, channel: Channel) -> None:
        await self._handle(channel, await channel.receive())

    def _ended(self, channel: Channel, task: asyncio.Task[None]) -> None:
        """Tell the other side that a call is over, unless its answer did: here, as a task may be cancelled before it begins."""
        del self._calls[channel.call]
        error = None if task.cancelled() else task.exception()
        last = Frame(ENDED, channel.call)
        if isinstance(error, ProtocolError):
            log.warning("a call broke the protocol; it ends", extra={"what": str(error)})
            last = Frame(FAULT, channel.call)
            if self._strict:
                self._stream.close()
        elif error is not None and not isinstance(error, WorkerGone):
            log.error("a call failed unexpectedly; it ends", exc_info=error)
        if not channel.answered:
            self._stream.post(last)


def typed(handlers: Mapping[type[Any], Handler], turns: Turns) -> Handle:
    """Return what answers calls by a handler for each type of request; one without a handler is refused."""

    async def handle(channel: Channel, head: Frame) -> None:
        handler = handlers.get(TYPES[head.kind])
        if handler is None:  # before any of it is read: it may be large
            raise ProtocolError(f"nobody answers {TYPES[head.kind].__name__} here")
        request = await receive_message(channel, head, turns)
        answer = await _answer(handler, request)
        if answer is not None:
            await send_message(channel, answer, turns)

    return handle


async def _answer(handler: Handler, request: Any) -> Any:
    try:
        return await handler(request)
    except Problem as problem:
        return Failed.of(problem)
    except (ProtocolError, WorkerGone):
        raise
    except Exception:  # whatever it is, the next call must not suffer from it
        log.exception("a request failed unexpectedly", extra={"request": type(request).__name__})
        return Failed(Reason.InternalError, "the worker failed; its log says where")


def introduced(welcome: Welcome, work: Callable[[Hello], Handle], turns: Turns) -> Handle:
    """Return what answers hello, and after it all calls by what `work` makes of that hello."""
    greet = greeting(welcome)
    working: Handle | None = None

    async def hello(request: Hello) -> Welcome:
        nonlocal working
        answer: Welcome = await greet(request)
        working = work(request)
        return answer

    first = typed({Hello: hello}, turns)

    async def handle(channel: Channel, head: Frame) -> None:
        await (working or first)(channel, head)

    return handle


def greeting(welcome: Welcome) -> Handler:
    """Return the handler of `Hello`, which refuses an operator of another version of the protocol."""

    async def greet(hello: Hello) -> Welcome:
        if hello.protocol != welcome.protocol:
            raise ProtocolError(f"this is version {welcome.protocol} of the protocol, not {hello.protocol}")
        return welcome

    return greet
