"""The broker: answers the operator, and has everything that a tenant wrote read by others (async shell).

It decides who reads, fetches and builds, for how long and in which order. It loads nothing that reads commits, YAML or patterns: a reader's
answers pass through it unread.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

from setpoint.api.hosts import HostRules
from setpoint.api.reasons import Problem
from setpoint.fences.allowances import Allowance
from setpoint.git.fetching import Fetching
from setpoint.git.workers import Terms
from setpoint.link.channel import Channel, receive_message, send_message
from setpoint.link.relay import forward
from setpoint.link.server import typed
from setpoint.link.turns import Turns
from setpoint.render.program import Program
from setpoint.render.sandbox import Limits
from setpoint.runtime.lru import Lru
from setpoint.settings import Settings
from setpoint.wall.errors import ProtocolError, WorkerGone
from setpoint.wall.frames import Frame
from setpoint.wall.inside import Damaged, Told
from setpoint.wall.kinds import NUMBERS
from setpoint.wall.messages import (
    Build,
    Check,
    Compare,
    Compared,
    Drop,
    Failed,
    Fetch,
    Lost,
    Objects,
    Placed,
    Places,
    Stats,
)
from setpoint.worker.builds import Builds
from setpoint.worker.child import Child, Key
from setpoint.worker.commits import MAX_HANDLES, Commits
from setpoint.worker.fences import fences
from setpoint.worker.folders.scratch import Remover, Scratch
from setpoint.worker.readers import Plan, Readers, Services
from setpoint.worker.room import Watch
from setpoint.worker.telling import stats

log = logging.getLogger(__name__)
GUESTS_SECONDS: Final = 2.0
"""For how long a comparison waits for readers of other namespaces than the Source's."""
GUESTS_WORD_SECONDS: Final = 3600.0
"""For how long another word of a guest, that a mirror is damaged, counts for nothing."""
GIT_THREADS: Final = 512
"""Threads of a process that talks to a server: one for each request that it works on, and some of libraries."""
LOOKS: Mapping[int, Callable[[Problem | None], Any]] = {
    NUMBERS[Build]: lambda problem: Failed.of(problem) if problem else Lost(),
    NUMBERS[Objects]: lambda problem: Failed.of(problem) if problem else Lost(),
    NUMBERS[Places]: lambda _: Placed(),
}
"""Requests that one reader answers, and the answer where it cannot: with why, or because the commit is not there."""
_Look: TypeAlias = Build | Objects | Places


