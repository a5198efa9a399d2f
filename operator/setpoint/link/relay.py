"""Passes a call on from one connection to another, without reading what is in its frames."""

from __future__ import annotations

import asyncio

from setpoint.link.caller import Caller
from setpoint.link.channel import Channel, refused
from setpoint.wall.frames import ENDED, FAULT, Frame


async def relay(channel: Channel, head: Frame, caller: Caller) -> None:
    """Ask another side what is asked in this channel, and pass its answer on, frame by frame as each side has room.

    WorkerGone if that side ends; ProtocolError, in its words, if it refused. Cancelling it cancels the call there.
    """
    below = await caller.open(head.kind)
    up = asyncio.create_task(_copy(channel, head, below))
    try:
        answer = await below.receive()
        if answer.kind == FAULT:
            raise refused(answer)
        if answer.kind != ENDED:
            await _copy(below, answer, channel)
    finally:
        up.cancel()
        await asyncio.gather(up, return_exceptions=True)
        caller.close(below)


async def _copy(source: Channel, frame: Frame, target: Channel) -> None:
    """Pass on a message that begins with this frame."""
    await target.send(frame.kind, frame.body, more=frame.more)
    while frame.more:
        frame = await source.receive()
        if frame.kind in (ENDED, FAULT):
            raise refused(frame)
        await target.send(frame.kind, frame.body, more=frame.more)
