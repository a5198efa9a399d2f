"""The asking side of one connection: calls, as many at once as may be open (shell)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from setpoint.link.channel import Channel, receive_message, refused, send_message
from setpoint.link.ledger import Ledger
from setpoint.link.stream import ENDED as CONNECTION_ENDED
from setpoint.link.stream import Stream
from setpoint.link.turns import Turns
from setpoint.wall.codec import decode, number
from setpoint.wall.errors import ProtocolError, WorkerGone
from setpoint.wall.frames import BODY, CANCEL, CREDIT, ENDED, FAULT, LAST_CALL, Frame
from setpoint.wall.kinds import FITTING, NOTICES, TO_OPERATOR
from setpoint.wall.sizes import DEFAULT, Bounds

log = logging.getLogger(__name__)
OPEN = 128
"""Calls that may be open at once; others wait. With the window of each this bounds what the other side must hold."""


class Caller:
    """Calls over one connection. Whatever ends it ends all of them as WorkerGone."""

    def __init__(
        self,
        stream: Stream,
        turns: Turns,
        notice: Callable[[Any], None] = lambda _: None,
        bounds: Bounds = DEFAULT,
    ) -> None:
        """`turns`: shared by all that the event loop must have turns between. `notice`: is told what comes without being asked.

        `bounds`: how much of an answer is taken, and of all that are not whole yet.
        """
        self._bounds, self._ledger = bounds, Ledger(bounds.memory)
        self._stream, self._turns, self._notice = stream, turns, notice
        self._free = asyncio.Semaphore(OPEN)
        self._calls: dict[int, tuple[Channel, frozenset[int]]] = {}
        self._last = 0
        self._gone: WorkerGone | None = None

    async def run(self) -> None:
        """Take what comes in until the connection ends; ProtocolError if this side ends it because the other broke the protocol."""
        try:
            await self._stream.frames(TO_OPERATOR, self._take)
        finally:
            self._gone = WorkerGone(CONNECTION_ENDED)
            self._stream.close()
            for call in list(self._calls):
                self._calls[call][0].end(self._gone)
                self._over(call)

    async def call(self, request: Any) -> Any:
        """Ask, and return the answer, or None where there is none. Cancelling it cancels the call on the other side.

        WorkerGone if the connection ends; ProtocolError if the request must not be sent or its answer not be taken.
        """
        channel = await self.open(number(request))
        try:
            await send_message(channel, request, self._turns)
            head = await channel.receive()
            if head.kind == ENDED:
                return None
            if head.kind == FAULT:
                raise refused(head)
            with self._ledger.part(channel.fail) as count:
                return await receive_message(channel, head, self._turns, self._bounds, count)
        except ProtocolError as error:
            log.warning(
                "a call broke the protocol; it ends",
                extra={"what": str(error), "request": type(request).__name__},
            )
            raise
        finally:
            self.close(channel)

    async def open(self, kind: int) -> Channel:
        """Return the channel of a new call with a request of this kind, once it may be open; to be closed in any case."""
        await self._free.acquire()
        return Channel(self._stream, begin=lambda channel: self._begin(channel, FITTING[kind]))

    def close(self, channel: Channel) -> None:
        """End a call, if it has not ended: the other side is told, and what still comes of it is thrown away."""
        if channel.call == 0:
            self._free.release()
        elif not channel.complete:
            channel.refuse()
            self._stream.post(Frame(CANCEL, channel.call))

    def _begin(self, channel: Channel, fitting: frozenset[int]) -> int:
        if self._last == LAST_CALL:
            self._stream.close()  # a new connection counts from the beginning
        if self._gone is not None or self._last == LAST_CALL:
            raise WorkerGone(CONNECTION_ENDED)
        self._last += 1
        self._calls[self._last] = channel, fitting
        return self._last

    def _over(self, call: int) -> None:
        del self._calls[call]
        self._free.release()

    def _take(self, frame: Frame) -> None:
        if frame.kind in NOTICES:
            self._noticed(frame)
            return
        if frame.call not in self._calls:
            raise ProtocolError(f"a frame of kind {frame.kind} for a call that is not open")
        channel, fitting = self._calls[frame.call]
        if frame.kind == CREDIT:
            channel.credited(credit(frame))
            return
        allowed = frozenset((BODY,)) if channel.begun else fitting
        if frame.kind not in allowed and frame.kind not in (ENDED, FAULT):
            raise ProtocolError(
                f"a frame of kind {frame.kind}, which is no part of an answer to that request"
            )
        channel.take(frame, final=not frame.more)
        if not frame.more:
            self._over(frame.call)

    def _noticed(self, frame: Frame) -> None:
        if frame.call or frame.more:
            raise ProtocolError("a notice that belongs to a call")
        self._notice(decode(frame.kind, [frame.body]))


def credit(frame: Frame) -> int:
    """Return the bytes of a credit."""
    if not frame.body.isdigit():
        raise ProtocolError("a credit that is no number")
    return int(frame.body)
