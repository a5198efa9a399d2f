"""The worker's end: takes connections of the operator, one at a time (shell)."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable

from setpoint.link.sockets import WrongPeer, check
from setpoint.link.stream import Stream

log = logging.getLogger(__name__)
PAUSE = 1.0
"""Seconds until connections are taken again, after one could not be: no file descriptor may be left."""


class Listener:
    """Serves the connection that came last: an operator that dials anew has no use for its old one."""

    def __init__(
        self, listening: socket.socket, uid: int, serve: Callable[[Stream], Awaitable[None]]
    ) -> None:
        """`uid`: who may connect. `serve` gets each connection, and returns when it ended; cancelled, it ends it."""
        self._listening, self._uid, self._serve = listening, uid, serve
        self._connections: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Take connections until cancelled; then all have ended, and nobody listens."""
        try:
            while True:
                await self._next()
        finally:
            self._listening.close()
            self._end()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def idle(self) -> None:
        """Wait until no connection is open."""
        while self._connections:
            await asyncio.wait(self._connections)

    async def _next(self) -> None:
        try:
            connected, _ = await asyncio.get_running_loop().sock_accept(self._listening)
        except OSError as error:
            log.warning("cannot take a connection; trying again", extra={"errno": error.errno})
            await asyncio.sleep(PAUSE)
            return
        try:
            check(connected, self._uid)
        except WrongPeer as error:
            connected.close()
            log.warning("refused a connection", extra={"what": str(error)})
            return
        self._end()
        task = asyncio.create_task(self._connection(connected))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    def _end(self) -> None:
        """Have connections end, each once: who cancels what is ending already keeps it from closing what it has open."""
        for each in self._connections:
            if not each.cancelling():
                each.cancel()

    async def _connection(self, connected: socket.socket) -> None:
        try:
            await self._serve(await _stream(connected))
        except Exception:  # the next connection must find somebody
            log.exception("a connection failed unexpectedly; it ends")


async def _stream(connected: socket.socket) -> Stream:
    try:
        return await Stream.over(connected)
    except BaseException:
        connected.close()
        raise
