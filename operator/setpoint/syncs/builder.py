"""Builds the target of a Sync: source and commit -> inputs -> manifests -> desired objects (shell around pure parts)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from setpoint.api.formats import short
from setpoint.api.reasons import Problem, Reason
from setpoint.api.resources import Sync
from setpoint.api.sync import RENDER_FIELDS
from setpoint.apply.placing import Places, needs_places, with_places
from setpoint.apply.result import ApplyResult
from setpoint.kube.absence import unreadable
from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError
from setpoint.objects.bodies import lets_in
from setpoint.objects.identity import ObjectId, SyncKey, identity, keyed_digest, oid_of
from setpoint.plan.desired import Desired, OwnershipMarks, Ref, Rendered, complete
from setpoint.plan.goal import Commit
from setpoint.plan.order import stage_key, wave_of
from setpoint.runtime.beside import beside
from setpoint.sources.artifact import Artifact
from setpoint.sources.commits import Commits
from setpoint.sources.demands import Demand
from setpoint.status.conditions import condition_of
from setpoint.store.index import Store
from setpoint.syncs.memory import Memory
from setpoint.syncs.notes import needs_files, notes_of
from setpoint.syncs.receipt import received
from setpoint.syncs.run import Context, Evaluation
from setpoint.syncs.target import Target
from setpoint.wall.messages import Build, Built, Drop, Failed, Look, Lost, Objects, Same
from setpoint.wall.messages import Places as AskPlaces
from setpoint.wall.protocol import Worker

REDISCOVER_SECONDS = 0.5

SPEC_PARTS = {
    "target_namespace",
    "create_namespace",
    "ignore",
    "service_account_name",
    "path",
    "exclude",
    "kustomize",
    "source",
}
"""Fields of the spec that decide what the cluster must hold; the others only say how and when."""


class NotYet(Exception):
    """The commit is not in the cache: what is applied stays as it is, and nothing is said.

    `demand` is what has to be fetched; the Sync is woken when it is there.
    """

    def __init__(self, demand: Demand | None = None) -> None:
        super().__init__()
        self.demand = demand


@dataclass(frozen=True, slots=True)
class Loaded:
    """A target together with the manifests of its objects."""

    target: Target
    desired: tuple[Desired, ...]


class TargetBuilder:
    """Makes targets; keeps no state but the time of the last discovery."""

    def __init__(
        self, cluster: Cluster, store: Store, sources: Commits, worker: Worker, digest_key: bytes
    ) -> None:
        """`digest_key`: the digests of targets are made with it, as statuses show them and Git holds Secrets."""
        self._digest_key = digest_key
        self._cluster, self._store, self._sources, self._worker = cluster, store, sources, worker
        self._discovered = -REDISCOVER_SECONDS

    def source(self, key: SyncKey, sync: Sync) -> SyncKey:
        """Return the Source's key. Raises Problem if there is none for this Sync."""
        where = _where(sync, key)
        body = self._store.sources.get(where)
        if where.namespace != key.namespace:
            # Whoever is not allowed is not told whether it exists either.
            if body is None or not lets_in(body, key.namespace):
                text = f"Source {where} does not allow namespace {key.namespace}, or does not exist; add it to its spec.allowedNamespaces"
                raise Problem(Reason.SourceNotAllowed, text)
        elif body is None:
            raise Problem(Reason.SourceNotFound, f"Source {where} does not exist")
        return where

    async def evaluate(self, ctx: Context, memory: Memory) -> Evaluation:
        """Find out what the Source's commit asks for, with the manifests where they had to be made anyway."""
        try:
            where = self.source(ctx.key, ctx.sync)
        except Problem as problem:
            return Evaluation(Commit.BROKEN, problem=problem)
        current = self._sources.current(where)
        if current is None:
            return self._never_fetched(where)
        try:
            target, full = await self.at(ctx.sync, memory, current, current.sha, ctx.marks, ctx.previous)
        except Problem as problem:
            return Evaluation(Commit.BROKEN, current, problem=problem)
        except NotYet:
            return Evaluation(Commit.LOST, current, demand=Demand(where, latest=True))
        memory.built = replace(memory.built, target=target)
        # The cache may have lost it although the target is known: then only its manifests are gone.
        lost = None if self._sources.holds(where) else Demand(where, latest=True)
        return Evaluation(
            Commit.KNOWN, current, target, manifests=full.desired if full else None, demand=lost
        )

    def _never_fetched(self, where: SyncKey) -> Evaluation:
        """Return what is known of a Source of which this process has no commit."""
        body, demand = self._store.sources[where], Demand(where, latest=True)
        if (body.get("status") or {}).get("revision"):
            return Evaluation(Commit.LOST, demand=demand)
        text = f"Source {where} has no revision yet: {_why(body)}"
        return Evaluation(
            Commit.BROKEN, problem=Problem(Reason.SourceNotReady, text, retry=False), demand=demand
        )

    async def unreadable(self, key: SyncKey, error: ApiError) -> Problem:
        """Return why objects cannot be read; a kind that is not served any more has discovery asked again."""
        return await unreadable(error, oid_of(key), "reconcile", self.discover)

    async def at(
        self,
        sync: Sync,
        memory: Memory,
        current: Artifact,
        sha: str,
        marks: OwnershipMarks,
        previous: Mapping[str, Any],
    ) -> tuple[Target, Loaded | None]:
        """Return the target of a commit, with its manifests where they had to be made anyway.

        Problem if the path cannot be rendered. `previous` is the stored status: its revision stays for a commit
        that does not touch the inputs. NotYet if the cache does not hold the commit, and the target is not known.
        """
        spec, old = _spec(sync), memory.built.target
        same = old is not None and self._same(old, spec) and self.resolved(old)
        if old is not None and same and memory.built.stands(sha, submodules=current.submodules):
            return old, None
        memory.built = memory.built.looking()
        look = _look(marks.key, current, sha, _render_fields(sync))
        found = await self._worker.build(Build(look, (old.inputs,) if old is not None and same else ()))
        if isinstance(found, Lost):
            return self._kept(sync, memory, current, sha, marks.key), None
        memory.built = memory.built.noting(found.read_set)
        if isinstance(found, Failed):
            raise found.problem()
        state = self._digest(found.digest, spec)
        memory.built = replace(memory.built, looked=(sha, current.submodules, state))
        if isinstance(found, Same):
            # Only one digest was offered: that of the target that there is.
            return replace(_known(old), sha=sha), None
        revision = revision_of(state, previous, current.revision)
        return await self._load(sync, look, found, state, revision, marks)

    def _kept(self, sync: Sync, memory: Memory, current: Artifact, sha: str, key: SyncKey) -> Target:
        """Return the target of a commit that the cache has lost, as it is remembered; NotYet if it is not."""
        if sha == current.sha:
            self._sources.lost(_where(sync, key), current)
        old = memory.built.target
        if old is not None and old.sha == sha and self._same(old, _spec(sync)):
            return old  # what must be held is known, only its manifests are gone
        raise NotYet

    def _digest(self, inputs: str, spec: Mapping[str, Any]) -> str:
        return keyed_digest([inputs, spec], self._digest_key)

    def _same(self, target: Target, spec: Mapping[str, Any]) -> bool:
        """Return whether a target was made with these parts of a spec."""
        return target.digest == self._digest(target.inputs, spec)

    def release(self, memory: Memory, namespace: str, *, ends: bool = False) -> None:
        """Have the worker forget what a Sync of this namespace no longer needs."""
        memory.built, superseded = memory.built.released(ends=ends)
        if superseded:
            digests, read_sets = superseded.digests, superseded.read_sets
            self._worker.drop(Drop(namespace, tuple(sorted(digests)), tuple(sorted(read_sets))))

    @staticmethod
    def follow(memory: Memory, moved: tuple[str, str] | None) -> None:
        """Record that everything is the same at another commit, given as (from, to), for which no run was needed."""
        if moved is not None:
            memory.built = memory.built.moved(*moved)

    @staticmethod
    def applied(memory: Memory, target: Target) -> None:
        """Record what was applied last."""
        memory.built = replace(memory.built, good=target)

    async def manifests(self, sync: Sync, current: Artifact, target: Target, marks: OwnershipMarks) -> Loaded:
        """Return the manifests of a target that is known: what the worker remembers, else rendered again.

        NotYet, with the demand for it, if the commit is not in the cache any more. Problem if the server does not
        give it (any more) either.
        """
        sha, where = target.sha, _where(sync, marks.key)
        look = _look(marks.key, current, sha, target.spec)
        found = await self._worker.objects(Objects(look, target.inputs))
        if isinstance(found, Failed):
            raise found.problem()
        if sha == current.sha and (isinstance(found, Lost) or not found.held):
            self._sources.lost(where, current)
        if isinstance(found, Built):
            return (await self._load(sync, look, found, target.digest, target.revision, marks))[1]
        if sha == current.sha:
            raise NotYet(Demand(where, latest=True))
        if self._sources.refused(where, sha):
            text = (
                f"{short(target.revision)} is not in the cache any more, and the Git server does not have it"
            )
            raise Problem(Reason.RefNotFound, text, retry=False)
        raise NotYet(Demand(where, frozenset([sha])))

    async def with_places(
        self,
        key: SyncKey,
        sync: Sync,
        current: Artifact,
        target: Target,
        result: ApplyResult,
        chosen: Sequence[Desired],
    ) -> ApplyResult:
        """Return the result for some objects of a target, each with the file that it comes from."""
        if not target.rendered or not needs_places(result, chosen):
            return result
        places = await self._places(_look(key, current, target.sha, target.spec), target.inputs)
        return with_places(result, chosen, places) if places else result

    async def _places(self, look: Look, inputs: str) -> Places:
        found = await self._worker.places(AskPlaces(look, inputs))
        return {ObjectId(o.group, o.kind, o.namespace, o.name): o.where for o in found.objects}

    async def _load(
        self, sync: Sync, look: Look, built: Built, state: str, revision: str, marks: OwnershipMarks
    ) -> tuple[Target, Loaded]:
        documents = await received(built.objects)
        rendered = any(made.line == 0 for made in built.objects)
        good, bad = await self._completed(documents, sync, marks)
        if bad or any(d.kind is None for d in good):
            await self.discover()
            good, bad = await self._completed(documents, sync, marks)
        places: Places = {}
        if rendered and (bad or needs_files(good)):
            places = await self._places(look, built.digest)
        if bad and places:
            # Now it is said where they stand, which costs another build.
            documents = [replace(d, where=places.get(identity(d.manifest), d.where)) for d in documents]
            good, bad = await self._completed(documents, sync, marks)
        fatal = next((p for _, p in bad if p.reason is not Reason.KindUnknown), None)
        if fatal is not None:
            raise fatal
        refs = tuple(
            Ref(d.id, d.manifest["apiVersion"], d.digest, d.where, stage_key(d.id, wave_of(d.manifest)))
            for d in good
        )
        notes = notes_of(good, built.twice, places)
        target = Target(
            look.sha,
            revision,
            state,
            built.digest,
            refs,
            built.skipped,
            tuple(bad),
            notes,
            look.spec,
            rendered,
        )
        return target, Loaded(target, tuple(good))

    async def _completed(
        self, documents: Sequence[Rendered], sync: Sync, marks: OwnershipMarks
    ) -> tuple[list[Desired], list[tuple[ObjectId, Problem]]]:
        cluster = self._cluster
        work = partial(
            complete,
            documents,
            cluster.kind,
            sync.spec.target_namespace,
            marks,
            broken=cluster.broken_groups,
            served=cluster.kinds_named,
        )
        return await beside(work, *(d.manifest for d in documents))

    def resolved(self, target: Target) -> bool:
        """Return whether discovery knows the kinds of all objects."""
        return not target.unplaced and all(self._cluster.kind(*each) for each in target.kinds)

    def unresolved(self, target: Target) -> Sequence[ObjectId]:
        """Return the objects whose kinds discovery does not know yet."""
        return [r.id for r in target.refs if self._cluster.kind(r.api_version, r.id.kind) is None]

    async def discover(self) -> None:
        """Ask for the served kinds again, at most twice a second."""
        now = asyncio.get_running_loop().time()
        if now - self._discovered < REDISCOVER_SECONDS:
            return
        self._discovered = now
        try:
            await self._cluster.discover()
        except ApiError as error:
            raise Problem(
                Reason.ApiUnavailable, "the API server does not say which kinds it serves", retry=True
            ) from error


