"""One call as one of its sides sees it: frames go out while there is room for them, and come in as they are asked for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from setpoint.link.stream import Stream
from setpoint.link.turns import Turns
from setpoint.wall.codec import Assembly, encode, number
from setpoint.wall.errors import ProtocolError, WorkerGone
from setpoint.wall.frames import BODY, CREDIT, ENDED, FAULT, Frame
from setpoint.wall.sizes import DEFAULT, Bounds
from setpoint.wall.window import Receiving, Sending, cost


class Channel:
    """The frames of one call. Of those that come in, as many bytes wait here as the window has."""

    def __init__(self, stream: Stream, call: int = 0, begin: Callable[[Channel], int] | None = None) -> None:
        """`begin`: gives the number of a call of this side, in the moment in which its first frame is sent."""
        self._stream, self.call, self._begin = stream, call, begin
        self._inbox: deque[Frame] = deque()
        self._sending, self._receiving = Sending(), Receiving()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._gone: WorkerGone | None = None
        self._failed: ProtocolError | None = None
        self._unwanted = False
        self.begun = False
        """Whether the other side sent a frame."""
        self.sent = False
        """Whether this side sent a frame."""
        self.answered = False
        """Whether this side sent the last one of a message."""
        self.complete = False
        """Whether the last frame of the other side is there."""

    # --- frames that come in

    def take(self, frame: Frame, *, final: bool) -> None:
        """Take a frame from the connection; ProtocolError if it had to wait. `final`: no other will come from that side."""
        self.begun = True
        if frame.kind == BODY:
            self._receiving.received(cost(frame.body))
        self._inbox.append(frame)
        if self._unwanted:
            self._drain()
        self._news.set()
        if final:
            self._finish()

    def credited(self, size: int) -> None:
        """Note that the other side used so many bytes."""
        self._sending.credited(size)
        self._room.set()

    def end(self, error: WorkerGone) -> None:
        """Tell who waits that the connection ended."""
        self._gone = error
        self._news.set()
        self._finish()

    def fail(self, error: ProtocolError) -> None:
        """Tell who waits for frames that none is taken any more."""
        self._failed = error
        self._news.set()

    async def receive(self) -> Frame:
        """Return the next frame of the other side; WorkerGone if none can come any more, ProtocolError if none is taken."""
        while self._failed is not None or not self._inbox:
            if self._failed is not None:
                raise self._failed
            if self._gone is not None:
                raise self._gone
            self._news.clear()
            await self._news.wait()
        return self._used()

    def refuse(self) -> None:
        """Throw away what comes from now on."""
        self._unwanted = True
        self._drain()

    def _drain(self) -> None:
        while self._inbox:
            self._used()

    def _used(self) -> Frame:
        frame = self._inbox.popleft()
        due = self._receiving.used(cost(frame.body), len(self._inbox)) if frame.kind == BODY else 0
        if due and not self.complete:
            self._stream.post(Frame(CREDIT, self.call, b"%d" % due))
        return frame

    def _finish(self) -> None:
        self.complete = True
        self._room.set()

    @property
    def settled(self) -> bool:
        """Whether nobody takes more frames of this side: it asked, and the answer is complete."""
        return self._begin is not None and self.complete

    # --- frames that go out

    async def send(self, kind: int, body: bytes, *, more: bool) -> None:
        """Send a frame as soon as the other side has room for it; WorkerGone if there is no other side any more."""
        if kind == BODY:
            while not (self._sending.room(cost(body)) or self._gone or self.settled):
                self._room.clear()
                await self._room.wait()
            self._sending.sent(cost(body))
        if self._gone is not None:
            raise self._gone
        if not self.settled:
            await self._stream.send(lambda: self._frame(kind, body, more=more))

    def _frame(self, kind: int, body: bytes, *, more: bool) -> Frame:
        if self._begin is not None and self.call == 0:
            self.call = self._begin(self)
        self.sent, self.answered = True, not more
        return Frame(kind, self.call, body, more)


async def send_message(channel: Channel, message: Any, turns: Turns) -> None:
    """Send a message, a frame in each turn; ProtocolError if it must not be sent."""
    pieces, kind = encode(message), number(message)
    while not channel.settled:
        await turns.next()
        if (piece := next(pieces, None)) is None:
            return
        await channel.send(kind, piece.body, more=piece.more)
        kind = BODY


async def receive_message(
    channel: Channel,
    head: Frame,
    turns: Turns,
    bounds: Bounds = DEFAULT,
    count: Callable[[int], None] = lambda _: None,
) -> Any:
    """Return the message that begins with this frame, within these bounds; `count` is told what each frame takes of memory.

    ProtocolError, after which its rest must be refused; WorkerGone if it ends in the middle.
    """
    assembly, frame = Assembly(head.kind, bounds), head
    while True:
        await turns.next()
        count(assembly.add(frame.body))
        if not frame.more:
            return assembly.message()
        frame = await channel.receive()
        if frame.kind != BODY:
            raise refused(frame)


def refused(frame: Frame) -> ProtocolError | WorkerGone:
    """Return the error that a frame stands for which ends a call without a whole answer."""
    if frame.kind == FAULT:
        return ProtocolError("the other side refused the call; its log says why")
    if frame.kind == ENDED:  # whoever made the answer ended in the middle of it: asked again, it may be there
        return WorkerGone("the other side ended the call before all of the answer was there")
    return ProtocolError(f"a frame of kind {frame.kind} in the middle of an answer")
