"""Reconciles Sources: has remotes asked and new commits fetched, and wakes Syncs (shell).

A failure never takes the last good commit away: Syncs keep using what was fetched.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from setpoint.api import names
from setpoint.api.formats import seconds
from setpoint.api.reasons import Problem, Reason
from setpoint.api.resources import Source
from setpoint.kube.client import Cluster
from setpoint.objects.bodies import Body, source_model
from setpoint.objects.identity import SyncKey
from setpoint.runtime.workqueue import Result, WorkQueue
from setpoint.sources.artifact import Artifact
from setpoint.sources.asking import Asking
from setpoint.sources.changes import EVERYTHING, NOTHING, Changes
from setpoint.sources.check import (
    CheckResult,
    Fetched,
    final,
    limit_note,
    limit_of,
    needs_only_time,
    outage_of,
    unasked,
)
from setpoint.sources.demands import Demand, Demands
from setpoint.sources.memory import SourceMemory, sole_handle
from setpoint.sources.reporter import SourceReporter
from setpoint.sources.secrets import read_login
from setpoint.sources.subscriber import Subscriber
from setpoint.store.index import Store
from setpoint.store.status_writer import RETRYABLE, Deleted, retry_later
from setpoint.wall.errors import WorkerAway, WorkerGone
from setpoint.wall.messages import Check, Compare, Drop, Failed, Fetch, GitRef, Login, Lost, Place
from setpoint.wall.protocol import Worker

log = logging.getLogger(__name__)

JITTER = 0.05
WORKER_SECONDS, AWAY_SECONDS = 1.0, 3.0
"""After how long a check is made again that the worker did not live to answer, or was not there for: that is no failure of the Source."""
NEVER = math.inf
"""When the next check of a remote is due that only a person can put right; another spec or a request for a check comes first."""


class Sources:
    """Reconciles Sources, and gives their commits to Syncs."""

    def __init__(
        self,
        cluster: Cluster,
        worker: Worker,
        store: Store,
        reporter: SourceReporter,
        subscriber: Subscriber,
        queue: WorkQueue[SyncKey],
        syncs: WorkQueue[SyncKey],
        *,
        allow_file: bool,
    ) -> None:
        """`queue` is that of the Sources; in that of the `syncs` comes who waits for a check."""
        self._cluster, self._worker, self._store, self._reporter = cluster, worker, store, reporter
        self._allow_file = allow_file
        self._subscriber, self._queue, self._syncs = subscriber, queue, syncs
        self._asking = Asking(store)
        self._memory: dict[SyncKey, SourceMemory] = {}
        self._demands = Demands()

    def current(self, key: SyncKey) -> Artifact | None:
        """Return the last good commit that this process had; whether the cache has it, `holds` tells."""
        return memory.current if (memory := self._known(key)) else None

    def trouble(self, key: SyncKey) -> Problem | None:
        """Return why the last check of a Source failed; None if it did not, or if there was none yet."""
        memory = self._known(key)
        return memory.trouble if memory else None

    def was_tried(self, key: SyncKey) -> bool:
        """Return whether a check of this Source, as its spec is now, has ended since start, well or badly."""
        memory, body = self._known(key), self._store.sources.get(key)
        return bool(memory and body and memory.generation == body["metadata"].get("generation", 0))

    def _known(self, key: SyncKey) -> SourceMemory | None:
        """Return what is remembered of the Source that the store has, and nothing of a former one of its name."""
        memory, body = self._memory.get(key), self._store.sources.get(key)
        return memory if memory and body and memory.uid == body["metadata"]["uid"] else None

    def holds(self, key: SyncKey) -> bool:
        """Return whether the last good commit is in the cache, as far as anybody found out."""
        memory = self._known(key)
        return memory is not None and memory.held

    def lost(self, key: SyncKey, current: Artifact) -> None:
        """Have a commit that was the last good one fetched again, as the cache does not have it."""
        if (memory := self._known(key)) is not None and memory.lost(current):
            self._queue.add(key)

    # --- what Syncs demand

    def demand(self, sync: SyncKey, demand: Demand | None) -> None:
        """Take what a Sync needs now, in place of what it needed before.

        It is woken when a check has brought it, or failed: once for each new reason. Asking again for the same does
        not cut a back-off short.
        """
        if not self._demands.put(sync, demand) or demand is None:
            return
        key, known = demand.source, self._known(demand.source)
        if known is not None and known.held:  # it came while the run went on
            for user in self._demands.answer(key, {}, (), held=True):
                self._syncs.add(user)
        if sync in self._demands.on(key):
            self._memory.setdefault(key, SourceMemory()).due = 0.0
            self._queue.add(key)

    def forget(self, sync: SyncKey) -> None:
        """Forget what a Sync that is gone demanded."""
        self._demands.forget(sync)

    def refused(self, key: SyncKey, sha: str) -> bool:
        """Return whether the server does not give a commit (any more)."""
        memory = self._memory.get(key)
        return memory is not None and sha in memory.refused

    def was_checked(self, key: SyncKey, sync: SyncKey, requested: str) -> bool:
        """Return whether the check that a Sync asked for has finished, well or badly; none is due of what is not there."""
        return key not in self._store.sources or self._demands.checked(key, sync, requested)

    # --- checks

    def give_up(self, key: SyncKey) -> None:
        """Cancel a running check if its Source is gone or has a new spec."""
        self._asking.give_up(key)

    async def reconcile(self, key: SyncKey) -> Result:
        """Bring one Source up to date."""
        body = self._store.sources.get(key)
        if body is None:
            return self._forget(key)
        try:
            return await self._reconcile(key, body)
        except Deleted:
            # The watch need not say so: it may have gone while nobody watched.
            self._store.drop_source(key, body["metadata"]["uid"])
            return Result(after=0.0)
        except RETRYABLE as error:
            return retry_later("Source", key, error)
        except WorkerAway:
            return await self._away(key, body)
        except WorkerGone:
            return Result(after=WORKER_SECONDS)

    async def _away(self, key: SyncKey, body: Body) -> Result:
        memory = self._remembered(key, body["metadata"]["uid"])
        with suppress(Deleted, *RETRYABLE):
            await self._reporter.report(key, body, unasked(body, held=memory.held))
        return Result(after=AWAY_SECONDS)

    def _forget(self, key: SyncKey) -> Result:
        self._release(key, self._memory.pop(key, None))
        self._reporter.forget(key)
        for user in self._demands.drop(key).union(self._store.users(key)):
            self._syncs.add(user)
        return Result()

    def _release(self, key: SyncKey, memory: SourceMemory | None) -> None:
        """Let the worker forget what a Source had for a login, unless another Source has the same at the same URL."""
        if handle := sole_handle(memory, self._memory.values()):
            self._worker.drop(Drop(key.namespace, (), (), (handle,)))

    async def _reconcile(self, key: SyncKey, body: Body) -> Result:
        memory = self._remembered(key, body["metadata"]["uid"])
        loop = asyncio.get_running_loop()
        requested = (body["metadata"].get("annotations") or {}).get(names.ANNOTATION_REQUESTED)
        generation = body["metadata"].get("generation", 0)
        fresh = generation == memory.generation and requested == memory.answered
        if fresh and memory.due == NEVER:
            return Result()
        if fresh and loop.time() < memory.due and memory.held:
            return Result(after=memory.due - loop.time())
        return await self._check(key, body, memory, requested)

    def _remembered(self, key: SyncKey, uid: str) -> SourceMemory:
        """Return the memory of a Source; a new one if it is another than had that name before."""
        memory = self._memory.setdefault(key, SourceMemory())
        if memory.uid not in (None, uid):
            self._release(key, memory)
            memory = self._memory[key] = SourceMemory()
            self._demands.remake(key)
        memory.uid = uid
        return memory

    async def _check(self, key: SyncKey, body: Body, memory: SourceMemory, requested: str | None) -> Result:
        before, generation = memory.told, body["metadata"].get("generation", 0)
        if generation != memory.generation:
            memory.refused.clear()  # another server may have them
            memory.login = None  # and is not to be told what the one before was
        asked_anew = requested is not None and requested != memory.answered
        asks = self._demands.on(key)  # who asks from here on may mean a commit that this check does not see
        checked = await self._asking.ask(key, body, self._asked(key, body, memory, requested))
        if checked is None:
            memory.due = 0.0
            return Result(after=0.0)
        problem, interval, suspended = checked.problem, checked.interval, checked.suspended
        # The first check is news even if it found nothing wrong: who waits for the commit may wait in vain.
        news = str(problem) != str(memory.trouble) or generation != memory.generation
        memory.generation, memory.answered = generation, requested
        # Not the exception itself, which holds the frames that it came through.
        memory.trouble = Problem(problem.reason, problem.message) if problem is not None else None
        memory.due = asyncio.get_running_loop().time() + interval * (1 + random.uniform(-JITTER, JITTER))  # noqa: S311 - spreads load
        self._reporter.fetched(problem)
        changes = EVERYTHING
        try:
            changes = await self._compared(key, before, memory.current)
            await self._reporter.report(key, body, replace(checked, held=memory.held))
        except Exception:
            memory.due = 0.0  # what was not told is told by the next run, not by the next interval
            raise
        finally:
            # Even if the Source was changed meanwhile: the run that follows finds nothing new to wake them for.
            self._answer(key, memory, asks, news=news)
            if asked_anew or memory.current != before:
                self._tell(key, before, memory, changes)
        lost = problem is None and self._demands.lost(key)  # dropped again: the cache is too small for all
        if lost or (problem is not None and problem.transient):
            memory.due = 0.0
            return Result(retry=True)
        if self._demands.newer(key, asks):
            memory.due = 0.0
            return Result(after=0.0)
        if checked.own is not None and not needs_only_time(checked.own):
            memory.due = NEVER
        return Result() if suspended or memory.due == NEVER else Result(after=interval)

    def _tell(self, key: SyncKey, before: Artifact | None, memory: SourceMemory, changes: Changes) -> None:
        after = memory.told = memory.current
        old, new = before.sha if before else "", after.sha if after else ""
        self._subscriber.commit_changed(key, old, new, changes)

    def _answer(
        self, key: SyncKey, memory: SourceMemory, asks: Mapping[SyncKey, Demand], *, news: bool
    ) -> None:
        """Wake those whose demand a check answered that began with `asks`.

        `news`: the remote fails in another way than before, which those who still wait for a commit report. Who began
        to wait since the check before this one may not know of that yet.
        """
        untold, waiting = self._demands.untold(key), self._demands.waiting(key)
        if not news:
            waiting = waiting & untold if memory.trouble is not None else set()
        answered = self._demands.answer(key, asks, memory.settled, held=memory.held)
        memory.settled = set()
        for user in waiting | answered:
            self._syncs.add(user)

    async def _compared(self, key: SyncKey, before: Artifact | None, after: Artifact | None) -> Changes:
        """Find out whom a step between two commits concerns: all where one cannot be read or is of elsewhere."""
        if before == after:
            return NOTHING
        if before is None or after is None:
            return EVERYTHING
        if (before.handle, before.submodules) != (after.handle, after.submodules):
            return EVERYTHING
        looks = self._subscriber.looks(key)
        if not looks:
            return EVERYTHING
        asked = tuple(dict.fromkeys(looks.values()))
        answer = await self._worker.compare(
            Compare(after.handle, before.sha, after.sha, after.submodules, asked)
        )
        if answer.everything:
            return EVERYTHING
        touched = frozenset(answer.touched)
        return Changes({sync: read_set for sync, read_set in looks.items() if read_set not in touched})

    async def _asked(
        self, key: SyncKey, body: Body, memory: SourceMemory, requested: str | None
    ) -> CheckResult:
        """Ask the remote, unless suspended."""
        generation = body["metadata"].get("generation", 0)
        try:
            source = source_model(body)
        except Problem as invalid:
            return CheckResult(generation, requested, own=invalid)
        interval, suspended = max(1.0, seconds(source.spec.interval)), source.spec.suspend
        problem: Problem | None = None
        fetched: Fetched | None = None
        if not suspended:
            try:
                fetched = await self._fetched(key, source, memory, generation)
            except Problem as caught:
                problem = caught
        if fetched is None and memory.current is not None:
            memory.held = await self._is_held(memory.current)
        older = await self._find_older(key, source, body, memory, problem)
        if fetched is not None and (memory.current is None or memory.current.sha != fetched.sha):
            fetched = None  # it was dropped again at once: the one before stays
        checked = CheckResult(generation, requested, fetched, problem, suspended, older, interval)
        return replace(checked, note=limit_note(source.spec.timeout))

    async def _find_older(
        self, key: SyncKey, source: Source, body: Body, memory: SourceMemory, own: Problem | None
    ) -> Problem | None:
        """Find commits that are applied somewhere, first that of the Source itself: in the cache, else at the remote.

        A server need not give a commit that no ref points to: then what was applied cannot be enforced, and
        that commit is not asked for again. `own` is the problem of the check itself. Returns the first problem that
        another attempt may solve; it keeps no other commit back, unless it is an outage.
        """
        outage, first = outage_of(own), None
        stored = str((body.get("status") or {}).get("revision") or "")
        missing = {stored.rpartition("sha1:")[2]: stored} if stored and not memory.held else {}
        older = memory.postponed_last(self._demands.commits(key))
        wanted = missing | {sha: sha for sha in older if sha not in missing}
        for sha, revision in wanted.items():
            if sha not in memory.refused:
                try:
                    found = await self._older(key, source, memory, sha, revision, outage)
                except Problem as problem:
                    if outage is not None or not final(problem, own):
                        if outage is None:
                            memory.postpone(sha)
                        first, outage = first or problem, outage or outage_of(problem)
                        continue
                    log.info("cannot fetch an older commit", extra={"sha": sha, "why": problem.message})
                    memory.refused.add(sha)
                else:
                    if revision == stored:
                        memory.got(found)
            memory.settle(sha)
        return first

    async def _older(
        self,
        key: SyncKey,
        source: Source,
        memory: SourceMemory,
        sha: str,
        revision: str,
        outage: Problem | None,
    ) -> Artifact:
        login = memory.login or await self._login(key, source)
        place = _place(key, source, login)
        found = await self._worker.fetch(Fetch(place, sha, remote=outage is None))
        if isinstance(found, Failed):
            raise found.problem()
        if isinstance(found, Lost):
            raise outage or Problem(Reason.CacheFull, f"the cache does not keep commit {sha[:12]}")
        return Artifact(found.handle, sha, revision, place.submodules)

    async def _fetched(self, key: SyncKey, source: Source, memory: SourceMemory, generation: int) -> Fetched:
        """Ask the remote, and note its commit. Raises Problem."""
        cached = memory.login if memory.generation == generation else None
        try:
            login = cached or await self._login(key, source)
            return await self._at(key, source, login, memory)
        except Problem as problem:
            # A rotated Secret is noticed by its failure: read it again, once, before saying so.
            memory.login = None
            unread = cached is None or source.spec.secret_ref is None
            if unread or problem.reason is not Reason.AuthenticationFailed:
                raise
            return await self._at(key, source, await self._login(key, source), memory)

    async def _is_held(self, current: Artifact) -> bool:
        """Return whether the cache can still read a commit, asked without a login: it does not differ from itself."""
        at = Compare(current.handle, current.sha, current.sha, current.submodules, ())
        return not (await self._worker.compare(at)).everything

    async def _login(self, key: SyncKey, source: Source) -> Login:
        return await read_login(self._cluster, key, source, allow_file=self._allow_file)

    async def _at(self, key: SyncKey, source: Source, login: Login, memory: SourceMemory) -> Fetched:
        place, ref = _place(key, source, login), source.spec.ref
        found = await self._worker.check(
            Check(place, GitRef(ref.branch, ref.tag, ref.semver, ref.name, ref.commit))
        )
        if isinstance(found, Failed):
            raise found.problem()
        memory.login = login
        if memory.current is not None and memory.current.handle != found.handle:
            self._release(key, memory)
        memory.got(Artifact(found.handle, found.sha, found.revision, place.submodules), held=found.held)
        return Fetched(found.revision, found.sha, found.subject, found.author, found.time)


def _place(key: SyncKey, source: Source, login: Login) -> Place:
    spec = source.spec
    return Place(key.namespace, spec.url, login, spec.submodules, limit_of(spec.timeout))
