"""One reader as the broker has it: its two sockets, what it is asked, and how it ended (shell)."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, TypeAlias

from setpoint.fences.allowances import Allowance, Excess
from setpoint.fences.clock import Clock
from setpoint.fences.launching import Connection, Exit, LaunchError, Started
from setpoint.link.caller import Caller
from setpoint.link.server import Handle, Server
from setpoint.link.sockets import pair
from setpoint.link.stream import Stream
from setpoint.link.turns import Turns
from setpoint.wall.errors import ProtocolError, WorkerGone
from setpoint.wall.inside import Told
from setpoint.wall.messages import Drop
from setpoint.wall.sizes import Bounds
from setpoint.worker.room import Watch, Watched

log = logging.getLogger(__name__)
Places: TypeAlias = tuple[tuple[int, int] | None, ...]
"""Which folders lay where a reader looks: device and inode of each, if there was one."""
MOST: Final = Bounds(8 * 2**20, 200_000, 48 * 2**20)
"""Of an answer that the broker reads itself; what it only passes on has no limit here."""
MOST_TOLD: Final = 40_000
"""Commits and submodules that it is known to have been told of: fewer than it remembers."""
WORN: Final = 0.25
"""The part of what one spell of work may take after which others are asked."""
MOST_DROPS: Final = 10_000
"""What may wait to be forgotten: many times what a namespace drops while its reader works without a pause."""
DROPS: Final = 1_000
"""What is to be forgotten by one message."""


class Key(NamedTuple):
    """Which requests a reader serves: those for one namespace that read below these folders of mirrors.

    `alone`: the number of a single request; 0 for all others.
    """

    namespace: str
    folders: tuple[str, ...]
    alone: int = 0

    def sees(self, folder: Path) -> bool:
        """Return whether it sees what is in this folder."""
        return any(folder.is_relative_to(each) for each in self.folders)

    def touches(self, folder: Path) -> bool:
        """Return whether it sees anything in this folder."""
        return self.sees(folder) or any(Path(each).is_relative_to(folder) for each in self.folders)


@dataclass(frozen=True, slots=True)
class Setup:
    """What a reader is started with: the request to its launcher, its key and name, its folder, who does errands for its
    process id and clock, and how many at once, who hears of notices and of its end, who removes its folder then, who watches it, and what it may take.
    """

    request: Mapping[str, Any]
    key: Key
    name: str
    scratch: Path
    errands: Callable[[int, Clock], Handle]
    most: int
    noticed: Callable[[Any], None]
    gone: Callable[[], None]
    discard: Callable[[], None]
    watch: Watch
    allowance: Allowance


class Drops:
    """What a reader is to forget: each thing once, in one message at a time, of all that came while the last one was on its way."""

    def __init__(self, namespace: str, send: Callable[[Drop], Awaitable[object]]) -> None:
        """`send` returns when the reader forgot it. It raises WorkerGone or ProtocolError where there is nobody to forget."""
        self._namespace, self._send = namespace, send
        self._digests: set[str] = set()
        self._read_sets: set[str] = set()
        self._sending: asyncio.Task[None] | None = None

    def add(self, request: Drop) -> bool:
        """Have something more forgotten, without waiting; returns whether so much may wait."""
        self._digests.update(request.digests)
        self._read_sets.update(request.read_sets)
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_all())
        return len(self._digests) + len(self._read_sets) <= MOST_DROPS

    async def _send_all(self) -> None:
        with suppress(WorkerGone, ProtocolError):  # who is gone remembers nothing; the latter is in the log
            while self._digests or self._read_sets:
                digests, sets = _taken(self._digests, DROPS), _taken(self._read_sets, DROPS)
                await self._send(Drop(self._namespace, digests, sets))


class Child:
    """A running reader. Its calls raise WorkerGone when it ends."""

    def __init__(
        self, launcher: Connection, started: Started, setup: Setup, caller: Caller, ground: Places
    ) -> None:
        """`launcher`: of which it was `started`; `caller`: asks it; `ground`: its folders as they were before it was started."""
        self._launcher, self._started, self._setup = launcher, started, setup
        self.caller, self.key, self.name = caller, setup.key, setup.name
        self._drops = Drops(setup.key.namespace, caller.call)
        self._told: dict[tuple[str, str], int] = {}
        self._pins = 0
        self.served = 0
        """How many requests it was asked in all."""
        self.clock = Clock()
        """Of its requests."""
        self.busy = 0
        """How many requests it works on."""
        self.retired = False
        """Whether it gets no more requests."""
        self.idle = 0.0
        """Since when it has nothing to do, if it has nothing to do."""
        self.counted = False
        """Whether its death was counted."""
        self.exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        """How it ended, once its process is gone."""
        self.excess: Excess | None = None
        """What it was ended for, if it took too much; it is there with `exit`."""
        self._running: asyncio.Task[None]
        self.watched: Watched
        """What was seen of it last."""
        self._ground = ground

    @classmethod
    async def start(cls, launcher: Connection, setup: Setup, turns: Turns) -> Self:
        """Return a new one; LaunchError."""
        ground = _places(setup)  # what is replaced from now on, it may not see
        with ExitStack() as opened, ExitStack() as failed:
            calls, theirs = await _connected(opened, failed)
            errands, other = await _connected(opened, failed)
            started = await launcher.start(setup.request, (theirs.fileno(), other.fileno()))
            failed.pop_all()  # nothing is awaited from here on: who cancelled it would leave a reader that nobody knows
            child = cls(launcher, started, setup, Caller(calls, turns, setup.noticed, MOST), ground)
            child._begin(errands)
        return child

    def _begin(self, errands: Stream) -> None:
        setup = self._setup
        done = setup.errands(self.pid, self.clock)
        server = Server(errands, done, introduced=False, most=setup.most, strict=True)
        self.watched = setup.watch.add(self.pid, setup.allowance, self.kill, "reader")
        self._running = asyncio.create_task(self._run(server))

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._started.pid

    @property
    def ended(self) -> asyncio.Future[None]:
        """Its end, with everything that is done after it; whoever stops waiting for that does not stop it."""
        return asyncio.shield(self._running)

    @property
    def usable(self) -> bool:
        """Whether it takes requests."""
        return not self.retired and not self.exit.done()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Let it work on a request within the block."""
        self.busy += 1
        self.served += 1
        try:
            with self._setup.watch.working(self.pid):
                yield
        finally:
            self.busy -= 1

    async def tell(self, told: Iterable[Told]) -> None:
        """Tell it what commits pin, unless it was told: that never changes. Raises WorkerGone."""
        for each in told:
            if (known := (each.handle, each.sha)) in self._told:
                continue
            await self.caller.call(each)
            self._pins += len(each.pins) + 1 - self._told.pop(known, 0)
            self._told[known] = len(each.pins) + 1
            while self._pins > MOST_TOLD:
                self._pins -= self._told.pop(next(iter(self._told)))

    @property
    def worn(self) -> bool:
        """Whether it has worked for so long without a rest that it would be ended for that, though each request was small."""
        use, allowance = self.watched.use, self.watched.allowance
        return use.processor > WORN * allowance.processor or use.seconds > WORN * allowance.seconds

    def stands(self) -> bool:
        """Return whether the folders that it was fenced to are those that are there: of others it sees nothing."""
        return _places(self._setup) == self._ground

    def post(self, request: Drop) -> None:
        """Have something forgotten, without waiting; a reader that takes none of very many is ended, and one for a single request is not asked."""
        if not self.key.alone and not self._drops.add(request):
            self.kill()

    def kill(self) -> None:
        """End it at once."""
        self.retired = True
        self._launcher.kill(self._started.number)

    async def _run(self, server: Server) -> None:
        """Serve both sockets until it ends; one that ends either, or breaks the protocol of one, is ended."""
        calls, errands = asyncio.create_task(self._calls()), asyncio.create_task(server.run())
        try:
            await asyncio.wait((calls, errands, self._started.ended), return_when=asyncio.FIRST_COMPLETED)
            self.kill()
            ended = await self._exit()
            self.excess = self._setup.watch.why(self.pid)
            self._setup.watch.remove(self.pid)
            self.exit.set_result(ended)
            self._setup.gone()
        finally:
            errands.cancel()
            await asyncio.gather(calls, errands, return_exceptions=True)
            self._setup.discard()

    async def _calls(self) -> None:
        try:
            await self.caller.run()
        except ProtocolError as error:
            log.warning("a reader broke the protocol; it is ended", extra={"what": str(error)})

    async def _exit(self) -> Exit:
        try:
            return await self._started.ended
        except LaunchError:
            return Exit(-signal.SIGKILL)


async def _connected(opened: ExitStack, failed: ExitStack) -> tuple[Stream, socket.socket]:
    """Return two ends that are connected: ours, which `failed` closes, and a child's, which `opened` does. LaunchError."""
    try:
        ours, theirs = pair()
    except OSError as error:  # too many files are open
        raise LaunchError(f"there are no sockets for it: {error.strerror}") from error
    opened.enter_context(theirs)
    failed.callback(ours.close)
    stream = await Stream.over(ours)
    failed.callback(stream.close)
    return stream, theirs


def _taken(names: set[str], most: int) -> tuple[str, ...]:
    return tuple(names.pop() for _ in range(min(most, len(names))))


def _places(setup: Setup) -> Places:
    return tuple(_file(each) for each in (*setup.key.folders, str(setup.scratch)))


def _file(path: str) -> tuple[int, int] | None:
    with suppress(OSError):
        found = os.stat(path)
        return found.st_dev, found.st_ino
    return None