def _known(target: Target | None) -> Target:
    if target is None:
        raise ValueError("the worker says that objects are as before, of which there were none")
    return target


def _look(key: SyncKey, current: Artifact, sha: str, spec: Mapping[str, Any]) -> Look:
    return Look(key.namespace, current.handle, sha, current.submodules, spec)


def _render_fields(sync: Sync) -> Mapping[str, Any]:
    """Return the fields of a spec that rendering depends on, as JSON."""
    return sync.spec.model_dump(mode="json", include=RENDER_FIELDS, exclude_none=True)


def _spec(sync: Sync) -> Mapping[str, Any]:
    return sync.spec.model_dump(mode="json", include=SPEC_PARTS)


def revision_of(state: str, status: Mapping[str, Any], current: str) -> str:
    """Return the revision that stands for a state: the one that Git had last for as long as no commit changes what it says.

    A commit that goes back to what was applied, after one that was rejected, is a commit of its own: who made it
    looks for it.
    """
    known = status.get("desired") or {}
    return str(known["revision"]) if known.get("digest") == state else current


def _where(sync: Sync, key: SyncKey) -> SyncKey:
    ref = sync.spec.source
    return SyncKey(ref.namespace or key.namespace, ref.name)


def _why(source: Mapping[str, Any]) -> str:
    ready = condition_of(source.get("status") or {}, "Ready")
    return str(ready["message"]) if ready else "it was not fetched yet"
