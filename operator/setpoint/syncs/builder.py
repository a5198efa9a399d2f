"""Builds the target of a Sync: source and commit -> inputs -> manifests -> desired objects (shell around pure parts)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from setpoint.api.formats import short
from setpoint.api.reasons import Problem, Reason
from setpoint.api.resources import Sync
from setpoint.apply.placing import needs_places, with_places
from setpoint.apply.result import ApplyResult
from setpoint.kube.absence import unreadable
from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError
from setpoint.objects.bodies import source_model
from setpoint.objects.documents import Places
from setpoint.objects.identity import ObjectId, SyncKey, keyed_digest, oid_of
from setpoint.plan.desired import Desired, OwnershipMarks, Ref, Rendered, complete
from setpoint.plan.goal import Commit
from setpoint.plan.order import stage_key, wave_of
from setpoint.render import inputs as inputs_of
from setpoint.render.inputs import Inputs
from setpoint.render.renderer import Renderer
from setpoint.sources.artifact import Artifact
from setpoint.sources.commits import Commits
from setpoint.sources.demands import Demand
from setpoint.status.conditions import condition_of
from setpoint.store.index import Store
from setpoint.syncs.memory import Memory
from setpoint.syncs.notes import needs_files, notes_of
from setpoint.syncs.run import Context, Evaluation
from setpoint.syncs.target import Target
from setpoint.tree.changes import RecordingTree
from setpoint.tree.protocol import Tree

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
        self, cluster: Cluster, store: Store, sources: Commits, renderer: Renderer, digest_key: bytes
    ) -> None:
        """`digest_key`: the digests of targets are made with it, as statuses show them and Git holds Secrets."""
        self._digest_key = digest_key
        self._cluster, self._store, self._sources, self._renderer = cluster, store, sources, renderer
        self._discovered = -REDISCOVER_SECONDS

    def source(self, key: SyncKey, sync: Sync) -> SyncKey:
        """Return the Source's key. Raises Problem if there is none for this Sync."""
        where = _where(sync, key)
        body = self._store.sources.get(where)
        if where.namespace != key.namespace:
            # Whoever is not allowed is not told whether it exists either.
            if body is None or key.namespace not in source_model(body).spec.allowed_namespaces:
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
        lost = None if self._sources.holds(current, current.sha) else Demand(where, latest=True)
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
        that does not touch the inputs. A cache that is lost while it is read counts as one that was lost before.
        """
        try:
            found = await self._found(sync, memory, current, sha, marks, previous)
        except Problem:
            if self._sources.holds(current, sha):
                raise
            found = None
            # It lacks what could not be read any more.
            memory.built = replace(memory.built, read_set=None)
        return found or (self._kept(sync, memory, sha), None)

    def _kept(self, sync: Sync, memory: Memory, sha: str) -> Target:
        """Return the target of a commit that the cache has lost, as it is remembered; NotYet if it is not."""
        old = memory.built.target
        if old is not None and old.sha == sha and self._same(old, _spec(sync)):
            return old  # what must be held is known, only its manifests are gone
        raise NotYet

    async def _found(
        self,
        sync: Sync,
        memory: Memory,
        current: Artifact,
        sha: str,
        marks: OwnershipMarks,
        previous: Mapping[str, Any],
    ) -> tuple[Target, Loaded | None] | None:
        """Return the target of a commit as `at` does, or None if the cache does not hold it (any more)."""
        tree, old = self._sources.tree(current, sha), memory.built.target
        if tree is None:
            return None
        spec = _spec(sync)
        if (
            old is not None
            and memory.built.stands(sha, submodules=current.submodules)
            and self._same(old, spec)
            and self.resolved(old)
        ):
            return old, None
        inputs = await self._inputs(tree, sync, memory)
        state = self._digest(inputs, spec)
        memory.built = replace(memory.built, looked=(sha, current.submodules, state))
        if old is not None and old.digest == state and self.resolved(old):
            return replace(old, sha=sha), None
        revision = revision_of(state, previous, current.revision)
        return await self._load(sync, inputs, state, tree, sha, revision, marks)

    def _digest(self, inputs: Inputs, spec: Mapping[str, Any]) -> str:
        return keyed_digest([inputs.digest, spec], self._digest_key)

    def _same(self, target: Target, spec: Mapping[str, Any]) -> bool:
        """Return whether a target was made with these parts of a spec."""
        return target.digest == self._digest(target.inputs, spec)

    async def _inputs(self, tree: Tree, sync: Sync, memory: Memory) -> Inputs:
        budgets = self._renderer.budgets
        noting = RecordingTree(tree, budgets)
        memory.built = replace(memory.built, read_set=None, looked=None)
        try:
            return await asyncio.to_thread(inputs_of.gather, noting, sync.spec, budgets)
        finally:
            memory.built = replace(memory.built, read_set=noting.read_set())

    def release(self, memory: Memory, *, ends: bool = False) -> None:
        """Drop the manifests that a Sync no longer needs."""
        memory.built, superseded = memory.built.released(ends=ends)
        for digest_ in superseded:
            self._renderer.drop(digest_)

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
        """Return the manifests of a target that is known: from the renderer's cache, else rendered again.

        NotYet, with the demand for it, if the commit is not in the cache any more. Problem if the server does not
        give it (any more) either.
        """
        sha, inputs = target.sha, target.inputs
        tree = self._sources.tree(current, sha)
        try:
            if tree is not None or self._renderer.knows(inputs):
                made = await self._load(sync, inputs, target.digest, tree, sha, target.revision, marks)
                return made[1]
        except Problem:
            if tree is None or self._sources.holds(current, sha):
                raise
        where = _where(sync, marks.key)
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
        if not needs_places(result, chosen):
            return result
        tree = self._sources.tree(current, target.sha)
        places = await self._renderer.places(tree, sync.spec, target.inputs, home=key.namespace)
        return with_places(result, chosen, places) if places else result

    async def _load(
        self, sync: Sync, inputs: Any, state: str, tree: Any, sha: str, revision: str, marks: OwnershipMarks
    ) -> tuple[Target, Loaded]:
        home = marks.key.namespace
        rendered = await self._renderer.render(tree, sync.spec, inputs, home=home)
        documents = [Rendered(d.manifest, d.where) for d in rendered.objects]
        good, bad = self._completed(documents, sync, marks)
        if bad or any(d.kind is None for d in good):
            await self.discover()
            good, bad = self._completed(documents, sync, marks)
        if bad:
            # Now it is said where they stand, which costs another build.
            rendered = await self._renderer.placed(tree, sync.spec, inputs, home=home)
            documents = [Rendered(d.manifest, d.where) for d in rendered.objects]
            good, bad = self._completed(documents, sync, marks)
        fatal = next((p for _, p in bad if p.reason is not Reason.KindUnknown), None)
        if fatal is not None:
            raise fatal
        refs = tuple(
            Ref(d.id, d.manifest["apiVersion"], d.digest, d.where, stage_key(d.id, wave_of(d.manifest)))
            for d in good
        )
        places: Places = {}
        if needs_files(good):
            places = await self._renderer.places(tree, sync.spec, inputs, home=home)
        notes = notes_of(good, rendered.twice, places)
        target = Target(sha, revision, state, inputs, refs, rendered.skipped, tuple(bad), notes)
        return target, Loaded(target, tuple(good))

    def _completed(
        self, documents: Sequence[Rendered], sync: Sync, marks: OwnershipMarks
    ) -> tuple[list[Desired], list[tuple[ObjectId, Problem]]]:
        cluster = self._cluster
        return complete(
            documents,
            cluster.kind,
            sync.spec.target_namespace,
            marks,
            broken=cluster.broken_groups,
            served=cluster.kinds_named,
        )

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
