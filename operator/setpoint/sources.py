"""Sources: asks remotes for their refs, fetches what is new, and wakes the Syncs (shell).

A failure never takes the last good commit away: Syncs keep using what was fetched.
"""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from setpoint import names
from setpoint.api import Source
from setpoint.cluster import Cluster
from setpoint.cluster_errors import ApiError
from setpoint.events import Events
from setpoint.git import Git
from setpoint.objects import ObjectId, SyncKey
from setpoint.queue import Result
from setpoint.reasons import Problem, Reason
from setpoint.remotes import (
    NO_CREDENTIALS,
    Credentials,
    RefSpec,
    Repository,
    credentials_from_secret,
    parse_url,
)
from setpoint.revisions import seconds, short
from setpoint.status import condition, condition_of, stamp
from setpoint.status_writer import StatusWriter
from setpoint.store import Body, Store, source_model
from setpoint.telemetry import Telemetry
from setpoint.tree import Tree

JITTER = 0.05


@dataclass(frozen=True, slots=True)
class Current:
    """The last good commit of a Source in this process."""

    repository: Repository
    sha: str
    revision: str
    submodules: bool


@dataclass(slots=True)
class SourceMemory:
    """One Source's cache: all of it is rebuilt after a restart."""

    current: Current | None = None
    credentials: Credentials | None = None
    generation: int = -1
    due: float = 0.0
    answered: str | None = None
    asked: dict[SyncKey, str] = field(default_factory=dict)
    done: dict[SyncKey, str] = field(default_factory=dict)