class Broker:
    """Answers the operator. Use it from one event loop, and `close` it at the end."""

    def __init__(
        self, fetching: Fetching, kustomize: Program, plan: Plan, watch: Watch, *, allow_file: bool
    ) -> None:
        """`plan`: what readers get; `watch`: over all children; `allow_file`: whether a URL may be that of a local folder."""
        self._turns = Turns()
        self._fetching, self._kustomize, self._watch = fetching, kustomize, watch
        builds = Builds(kustomize, plan.concurrency, watch)
        self.readers = Readers(plan, self._turns, Services(builds.errands, self._noticed, watch))
        self.commits = Commits(fetching, self.readers, allow_file=allow_file)
        self._doubted: Lru[str, float] = Lru(MAX_HANDLES)
        self._typed = typed(
            {
                Check: self.commits.check,
                Fetch: self.commits.fetch,
                Compare: self._compare,
                Drop: self._drop,
            },
            self._turns,
        )

    @classmethod
    def of(cls, settings: Settings, hosts: HostRules, remover: Remover) -> Self:
        """Return a broker as the settings have it; `hosts`: where Git may connect to; `remover`: of what readers leave."""
        cache, policy = Path(settings.cache_dir), fences(settings)
        log.log(logging.INFO if policy.abi else logging.WARNING, "children are fenced by %s", policy)
        limits = Limits(settings.render_timeout, settings.render_memory, settings.budgets.max_render_size)
        plan = Plan(
            cache / "git" / "mirrors",
            Scratch(Path(tempfile.gettempdir()), remover),
            settings.readers,
            settings.reader_memory,
            settings.budgets,
            limits,
            settings.render_concurrency,
            policy,
        )
        git = Allowance(settings.git_memory, GIT_THREADS, math.inf, math.inf)
        build = Allowance(
            2 * settings.render_memory, math.inf, math.inf, math.inf
        )  # the sandbox has limits of its own
        allowances = {"lister": git, "fetcher": git, "renderer": build}
        watch = Watch({("lister", "fetcher"): settings.git_memory}, allowances=allowances)
        program = Program(Path(settings.kustomize), limits, policy, watch)
        terms = Terms(settings.git_processes, policy=policy, observer=watch)

        async def release(namespace: str) -> None:
            await made.readers.release(namespace)

        fetching = Fetching(
            cache / "git",
            limit=settings.cache_size,
            terms=terms,
            hosts=hosts,
            budgets=settings.budgets,
            release=release,
        )
        made = cls(fetching, program, plan, watch, allow_file=settings.allow_file_urls)
        return made

    async def close(self) -> None:
        """End the processes that run."""
        await self.readers.close()
        self._kustomize.close()
        await self._fetching.close()

    def stats(self) -> Stats:
        """Return what the processes take now."""
        launchers = self.readers.launcher, self._kustomize.sandbox.launcher, self._fetching.launcher
        return stats(self._watch, launchers, self.readers.deaths, self.readers.longest_wait)

    async def handle(self, channel: Channel, head: Frame) -> None:
        """Answer a call of the operator (`link.server.Handle`)."""
        if head.kind not in LOOKS:
            await self._typed(channel, head)
            return
        request = await receive_message(channel, head, self._turns)
        instead = LOOKS[head.kind]
        try:
            told = await self._told(request)
            if told is not None or self._remembers(request):
                await self._pass(channel, request, told)
                return
            answer = instead(None)
        except Problem as problem:
            answer = instead(problem)
        except _Cut:
            return  # the operator hears that it ended, and asks again
        await send_message(channel, answer, self._turns)

    async def _told(self, request: _Look) -> tuple[Told, ...] | None:
        look = request.look
        return await self.commits.told(look.handle, look.sha, submodules=look.submodules)

    def _remembers(self, request: _Look) -> bool:
        """Return whether a reader may have the objects although the commit is gone."""
        return isinstance(request, Objects) and bool(self.readers.there(_key(self.commits, request, ())))

    async def _pass(self, channel: Channel, request: _Look, told: tuple[Told, ...] | None) -> None:
        """Have a reader answer, of what it remembers where the commit is gone (None). Problem if it died of that twice."""

        look = request.look

        async def ask(child: Child) -> None:
            await child.tell(told or ())
            try:
                kind = await forward(channel, request, child.caller, self._turns)
                if kind == NUMBERS[Lost]:
                    self.commits.lost(look.handle, look.sha, told or ())
            except WorkerGone:
                if channel.sent:
                    raise _Cut from None
                raise

        await self.readers.use(_key(self.commits, request, told or ()), ask, blind=told is None)

    async def _compare(self, request: Compare) -> Compared:
        """Ask each reader that is still there about its read sets; all others may be touched."""
        told: list[Told] = []
        for sha in (request.old, request.new):
            try:
                found = await self.commits.held(request.handle, sha, submodules=request.submodules)
            except Problem:
                found = None
            if found is None:
                return Compared(everything=True)
            told += found
        groups: dict[str, list[str]] = {}
        for each in request.read_sets:
            groups.setdefault(each.partition(".")[0], []).append(each)
        parts = {name: replace(request, read_sets=tuple(sets)) for name, sets in groups.items()}
        asked = (self._touched(name, part, told) for name, part in parts.items())
        touched = set(itertools.chain.from_iterable(await asyncio.gather(*asked)))
        return Compared(tuple(each for each in request.read_sets if each in touched))

    async def _touched(self, name: str, request: Compare, told: Iterable[Told]) -> tuple[str, ...]:
        """Ask a reader that sees the commits. Another tenant's has little time for it: the Source's own wait for the answer."""
        child = self.readers.named(name)
        if child is None or not child.key.sees(self._fetching.mirror(request.handle).path):
            return request.read_sets
        own = child.key.namespace == request.handle.partition("/")[0]

        async def ask(child: Child) -> Any:
            await child.tell(told)
            return await child.caller.call(request)

        try:
            async with asyncio.timeout(None if own else GUESTS_SECONDS):
                answer = await self.readers.ask(child, ask)
        except (WorkerGone, ProtocolError, TimeoutError):
            return request.read_sets
        if not isinstance(answer, Compared) or answer.everything:
            return request.read_sets
        return answer.touched

    async def _drop(self, request: Drop) -> None:
        """Have it forgotten by whoever remembers it; nobody is waited for."""
        self.commits.forget(request.namespace, request.handles)
        self.readers.drop(request)

    def _noticed(self, key: Key, notice: Any) -> None:
        """Hear of a mirror that a reader cannot read: the next check makes it anew. A guest's word counts seldom: it costs another a fetch."""
        if not isinstance(notice, Damaged):
            raise ProtocolError(f"a notice of {type(notice).__name__}")
        try:
            mirror = self._fetching.mirror(notice.handle)
        except ValueError:
            raise ProtocolError("a handle that is none") from None
        if not key.sees(mirror.path):
            raise ProtocolError("a mirror that it cannot read anyway")
        if mirror.namespace != key.namespace:
            now = asyncio.get_running_loop().time()
            if now < (self._doubted.get(notice.handle) or 0.0):
                return
            self._doubted.put(notice.handle, now + GUESTS_WORD_SECONDS, 1)
        self._fetching.damaged(notice.handle)


class _Cut(Exception):
    """A reader died when a part of its answer had been passed on."""


def _key(commits: Commits, request: _Look, told: Iterable[Told]) -> Key:
    return commits.reader(request.look.namespace, request.look.handle, told)
