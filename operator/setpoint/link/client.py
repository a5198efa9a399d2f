"""The operator's end: dials the worker, says hello, and dials again whenever the connection ended (shell)."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from setpoint.api.reasons import Reason
from setpoint.link.caller import Caller
from setpoint.link.sockets import WrongPeer
from setpoint.link.stream import Stream
from setpoint.link.turns import Turns
from setpoint.wall.errors import ProtocolError, WorkerGone
from setpoint.wall.messages import Hello, Welcome
from setpoint.wall.sizes import DEFAULT, Bounds

log = logging.getLogger(__name__)
FIRST, LONGEST = 0.05, 2.0
"""Seconds before the second attempt to dial, and at most: what waits for the worker waits for this too."""
PATIENCE = 10.0
"""Seconds that the worker has to answer hello."""

Dial = Callable[[], Awaitable[socket.socket]]
"""Returns a connected socket whose other end is the worker: of a container, or of a child that it starts anew."""


def delays() -> Iterator[float]:
    """Yield how long to wait before each further attempt, in seconds (pure)."""
    delay = FIRST
    while True:
        yield delay
        delay = min(2 * delay, LONGEST)


class Client:
    """Calls to the worker, over whichever connection there is."""

    def __init__(
        self,
        dial: Dial,
        hello: Hello,
        turns: Turns,
        ready: Callable[[Welcome], None] = lambda _: None,
        notice: Callable[[Any], None] = lambda _: None,
        bounds: Bounds = DEFAULT,
        gone: Callable[[], None] = lambda: None,
    ) -> None:
        """`ready` is told of each new connection, once calls go over it, and `gone` when it ended, unless by `close`.

        `notice` is told what the worker tells by itself.

        `bounds`: how much of an answer is taken, and of all that are not whole yet.
        """
        self._bounds = bounds
        self._dial, self._hello, self._turns = dial, hello, turns
        self._tell_ready, self._tell_notice, self._tell_gone = ready, notice, gone
        self._closing = False
        self._caller: Caller | None = None
        self._there = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to dial; `close` ends it."""
        self._running = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End the connection; all open calls are WorkerGone."""
        self._closing = True
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    @property
    def there(self) -> bool:
        """Whether calls go over a connection now."""
        return self._caller is not None

    async def ready(self) -> None:
        """Wait until the worker is there."""
        await self._there.wait()

    async def call(self, request: Any) -> Any:
        """Ask the worker (`Caller.call`); WorkerGone at once if it is not there."""
        if self._caller is None:
            raise WorkerGone("the worker is not there")
        return await self._caller.call(request)

    async def _run(self) -> None:
        pauses = delays()
        while True:
            try:
                if await self._connection():
                    pauses = delays()
            except ProtocolError as error:
                log.warning("the worker broke the protocol; dialling again", extra={"what": str(error)})
            except WrongPeer as error:
                log.warning("cannot reach the worker; dialling again", extra={"what": str(error)})
            except (OSError, WorkerGone, TimeoutError) as error:
                log.info("cannot reach the worker; dialling again", extra={"what": type(error).__name__})
            except (
                Exception
            ):  # whoever was told of it failed, which must not leave the operator without a worker
                log.exception("the connection to the worker failed unexpectedly; dialling again")
            await asyncio.sleep(next(pauses))

    async def _connection(self) -> bool:
        """Dial, and stay until the connection ends; return whether calls went over it."""
        stream = await Stream.over(await self._dial())
        caller = Caller(stream, self._turns, self._tell_notice, self._bounds)
        running = asyncio.create_task(self._take(caller))
        was_there = False
        try:
            async with asyncio.timeout(PATIENCE):
                welcome = await caller.call(self._hello)
            self._greeted(caller, welcome)
            was_there = True
            await running
        except WorkerGone:
            await running  # it says why, if it knows
            raise
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await stream.closed()
        return was_there

    async def _take(self, caller: Caller) -> None:
        try:
            await caller.run()
        finally:
            # In the same turn as the calls learn it: who asks at once must not believe that the worker is there.
            lost, self._caller = self._caller is not None and not self._closing, None
            self._there.clear()
            if lost:
                log.warning("the worker is gone; dialling again", extra={"reason": str(Reason.WorkerGone)})
                self._tell_gone()

    def _greeted(self, caller: Caller, welcome: Any) -> None:
        if not isinstance(welcome, Welcome):
            raise ProtocolError("the worker did not answer hello")
        if welcome.protocol != self._hello.protocol:
            raise ProtocolError(f"the worker speaks version {welcome.protocol}, not {self._hello.protocol}")
        log.info(
            "the worker is there",
            extra={"build": welcome.build, "landlock": welcome.landlock, "cache": welcome.cache},
        )
        self._caller = caller
        self._there.set()
        self._tell_ready(welcome)
