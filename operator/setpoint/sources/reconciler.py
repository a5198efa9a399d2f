"""Sources: asks remotes for their refs, fetches what is new, and wakes the Syncs (shell).

A failure never takes the last good commit away: Syncs keep using what was fetched.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import random
from typing import Any

from setpoint.api import names
from setpoint.api.formats import seconds
from setpoint.api.reasons import Problem, Reason
from setpoint.api.resources import Source
from setpoint.git.credentials import NO_CREDENTIALS, Credentials, credentials_from_secret
from setpoint.git.refs import RefSpec
from setpoint.git.remotes import Repository, parse_url
from setpoint.git.repositories import Git
from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError
from setpoint.objects.bodies import Body, source_model
from setpoint.objects.identity import SyncKey
from setpoint.runtime.workqueue import Result, WorkQueue
from setpoint.sources.artifact import Artifact
from setpoint.sources.asking import Asking
from setpoint.sources.check import Answer, CheckResult, Fetched, final, limit_note, limit_of, outage_of
from setpoint.sources.memory import SourceMemory
from setpoint.sources.reporter import SourceReporter
from setpoint.sources.subscriber import Subscriber
from setpoint.store.index import Store
from setpoint.store.status_writer import RETRYABLE, Deleted, retry_later
from setpoint.tree.changes import EVERYTHING, NOTHING, TreeDiff, compare
from setpoint.tree.protocol import Tree

log = logging.getLogger(__name__)

JITTER = 0.05


class Sources:
    """Reconciles Sources, and gives their trees to Syncs."""

    def __init__(
        self,
        cluster: Cluster,
        git: Git,
        store: Store,
        reporter: SourceReporter,
        subscriber: Subscriber,
        queue: WorkQueue[SyncKey],
        syncs: WorkQueue[SyncKey],
        *,
        allow_file: bool,
    ) -> None:
        """`queue` is that of the Sources; in that of the `syncs` comes who waits for a check."""
        self._cluster, self._git, self._store, self._reporter = cluster, git, store, reporter
        self._allow_file = allow_file
        self._subscriber, self._queue, self._syncs = subscriber, queue, syncs
        self._asking = Asking(store)
        self._memory: dict[SyncKey, SourceMemory] = {}
        self._wanted: dict[SyncKey, set[tuple[SyncKey, str]]] = {}
        """What each Sync wanted in its last run, as (Source, commit)."""
        self._wanting: dict[SyncKey, set[tuple[SyncKey, str]]] = {}
        """The same of the runs that go on."""

    def current(self, key: SyncKey) -> Artifact | None:
        """Return the last good commit that this process had; whether the cache still holds it, `tree` tells."""
        memory = self._known(key)
        return memory.current if memory else None

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

    def _holds(self, memory: SourceMemory) -> bool:
        return memory.current is not None and self.holds(memory.current, memory.current.sha)

    def holds(self, current: Artifact, sha: str) -> bool:
        """Return whether a commit is in the mirror (still)."""
        return self._git.has(current.repository, sha, submodules=current.submodules)

    def tree(self, current: Artifact, sha: str) -> Tree | None:
        """Return the tree of a commit, or None if it is not in the mirror (any more)."""
        if not self.holds(current, sha):
            return None
        try:
            return self._git.tree(current.repository, sha, submodules=current.submodules)
        except Problem:
            if self.holds(current, sha):
                raise
            return None  # it went just now

    def lost(self, key: SyncKey, sync: SyncKey) -> None:
        """Have the last good commit fetched again, which the cache does not hold (any more); `sync` is woken then.

        While that fails, `sync` is woken once for each new reason; asking again does not cut the back-off short.
        """
        memory = self._memory.setdefault(key, SourceMemory())
        if sync not in memory.waiting:
            memory.waiting.add(sync)
            memory.due = 0.0
            self._queue.add(key)

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

    def _forget(self, key: SyncKey) -> Result:
        self._memory.pop(key, None)
        self._reporter.forget(key)
        for user in self._store.users(key):
            self._syncs.add(user)
        return Result()

    async def _reconcile(self, key: SyncKey, body: Body) -> Result:
        memory = self._memory[key] = self._memory.get(key, SourceMemory()).of(body["metadata"]["uid"])
        loop = asyncio.get_running_loop()
        requested = (body["metadata"].get("annotations") or {}).get(names.ANNOTATION_REQUESTED)
        generation = body["metadata"].get("generation", 0)
        fresh = generation == memory.generation and requested == memory.answered
        if fresh and loop.time() < memory.due and self._holds(memory):
            return Result(after=memory.due - loop.time())
        return await self._check(key, body, memory, requested)

    async def _check(self, key: SyncKey, body: Body, memory: SourceMemory, requested: str | None) -> Result:
        before, generation = memory.told, body["metadata"].get("generation", 0)
        if generation != memory.generation:
            memory.refused.clear()  # another server may have them
        asked_anew = requested is not None and requested != memory.answered
        asks = memory.asks()  # who asks from here on may mean a commit that this check does not see
        answer = await self._asking.ask(key, body, self._asked(key, body, memory))
        if answer is None:
            memory.due = 0.0
            return Result(after=0.0)
        problem, interval, suspended = answer.problem, answer.interval, answer.suspended
        # The first check is news even if it found nothing wrong: who waits for the commit may wait in vain.
        news = str(problem) != str(memory.trouble) or generation != memory.generation
        memory.generation, memory.answered = generation, requested
        # Not the exception itself, which holds the frames that it came through.
        memory.trouble = Problem(problem.reason, problem.message) if problem is not None else None
        memory.due = asyncio.get_running_loop().time() + interval * (1 + random.uniform(-JITTER, JITTER))  # noqa: S311 - spreads load
        self._reporter.fetched(problem)
        changes = EVERYTHING
        try:
            changes = await self._compared(before, memory.current)
            new = memory.current if answer.own is None and not suspended else None
            shown = self._shown(new) if new else None
            held = self._holds(memory)
            checked = CheckResult(
                generation, requested, shown, problem, suspended, held=held, note=answer.note
            )
            await self._reporter.report(key, body, checked)
        except Exception:
            memory.due = 0.0  # what was not told is told by the next run, not by the next interval
            raise
        finally:
            # Even if the Source was changed meanwhile: the run that follows finds nothing new to wake them for.
            self._wake_waiters(memory, memory.answer(asks), news=news)
            if asked_anew or memory.current != before:
                self._tell(key, before, memory, changes)
        lost = problem is None and bool(memory.waiting)  # dropped again: the cache is too small for all
        if lost or (problem is not None and problem.transient):
            memory.due = 0.0
            return Result(retry=True)
        if memory.asks() - asks:
            memory.due = 0.0
            return Result(after=0.0)
        return Result() if suspended else Result(after=interval)

    def _tell(self, key: SyncKey, before: Artifact | None, memory: SourceMemory, changes: TreeDiff) -> None:
        after = memory.told = memory.current
        old, new = before.sha if before else "", after.sha if after else ""
        self._subscriber.commit_changed(key, old, new, changes)

    def _wake_waiters(self, memory: SourceMemory, answered: set[SyncKey], *, news: bool) -> None:
        """Wake those who asked for this check (`answered`), or for a commit that came.

        `news`: the remote fails in another way than before, which those who still wait for a commit tell.
        """
        woken, memory.settled = answered | memory.settled, set()
        if news or self._holds(memory):
            woken |= memory.waiting
        if news:
            woken = woken.union(*memory.older.values())
        if self._holds(memory):
            memory.waiting = set()
        for user in woken:
            self._syncs.add(user)

    async def _compared(self, before: Artifact | None, after: Artifact | None) -> TreeDiff:
        """Find what differs between two commits; everything does where one cannot be read or is of elsewhere."""
        if before == after:
            return NOTHING
        if before is None or after is None:
            return EVERYTHING
        if (before.repository, before.submodules) != (after.repository, after.submodules):
            return EVERYTHING
        try:
            old, new = self.tree(before, before.sha), self.tree(after, after.sha)
            return await asyncio.to_thread(compare, old, new) if old and new else EVERYTHING
        except Problem:
            return EVERYTHING

    async def _asked(self, key: SyncKey, body: Body, memory: SourceMemory) -> Answer:
        """Ask the remote, unless suspended."""
        try:
            source = source_model(body)
        except Problem as invalid:
            return Answer(60.0, own=invalid)
        interval, suspended = max(1.0, seconds(source.spec.interval)), source.spec.suspend
        problem: Problem | None = None
        if not suspended:
            try:
                memory.current = await self._fetched(
                    key, source, memory, body["metadata"].get("generation", 0)
                )
            except Problem as caught:
                problem = caught
        older = await self._find_older(key, source, body, memory, problem)
        note = limit_note(source.spec.timeout)
        return Answer(interval, suspended=suspended, own=problem, older=older, note=note)

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
        missing = {stored.rpartition("sha1:")[2]: stored} if stored and not self._holds(memory) else {}
        wanted = missing | {sha: sha for sha in memory.older if sha not in missing}
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
                    memory.current = found if revision == stored else memory.current
            memory.settled |= memory.older.pop(sha, set())
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
        remote = parse_url(source.spec.url, allow_file=self._allow_file)
        credentials = memory.credentials or await self._credentials(key, source, remote)
        repository, submodules = Repository(remote, credentials), source.spec.submodules
        if not self._git.has(repository, sha, submodules=submodules):
            if outage is not None:
                raise outage
            ref, limit = RefSpec(commit=sha), limit_of(source.spec.timeout)
            selected = await self._git.resolve(repository, ref, limit)
            await self._git.fetch(repository, ref, selected, limit, submodules=submodules)
            if not self._git.has(repository, sha, submodules=submodules):
                raise Problem(Reason.CacheFull, f"the cache does not keep commit {sha[:12]}")
        return Artifact(repository, sha, revision, submodules)

    def want(self, key: SyncKey, sync: SyncKey, sha: str) -> bool:
        """Have a commit fetched that a Sync had applied and the cache has no more; `sync` is woken then, as by `lost`.

        False if the server does not give it. It is wanted until a run of the Sync ends that does not ask for it (`ran`).
        """
        memory = self._memory.setdefault(key, SourceMemory())
        if sha in memory.refused:
            return False
        self._wanting.setdefault(sync, set()).add((key, sha))
        waiting = memory.older.setdefault(sha, set())
        if sync not in waiting:
            waiting.add(sync)
            memory.due = 0.0
            self._queue.add(key)
        return True

    def ran(self, sync: SyncKey) -> None:
        """Note that a run of a Sync ended: a commit that it did not `want` in it is not fetched for it any more."""
        wanted = self._wanting.pop(sync, set())
        for key, sha in self._wanted.pop(sync, set()) - wanted:
            if (memory := self._memory.get(key)) is not None:
                memory.unwant(sync, sha)
        if wanted:
            self._wanted[sync] = wanted

    def wait_for_check(self, key: SyncKey, sync: SyncKey, requested: str) -> None:
        """Have the remote asked from now on; `was_checked` tells when that is done, and `sync` is woken then."""
        memory = self._memory.setdefault(key, SourceMemory())
        memory.asked[sync] = requested
        memory.due = 0.0

    def was_checked(self, key: SyncKey, sync: SyncKey, requested: str) -> bool:
        """Return whether the check that a Sync asked for has finished, well or badly."""
        memory = self._memory.get(key)
        return memory is None or memory.done.get(sync) == requested

    async def _fetched(self, key: SyncKey, source: Source, memory: SourceMemory, generation: int) -> Artifact:
        spec = source.spec
        remote = parse_url(spec.url, allow_file=self._allow_file)
        ref = RefSpec(spec.ref.branch, spec.ref.tag, spec.ref.semver, spec.ref.name, spec.ref.commit)
        timeout = limit_of(spec.timeout)
        cached = memory.credentials if memory.generation == generation else None
        try:
            credentials = cached or await self._credentials(key, source, remote)
            return await self._at(
                Repository(remote, credentials), ref, timeout, memory, submodules=spec.submodules
            )
        except Problem as problem:
            # A rotated Secret is noticed by its failure: read it again, once, before saying so.
            memory.credentials = None
            if cached is None or spec.secret_ref is None or problem.reason is not Reason.AuthenticationFailed:
                raise
            credentials = await self._credentials(key, source, remote)
            return await self._at(
                Repository(remote, credentials), ref, timeout, memory, submodules=spec.submodules
            )

    async def _at(
        self, repository: Repository, ref: RefSpec, limit: float, memory: SourceMemory, *, submodules: bool
    ) -> Artifact:
        selected = await self._git.resolve(repository, ref, limit)
        if not self._git.has(repository, selected.sha, submodules=submodules):
            selected = await self._git.fetch(repository, ref, selected, limit, submodules=submodules)
        memory.credentials = repository.credentials
        return Artifact(repository, selected.sha, selected.revision, submodules)

    async def _credentials(self, key: SyncKey, source: Source, remote: Any) -> Credentials:
        ref = source.spec.secret_ref
        if ref is None:
            return NO_CREDENTIALS
        kind = self._cluster.kind("v1", "Secret")
        if kind is None:
            raise Problem(Reason.ApiUnavailable, "the API server does not serve Secrets")
        try:
            secret = await self._cluster.get(kind, key.namespace, ref.name)
        except ApiError as error:
            if error.status != 403:
                raise Problem(
                    Reason.ApiUnavailable, f"Secret {ref.name} cannot be read now", retry=True
                ) from None
            raise Problem(Reason.SecretNotFound, f"Secret {ref.name} may not be read by Setpoint") from None
        if secret is None:
            raise Problem(
                Reason.SecretNotFound, f"Secret {ref.name} does not exist in namespace {key.namespace}"
            )
        return credentials_from_secret(
            remote, {k: base64.b64decode(v) for k, v in (secret.get("data") or {}).items()}
        )

    # --- what people see

    def _shown(self, current: Artifact) -> Fetched:
        commit = self._git.commit(current.repository, current.sha)
        return Fetched(current.revision, commit.sha, commit.subject, commit.author, commit.time)
