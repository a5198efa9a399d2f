"""A broker with its children, asked over a socket pair as the operator asks it (for tests)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from setpoint.api.hosts import HostRules
from setpoint.link.caller import Caller
from setpoint.link.remote import Remote
from setpoint.link.server import Server
from setpoint.link.sockets import pair
from setpoint.link.stream import Stream
from setpoint.link.turns import Turns
from setpoint.settings import Settings
from setpoint.worker.broker import Broker
from setpoint.worker.folders.scratch import Remover


class Brokered(Remote):
    """A worker (`wall.protocol.Worker`) that is a broker of this process: `async with`."""

    def __init__(self, folder: Path, hosts: HostRules = HostRules(), **settings: Any) -> None:  # noqa: B008 - it is frozen
        """`folder`: for its cache; `settings`: fields beside the defaults."""
        values: Mapping[str, Any] = {"allow_file_urls": True, "cache_size": 2**28, **settings}
        self._settings = Settings(namespace="sys", cluster_id="c", cache_dir=str(folder), **values)
        self._hosts, self._remover = hosts, Remover()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Start it."""
        ours, theirs = pair()
        self.broker = Broker.of(self._settings, self._hosts, self._remover)
        caller = Caller(await Stream.over(ours), Turns())
        server = Server(await Stream.over(theirs), self.broker.handle, introduced=False)
        self._tasks = [asyncio.create_task(each.run()) for each in (caller, server)]
        super().__init__(cast("Any", caller))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it with its children."""
        await self.close()
        for each in self._tasks:
            each.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.broker.close()
        await asyncio.to_thread(self._remover.finish)