class Sources:
    """Reconciles Sources, and gives their trees to Syncs."""

    def __init__(
        self,
        cluster: Cluster,
        git: Git,
        store: Store,
        writer: StatusWriter,
        events: Events,
        telemetry: Telemetry,
        wake: Callable[[SyncKey], None],
        *,
        allow_file: bool,
    ) -> None:
        """`wake` is called for each Sync of a Source that has a new commit, or that waits for a check."""
        self._cluster, self._git, self._store, self._writer = cluster, git, store, writer
        self._events, self._telemetry, self._wake, self._allow_file = events, telemetry, wake, allow_file
        self._memory: dict[SyncKey, SourceMemory] = {}

    def current(self, key: SyncKey) -> Current | None:
        """Give the last good commit, if it was fetched by this process and its objects are still there."""
        memory = self._memory.get(key)
        found = memory.current if memory else None
        if found and not self._git.has(found.repository, found.sha, submodules=found.submodules):
            return None
        return found

    def tree(self, current: Current, sha: str) -> Tree | None:
        """Give the tree of a commit, or None if it is not in the mirror (any more)."""
        if not self._git.has(current.repository, sha, submodules=current.submodules):
            return None
        return self._git.tree(current.repository, sha, submodules=current.submodules)

    def ask(self, key: SyncKey) -> None:
        """Make the next reconcile of a Source ask its remote whatever the interval says."""
        self._memory.setdefault(key, SourceMemory()).due = 0.0

    def lost(self, key: SyncKey) -> None:
        """Note that a Source's objects are gone from the cache: fetch again at the next reconcile."""
        self.ask(key)

    async def reconcile(self, key: SyncKey) -> Result:
        """Bring one Source up to date."""
        body = self._store.sources.get(key)
        if body is None:
            self._memory.pop(key, None)
            self._telemetry.forget("Source", key.namespace, key.name)
            for user in self._store.users(key):
                self._wake(user)
            return Result()
        memory = self._memory.setdefault(key, SourceMemory())
        loop = asyncio.get_running_loop()
        requested = (body["metadata"].get("annotations") or {}).get(names.ANNOTATION_REQUESTED)
        generation = body["metadata"].get("generation", 0)
        fresh = generation == memory.generation and requested == memory.answered
        if fresh and loop.time() < memory.due and self.current(key) is not None:
            return Result(after=memory.due - loop.time())
        return await self._check(key, body, memory, requested)

    async def _check(self, key: SyncKey, body: Body, memory: SourceMemory, requested: str | None) -> Result:
        before = memory.current
        generation = body["metadata"].get("generation", 0)
        problem: Problem | None = None
        interval = 60.0
        suspended = False
        try:
            spec = source_model(body)
            interval = max(1.0, seconds(spec.spec.interval))
            suspended = spec.spec.suspend
            if not suspended:
                memory.current = await self._fetched(key, spec, memory, generation)
        except Problem as caught:
            problem = caught
        memory.generation, memory.answered = generation, requested
        memory.due = asyncio.get_running_loop().time() + interval * (1 + random.uniform(-JITTER, JITTER))  # noqa: S311 - spreads load
        self._telemetry.fetched("success" if problem is None else str(problem.reason))
        try:
            await self._report(key, body, memory, problem, requested, suspended=suspended)
        finally:
            # Even if the Source was changed meanwhile: the run that follows finds nothing new to wake them for.
            if memory.current != before or (requested is not None):
                for user in self._store.users(key):
                    self._wake(user)
        answered, memory.asked = memory.asked, {}
        memory.done |= answered
        for user in answered:
            self._wake(user)
        if suspended:
            return Result()
        if problem is not None and problem.transient:
            memory.due = 0.0
            return Result(retry=True)
        return Result(after=interval)

    def wait_for_check(self, key: SyncKey, sync: SyncKey, requested: str) -> None:
        """Have the remote asked now; `was_checked` tells when that is done, and `sync` is woken then."""
        memory = self._memory.setdefault(key, SourceMemory())
        memory.asked[sync] = requested
        memory.due = 0.0

    def was_checked(self, key: SyncKey, sync: SyncKey, requested: str) -> bool:
        """Tell whether the check that a Sync asked for has finished, well or badly."""
        memory = self._memory.get(key)
        return memory is None or memory.done.get(sync) == requested

    async def _fetched(self, key: SyncKey, source: Source, memory: SourceMemory, generation: int) -> Current:
        spec = source.spec
        remote = parse_url(spec.url, allow_file=self._allow_file)
        ref = RefSpec(spec.ref.branch, spec.ref.tag, spec.ref.semver, spec.ref.name, spec.ref.commit)
        timeout = seconds(spec.timeout)
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
    ) -> Current:
        selected = await self._git.resolve(repository, ref, limit)
        if not self._git.has(repository, selected.sha, submodules=submodules):
            selected = await self._git.fetch(repository, ref, selected, limit, submodules=submodules)
        memory.credentials = repository.credentials
        return Current(repository, selected.sha, selected.revision, submodules)

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

    async def _report(
        self,
        key: SyncKey,
        body: Body,
        memory: SourceMemory,
        problem: Problem | None,
        requested: str | None,
        *,
        suspended: bool,
    ) -> None:
        previous: Mapping[str, Any] = body.get("status") or {}
        at = stamp(datetime.now(UTC))
        status: dict[str, Any] = {
            k: previous[k] for k in ("revision", "short", "commit", "lastFetched") if k in previous
        }
        current = memory.current
        if (
            current is not None
            and problem is None
            and not suspended
            and (previous.get("revision") != current.revision or "commit" not in previous)
        ):
            status |= {"revision": current.revision, "short": short(current.revision), "lastFetched": at}
            commit = self._git.commit(current.repository, current.sha)
            status["commit"] = {
                "sha": commit.sha,
                "subject": commit.subject[:200],
                "author": commit.author[:100],
                "time": commit.time,
                "summary": f"{commit.subject[:72]} ({commit.author[:40]})",
            }
        status["observedGeneration"] = body["metadata"].get("generation", 0)
        if requested is not None:
            status["requested"] = requested
        ready, reason, message = _words(problem, status, suspended=suspended)
        conditions = previous.get("conditions") or []
        rows = [("Ready", ready)] + (
            [("Stalled", True)] if problem is not None and not problem.transient else []
        )
        status["conditions"] = [
            condition(
                conditions,
                status["observedGeneration"],
                kind=k,
                true=t,
                reason=str(reason),
                message=message,
                at=at,
            )
            for k, t in rows
        ]
        self._tell(body, previous, status, ready=ready, reason=reason, message=message)
        self._telemetry.ready("Source", key.namespace, key.name, ready=ready)
        await self._writer.write(ObjectId(names.GROUP, "Source", key.namespace, key.name), body, status)

    def _tell(
        self,
        body: Body,
        previous: Mapping[str, Any],
        status: Mapping[str, Any],
        *,
        ready: bool,
        reason: Reason,
        message: str,
    ) -> None:
        was = condition_of(previous, "Ready")
        if not ready:
            if was is None or was["reason"] != str(reason) or was["message"] != message:
                self._events.record(
                    body, "Normal" if reason is Reason.Suspended else "Warning", str(reason), message
                )
            return
        if previous.get("revision") != status.get("revision"):
            text = f"{status['short']}: {status['commit']['summary']}"
            self._events.record(body, "Normal", str(Reason.Fetched), text)
        elif was is not None and was["status"] != "True":
            self._events.record(body, "Normal", str(Reason.Recovered), message)


def _words(
    problem: Problem | None, status: Mapping[str, Any], *, suspended: bool
) -> tuple[bool, Reason, str]:
    """Give Ready, its reason and its message."""
    if suspended:
        return False, Reason.Suspended, "suspended: the remote is not asked"
    if problem is None:
        return True, Reason.Succeeded, f"{status['short']}"
    kept = f"; {status['short']} stays enforced" if status.get("short") else ""
    return False, problem.reason, f"{problem.message}{kept}"
