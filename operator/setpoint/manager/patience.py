"""A worker that may die: what it was at work on is asked again, at first together with others and then alone (shell).

A request that the worker does not survive must not take the others with it for ever. So whatever was at work at a death comes back by itself, after
all that were not, and what three workers died of is an error of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from setpoint.api.reasons import Problem, Reason
from setpoint.wall.errors import ProtocolError, WorkerAway, WorkerGone
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
    Look,
    Lost,
    Objects,
    Place,
    Placed,
    Places,
    Same,
)
from setpoint.wall.protocol import Worker

log = logging.getLogger(__name__)
A = TypeVar("A")

START_SECONDS: Final = 5.0
"""For how long a request waits for a worker that is not there; then its run ends, and comes again."""
TURN_SECONDS: Final = 10.0
"""For how long what was at work at a death waits for its turn to run alone; then it runs beside the others."""
MOST_DEATHS: Final = 3
CRASHED: Final = Failed(
    Reason.RenderCrashed,
    f"the worker ended {MOST_DEATHS} times while it was at work on this; it is tried again later, and alone",
)
BROKEN: Final = Failed(
    Reason.InternalError, "the worker and the operator do not understand each other; the log says why"
)


class Patient:
    """Asks a worker that may be gone. All but `drop` raise WorkerGone: then the run is to be made again, without a back-off."""

    def __init__(self, worker: Worker, ready: Callable[[], Awaitable[None]]) -> None:
        """`ready` waits until the worker is there."""
        self._worker, self._ready = worker, ready
        self._away = False
        self._deaths: dict[Hashable, int] = {}
        self._alone = asyncio.Lock()

    async def check(self, request: Check) -> Checked | Failed:
        """Ask a remote what a ref stands for, and fetch that commit if it is not there."""
        return await self._asked(_place(request.place), lambda: self._worker.check(request), _as_it_is)

    async def fetch(self, request: Fetch) -> Fetched | Lost | Failed:
        """Find an older commit, in the cache or at the server."""
        key = (_place(request.place), request.sha)
        return await self._asked(key, lambda: self._worker.fetch(request), _as_it_is)

    async def compare(self, request: Compare) -> Compared:
        """Find out which read sets a step between two commits touches: all, where the worker cannot tell."""
        key = ("compare", request.handle)
        return await self._answered(key, lambda: self._worker.compare(request), _everything)

    async def build(self, request: Build) -> Built | Same | Lost | Failed:
        """Make the objects of a commit, unless they are known already."""
        return await self._answered(_look(request.look), lambda: self._worker.build(request), _as_it_is)

    async def objects(self, request: Objects) -> Built | Lost | Failed:
        """Give objects that are known by their digest once more."""
        return await self._answered(_look(request.look), lambda: self._worker.objects(request), _as_it_is)

    async def places(self, request: Places) -> Placed:
        """Find the files that objects come from: none, where the worker cannot tell."""
        return await self._answered(_look(request.look), lambda: self._worker.places(request), _nowhere)

    def drop(self, request: Drop) -> None:
        """Forget what nobody needs any more; nothing waits for it."""
        self._worker.drop(request)

    async def _answered(
        self, key: Hashable, ask: Callable[[], Awaitable[A]], failed: Callable[[Failed], A]
    ) -> A:
        """Ask in its turn; `failed` gives the answer in place of one that cannot be had."""
        async with self._turn(key):
            return await self._asked(key, ask, failed)

    async def _asked(
        self, key: Hashable, ask: Callable[[], Awaitable[A]], failed: Callable[[Failed], A]
    ) -> A:
        """Ask at once. What waits for a server does, for minutes where that is silent: nobody is to wait for it in turn."""
        if self._deaths.get(key, 0) >= MOST_DEATHS:
            self._deaths[key] -= 1  # it has another try when its back-off is over
            return failed(CRASHED)
        await self._there()
        try:
            answer = await ask()
        except WorkerGone:
            self._deaths[key] = self._deaths.get(key, 0) + 1
            raise
        except (ProtocolError, Problem) as error:  # the former is in the log
            answer = failed(Failed.of(error) if isinstance(error, Problem) else BROKEN)
        self._deaths.pop(key, None)
        return answer

    async def _there(self) -> None:
        """Wait for the worker; not again where that was in vain, until it came back: who waits holds a slot."""
        try:
            async with asyncio.timeout(0 if self._away else START_SECONDS):
                await self._ready()
        except TimeoutError:
            self._away = True
            raise WorkerAway("the worker is not there") from None
        self._away = False

    @asynccontextmanager
    async def _turn(self, key: Hashable) -> AsyncIterator[None]:
        """Let what was at work at a death run alone among such; it may have been another's fault.

        But not for ever: what hangs is not what dies, and must not hold up who only was at work beside it.
        """
        alone = key in self._deaths and await self._acquired()
        try:
            yield
        finally:
            if alone:
                self._alone.release()

    async def _acquired(self) -> bool:
        try:
            async with asyncio.timeout(TURN_SECONDS):
                return await self._alone.acquire()
        except TimeoutError:
            return False


def _place(place: Place) -> Hashable:
    return place.namespace, place.url


def _look(look: Look) -> Hashable:
    return look.namespace, look.handle, str(look.spec.get("path"))


def _as_it_is(failed: Failed) -> Failed:
    return failed


def _everything(_failed: Failed) -> Compared:
    return Compared(everything=True)


def _nowhere(_failed: Failed) -> Placed:
    return Placed()
