"""Passes a request on to another connection, and its answer back without reading what is in the frames."""

from __future__ import annotations

from typing import Any

from setpoint.link.caller import Caller
from setpoint.link.channel import Channel, refused, send_message
from setpoint.link.turns import Turns
from setpoint.wall.codec import number
from setpoint.wall.frames import ENDED, FAULT, Frame


async def forward(channel: Channel, request: Any, caller: Caller, turns: Turns) -> int:
    """Ask another side, and answer this channel with what it says, frame by frame as there is room; returns the kind of the answer.

    WorkerGone if that side ends; ProtocolError, in its words, if it refused. Cancelling it cancels the call there.
    """
    below = await caller.open(number(request))
    try:
        await send_message(below, request, turns)
        answer = await below.receive()
        if answer.kind == FAULT:
            raise refused(answer)
        if answer.kind != ENDED:
            await _copy(below, answer, channel)
        return answer.kind
    finally:
        caller.close(below)


async def _copy(source: Channel, frame: Frame, target: Channel) -> None:
    """Pass on a message that begins with this frame."""
    await target.send(frame.kind, frame.body, more=frame.more)
    while frame.more:
        frame = await source.receive()
        if frame.kind in (ENDED, FAULT):
            raise refused(frame)
        await target.send(frame.kind, frame.body, more=frame.more)
