"""The readers: one for each namespace whose commits are read, as many as there may be (async shell).

A reader lives until another namespace needs its place. What it was at work on when it died is asked once more, of a reader of its own:
so what one request died of costs the others that were beside it one attempt.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from setpoint.api.budgets import Budgets
from setpoint.api.reasons import Problem, Reason
from setpoint.fences.allowances import Allowance
from setpoint.fences.clock import Clock
from setpoint.fences.kept import Kept
from setpoint.fences.landlock import Access, Grant
from setpoint.fences.launching import Connection, LaunchError
from setpoint.fences.policy import Policy
from setpoint.link.server import Handle
from setpoint.link.turns import Turns
from setpoint.render.sandbox import Limits
from setpoint.runtime.disk import cache_problem
from setpoint.runtime.pool import Closed, Pool
from setpoint.wall.errors import WorkerGone
from setpoint.wall.messages import Drop
from setpoint.worker.child import Child, Key, Setup
from setpoint.worker.deaths import Death, problem_of
from setpoint.worker.folders.scratch import Scratch
from setpoint.worker.room import Watch
from setpoint.worker.shares import SCRATCH

T = TypeVar("T")
LAUNCHER: Final = ("-P", "-s", "-m", "setpoint.worker.reader.main")
LONGEST: Final = 300.0
"""Seconds for one request, but for those in which its reader waits for its turn to build: with these it has `SPELL`."""
LATE: Final = f"to read this takes more than {LONGEST:g} s; make several Syncs of it"
PROCESSOR, SPELL = 600.0, 1800.0
"""Seconds of processor, and of all, for which a reader may work without a rest: on whatever it is asked in that time."""
PATIENCE: Final = 120.0
"""Seconds for which a reader whose place others need may go on with what it has: asked again, that has a reader of its own."""
THREADS: Final = 32


@dataclass(frozen=True, slots=True)
class Plan:
    """What readers get: `mirrors` of all, where their own folders are made, how many there are, bytes of memory of each, and the limits of builds."""

    mirrors: Path
    scratch: Scratch
    readers: int
    memory: int
    budgets: Budgets
    builds: Limits
    concurrency: int
    policy: Policy


@dataclass(frozen=True, slots=True)
class Services:
    """What is done for readers: `errands` answers one of a namespace, by its folder, process id and clock; `noticed` hears what one says
    unasked; `watch` ends who takes too much.
    """

    errands: Callable[[str, Path, int, Clock], Handle]
    noticed: Callable[[Key, Any], None]
    watch: Watch


class Readers:
    """All readers. Use it from one event loop, and `close` it at the end."""

    def __init__(self, plan: Plan, turns: Turns, services: Services) -> None:
        """`turns`: shared by all that the event loop must have turns between."""
        self._plan, self._turns, self._services = plan, turns, services
        self._pool: Pool[Key, Child] = Pool(
            plan.readers, lambda key: key.namespace, lasting=lambda key: not key.alone, patience=PATIENCE
        )
        self._numbers = itertools.count(1)
        environ = {"LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "2"}
        self._kept = Kept(plan.policy, LAUNCHER, environ, "readers")
        self.deaths = 0
        """How many died by themselves, or were ended for what they took."""

    async def use(self, key: Key, ask: Callable[[Child], Awaitable[T]], *, blind: bool = False) -> T:
        """Ask the reader for a key. If it dies, another is asked, which has nothing else to do. Raises Problem.

        `blind`: also one that does not see the mirrors any more, for what it remembers.
        """
        for attempt in (key, key._replace(alone=next(self._numbers))):
            async with self._held(attempt, blind=blind) as child:
                try:
                    async with child.clock.limit(LONGEST, SPELL):
                        return await ask(child)
                except TimeoutError:
                    child.kill()  # a thread of it may still read, and would for ever
                    raise Problem(Reason.TooLarge, LATE, retry=True) from None
                except (
                    WorkerGone
                ):  # whoever asks for it ended too, or this one did: it may take a moment to be seen
                    child.kill()
            death = await self._death(child)
            # Others, and what nobody waits for any more, take memory too: one that was asked nothing else died of this.
            if attempt.alone or (death.own and child.served == 1):
                raise problem_of(death)
        raise AssertionError  # the second attempt returned or raised

    async def ask(self, child: Child, ask: Callable[[Child], Awaitable[T]]) -> T:
        """Ask this reader, and no other. Raises WorkerGone."""
        try:
            with child.working():
                async with asyncio.timeout(LONGEST):
                    return await ask(child)
        except TimeoutError:
            child.kill()
            raise WorkerGone("a reader does not answer") from None
        finally:
            self._pool.rest(child.key, child)

    def drop(self, request: Drop) -> None:
        """Have what nobody needs forgotten by whoever remembers it, which is not waited for."""
        for child in list(self._pool.all):
            sets = tuple(each for each in request.read_sets if each.partition(".")[0] == child.name)
            mine = child.key.namespace == request.namespace
            if mine and child.usable and (sets or request.digests):
                child.post(Drop(request.namespace, request.digests, sets))

    @property
    def launcher(self) -> Connection | None:
        """The launcher, if there is one."""
        return self._kept.launcher

    @property
    def longest_wait(self) -> float:
        """For how many seconds the one has waited that waits longest for a reader."""
        return self._pool.longest_wait

    def named(self, name: str) -> Child | None:
        """Return the reader of a name, if it takes requests."""
        return next((child for child in self._pool.all if child.name == name and child.usable), None)

    def there(self, key: Key) -> Child | None:
        """Return the reader for a key, if there is one."""
        return self._pool.find(key)

    async def release(self, namespace: str) -> None:
        """End the readers of a namespace's mirrors as soon as they have nothing to do, and wait for those that have nothing now."""
        folder = self._plan.mirrors / namespace
        found = [child for child in self._pool.all if child.key.touches(folder)]
        for child in found:
            child.retired = True
            if not child.busy:
                child.kill()
        await asyncio.gather(*(asyncio.shield(child.exit) for child in found if not child.busy))

    async def close(self) -> None:
        """End all readers."""
        children = list(self._pool.all)
        self._pool.close()
        await asyncio.gather(*(child.ended for child in children), return_exceptions=True)
        self._kept.close()
        self._plan.scratch.close()

    @asynccontextmanager
    async def _held(self, key: Key, *, blind: bool) -> AsyncIterator[Child]:
        present = self._pool.find(key)
        if present is not None and not blind and (present.worn or not present.stands()):
            self._pool.retire(key)
        try:
            child = await self._pool.get(key, partial(self._start, key))
        except Closed:
            raise Problem(Reason.GitFailed, "the worker is stopping", retry=True) from None
        try:
            with child.working():
                yield child
        finally:
            child.retired |= bool(key.alone)
            self._pool.rest(key, child)

    async def _death(self, child: Child) -> Death:
        ended = await asyncio.shield(child.exit)
        self.deaths += not child.counted
        child.counted = True
        return Death(ended, child.excess, self._plan.memory)

    async def _start(self, key: Key, gone: Callable[[], None]) -> Child:
        name = secrets.token_hex(16)  # who knows one knows of none besides
        try:
            for folder in map(Path, key.folders):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise cache_problem(error) from None
        scratch = self._plan.scratch.make(name)
        try:
            return await self._child(key, name, scratch, gone)
        except BaseException:
            self._plan.scratch.discard(scratch)
            raise

    async def _child(self, key: Key, name: str, scratch: Path, gone: Callable[[], None]) -> Child:
        setup = Setup(
            self._request(key, name, scratch),
            key,
            name,
            scratch,
            partial(self._services.errands, key.namespace, scratch),
            self._plan.concurrency,
            partial(self._services.noticed, key),
            gone,
            partial(self._plan.scratch.discard, scratch),
            self._services.watch,
            Allowance(self._plan.memory, THREADS, PROCESSOR, SPELL, scratch, SCRATCH),
        )
        try:
            return await self._kept.child(partial(Child.start, setup=setup, turns=self._turns))
        except LaunchError as error:
            raise Problem(Reason.GitFailed, f"no reader can be started: {error}", retry=True) from None

    def _request(self, key: Key, name: str, scratch: Path) -> Mapping[str, Any]:
        plan = self._plan
        reader = {
            "name": name,
            "mirrors": str(plan.mirrors),
            "scratch": str(scratch),
            "budgets": asdict(plan.budgets),
            "limits": (plan.builds.timeout, plan.builds.memory, plan.builds.output),
            "concurrency": plan.concurrency,
        }
        grants = [Grant(each, Access.READ) for each in key.folders]
        fence = plan.policy.wire([*grants, Grant(str(scratch), Access.LINK)])
        return {"reader": reader, "memory": plan.memory, **fence}
