"""One connected socket as frames, in both directions (shell)."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress

from setpoint.wall.errors import WorkerGone
from setpoint.wall.frames import HEADER, Frame, Parser, pack

READ = 64 * 1024
"""Bytes that are taken apart at once: some thousand frames, if they are tiny."""
BUFFERED = 256 * 1024
"""Bytes that may wait to be sent before who sends has to wait."""

UNREAD = 1024 * 1024
"""Bytes that may wait of those that are sent out of turn; whoever reads less is left."""

ENDED = "the connection ended"
log = logging.getLogger(__name__)


class Stream:
    """Frames of one connection. It is closed once, by anybody, and then all that wait for it are told."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._sending = asyncio.Lock()
        self._closed = False
        self._posted = 0
        """Bytes that were sent out of turn since nothing waited."""
        writer.transport.set_write_buffer_limits(high=BUFFERED)

    @classmethod
    async def over(cls, connected: socket.socket) -> Stream:
        """Return the frames of a connected socket, which is closed with them."""
        connected.setblocking(False)
        return cls(*await asyncio.open_unix_connection(sock=connected, limit=READ))

    @property
    def unsent(self) -> int:
        """How many bytes wait for the other side to read."""
        return self._writer.transport.get_write_buffer_size()

    async def frames(self, limits: Mapping[int, int], take: Callable[[Frame], None]) -> None:
        """Hand each frame that comes in to `take`, until the end; ProtocolError at the first that must not come."""
        parser = Parser(limits)
        with suppress(OSError):  # the other side died: an end like any other
            while data := await self._reader.read(READ):
                for frame in parser.feed(data):
                    take(frame)
                await asyncio.sleep(0)  # who sends without a pause must not keep all others from their turn

    async def send(self, make: Callable[[], Frame]) -> None:
        """Make and send a frame in its turn, once the other side has room for it; WorkerGone if there is no other side any more."""
        async with self._sending:
            if self._closed or self._writer.is_closing():
                raise WorkerGone(ENDED)
            self._writer.write(pack(make()))
            try:
                await self._writer.drain()
            except OSError:
                raise WorkerGone(ENDED) from None

    def post(self, frame: Frame) -> None:
        """Send a frame of a few bytes out of turn; nothing happens if there is no other side any more.

        Who asks and cancels again and again, and reads nothing, would be sent an end each time: the connection ends then.
        """
        if self._closed or self._writer.is_closing():
            return
        self._posted = self._posted + HEADER.size + len(frame.body) if self.unsent else 0
        self._writer.write(pack(frame))
        if min(self._posted, self.unsent) > UNREAD:
            log.warning("the other side does not read what it is sent; closing the connection")
            self.close()

    def close(self) -> None:
        """End the connection at once; what was not sent yet is lost."""
        self._closed = True
        self._writer.transport.abort()

    async def closed(self) -> None:
        """Wait until the socket is closed."""
        self.close()
        with suppress(OSError):
            await self._writer.wait_closed()
