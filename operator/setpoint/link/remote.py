"""The worker at the other end of a connection, as the operator uses it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, TypeVar

from setpoint.link.client import Client
from setpoint.wall.errors import ProtocolError, WorkerGone
from setpoint.wall.messages import (
    Build,
    Built,
    Check,
    Checked,
    Compare,
    Compared,
    Drop,
    Failed,
    Fetch,
    Fetched,
    Lost,
    Objects,
    Placed,
    Places,
    Same,
)

T = TypeVar("T")


class Remote:
    """Implements `wall.protocol.Worker`. All but `drop` raise WorkerGone and ProtocolError, as `Caller.call` does."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._dropping: set[asyncio.Task[None]] = set()

    async def check(self, request: Check) -> Checked | Failed:
        """Ask a remote what a ref stands for, and fetch that commit if it is not there."""
        return await self._call(request, Checked, Failed)

    async def fetch(self, request: Fetch) -> Fetched | Lost | Failed:
        """Find an older commit, in the cache or at the server."""
        return await self._call(request, Fetched, Lost, Failed)

    async def compare(self, request: Compare) -> Compared:
        """Find out which read sets a step between two commits touches; Problem if the worker cannot."""
        return await self._call(request, Compared)

    async def build(self, request: Build) -> Built | Same | Lost | Failed:
        """Make the objects of a commit, unless they are known already."""
        return await self._call(request, Built, Same, Lost, Failed)

    async def objects(self, request: Objects) -> Built | Lost | Failed:
        """Give objects that are known by their digest once more."""
        return await self._call(request, Built, Lost, Failed)

    async def places(self, request: Places) -> Placed:
        """Find the files that objects come from; Problem if the worker cannot."""
        return await self._call(request, Placed)

    def drop(self, request: Drop) -> None:
        """Forget what nobody needs any more; nothing waits for it. A worker that is gone has forgotten it already."""
        task = asyncio.create_task(self._drop(request))
        self._dropping.add(task)
        task.add_done_callback(self._dropping.discard)

    async def close(self) -> None:
        """Give up what is still to be dropped."""
        for each in self._dropping:
            each.cancel()
        await asyncio.gather(*self._dropping, return_exceptions=True)

    async def _drop(self, request: Drop) -> None:
        with suppress(WorkerGone, ProtocolError):  # the latter is in the log
            await self._client.call(request)

    async def _call(self, request: Any, *answers: type[T]) -> T:
        answer = await self._client.call(request)
        if isinstance(answer, answers):
            return answer
        if isinstance(answer, Failed):
            raise answer.problem()
        raise ProtocolError(f"the worker ended {type(request).__name__} without an answer")
