"""A TCP proxy that breaks connections as networks do: refused, silent, slow, cut in the middle of an answer.

In: the port that it stands in front of. Out: a port of its own; the faults are attributes that tests change.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.kit.cluster.workspace import Workspace

T = TypeVar("T")
CHUNK = 1 << 16
WAIT_SECONDS = 120
_TURNS = 5
"""Of the event loop, until a connection that was accepted has its task."""


class TcpProxy:
    """See the module; a context manager. Faults act on connections that are opened from then on.

    `silent`: nothing of an answer arrives, and the connection stays open. `cut_after`: so many bytes of an answer
    arrive, then the connection breaks. `cuts` counts those.
    """

    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._workspace = Workspace("tcpproxy")
        self.port = self._workspace.port()  # nobody else gets it while we are down
        self.silent = False
        self.cut_after: int | None = None
        self.cuts = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tcpproxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._workspace.close()

    def down(self) -> None:
        """Refuse connections from now on, and break those that are open."""
        self._run(self._close())

    def up(self) -> None:
        """Listen again, on the same port."""
        self._run(self._listen())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_SECONDS)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", self.port)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        for writer in list(self._writers):
            writer.transport.abort()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            theirs, ours = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            self._end(writer)
            return
        self._writers.add(ours)
        try:
            await asyncio.gather(self._ask(reader, ours), self._answer(theirs, writer, ours))
        except asyncio.CancelledError:  # by `_close`; asyncio does not expect it of who serves a connection
            for each in (ours, writer):
                self._end(each, cut=True)

    async def _ask(self, reader: asyncio.StreamReader, ours: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(CHUNK):
                ours.write(data)
                await ours.drain()
        except ConnectionError:
            pass  # the other direction ends both
        self._end(ours)

    async def _answer(
        self, theirs: asyncio.StreamReader, writer: asyncio.StreamWriter, ours: asyncio.StreamWriter
    ) -> None:
        left, silent = self.cut_after, self.silent
        try:
            while data := await theirs.read(CHUNK):
                if silent:
                    continue
                writer.write(data if left is None else data[:left])
                await writer.drain()
                if left is not None and (left := left - len(data)) <= 0:
                    self.cuts += 1
                    break
            if silent:
                await asyncio.wait_for(asyncio.Event().wait(), WAIT_SECONDS)
        except (ConnectionError, TimeoutError):
            pass  # either side went
        self._end(ours)
        self._end(writer, cut=left is not None and left <= 0)

    def _end(self, writer: asyncio.StreamWriter, *, cut: bool = False) -> None:
        self._writers.discard(writer)
        if cut:
            writer.transport.abort()
        else:
            writer.close()
