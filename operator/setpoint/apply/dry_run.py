"""Checks objects before anything is written: reads them, sends a dry run, decides (shell)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from setpoint.api.reasons import Problem, Reason
from setpoint.api.sync import IgnoreRule
from setpoint.health.verdict import Verdict
from setpoint.kube.client import Cluster, Written
from setpoint.kube.errors import ApiError
from setpoint.kube.explain import problem_of
from setpoint.objects.identity import Manifest, ObjectId, SyncKey
from setpoint.objects.kinds import Kind
from setpoint.objects.owners import missing_owner, owners_of
from setpoint.plan import decide as plan
from setpoint.plan.adoption import may_take
from setpoint.plan.change import Action, Change
from setpoint.plan.desired import Desired
from setpoint.plan.ignore.rules import Carried, depends_on_live, with_ignored
from setpoint.watch.protocol import LiveObjects, Storage


@dataclass(frozen=True, slots=True)
class Actor:
    """The identity that reads and writes objects, and the rules for it."""

    key: SyncKey
    label: str
    user: str
    rules: tuple[IgnoreRule, ...]
    people: frozenset[str]
    takeover: frozenset[str]
    owner_of: Callable[[ObjectId], SyncKey | None]
    """The table of claims: an annotation alone may name a Sync that has released the object."""
    is_lent: Callable[[ObjectId], bool]
    """Whether an object is being handed over from one Sync to another."""
    abort: bool
    create_namespace: str | None
    keep_ours: bool = False
    """Whether what we wrote ourselves stays: a newer commit that a crash cut short is not taken back for an older one."""
    ended: Mapping[ObjectId, Verdict] = field(default_factory=dict)
    """The objects of the commit that are done, as they ended by themselves, each with its health."""


@dataclass(frozen=True, slots=True)
class Session:
    """The means to read and write objects: the cluster, the watch, and a `limit` on the requests of all Syncs together."""

    cluster: Cluster
    informers: LiveObjects
    storage: Storage
    limit: asyncio.Semaphore
    who: Actor


@dataclass(frozen=True, slots=True)
class DryRun:
    """One desired object with its live state and the server's prediction, judged."""

    desired: Desired
    change: Change
    live: Manifest | None = None
    sent: Manifest | None = None
    predicted: Manifest | None = None
    warnings: tuple[str, ...] = ()


class DryRunner:
    """Checks objects on behalf of one Sync: reads, dry-runs and judges, and writes nothing."""

    def __init__(self, session: Session) -> None:
        self._cluster, self._informers, self._limit, self._who = (
            session.cluster,
            session.informers,
            session.limit,
            session.who,
        )

    async def check(self, desired: Sequence[Desired]) -> list[DryRun | tuple[Desired, Problem]]:
        """Check objects at once: read, dry run, judge. Returns for each the verdict or the problem."""
        return await asyncio.gather(*(self._check(d) for d in desired))

    async def _check(self, d: Desired) -> DryRun | tuple[Desired, Problem]:
        async with self._limit:
            try:
                return await self._judged(d)
            except ApiError as error:
                return d, problem_at(d, error, "apply")
            except Problem as problem:
                return d, problem

    async def _judged(self, d: Desired) -> DryRun:
        kind = kind_of(d)
        who = self._who
        live: Manifest | None = None
        known = self._informers.get(d.id) is not None or depends_on_live(who.rules, d.id, d.manifest)
        if known:
            live = await self._cluster.get(kind, d.id.namespace, d.id.name, user=who.user)
        await self._check_owners(d)
        carried, predicted = await self._predicted(d, kind, live)
        if not predicted.created and live is None:
            live = await self._cluster.get(kind, d.id.namespace, d.id.name, user=who.user)
        if live is not None:
            if "deletionTimestamp" in live["metadata"]:
                raise Problem(
                    Reason.Waiting,
                    f"{d.id.label()} is being deleted; it is created again once it is gone",
                    retry=True,
                )
            refusal = may_take(live, d, who.key, who.owner_of(d.id))
            if refusal is not None:
                raise Problem(refusal.reason, refusal.message)
        handed = who.is_lent(d.id)
        change = plan.decide(d, live, predicted.object, who.key, who.rules, who.people, handed=handed)
        if change.ours and who.keep_ours:
            change = Change(d.id, Action.KEEP)
        warnings = (*predicted.warnings, *carried.doubts)
        return DryRun(d, change, live, carried.manifest, predicted.object, warnings)

    async def _predicted(self, d: Desired, kind: Kind, live: Manifest | None) -> tuple[Carried, Written]:
        """Return what is to be sent, and what the server would make of it.

        It is asked twice only where ignored paths lead into a list that managedFields tell too little of: its first
        answer has the keys and defaults of what Git sets.
        """
        who = self._who
        carried = with_ignored(d.manifest, live, who.rules, d.id)
        answer = await self._cluster.apply(kind, carried.manifest, user=who.user, dry_run=True)
        if not carried.doubts:
            return carried, answer
        better = with_ignored(d.manifest, live, who.rules, d.id, answer.object)
        if better.manifest == carried.manifest:
            return better, answer
        return better, await self._cluster.apply(kind, better.manifest, user=who.user, dry_run=True)

    async def _check_owners(self, d: Desired) -> None:
        """Raise Problem if an owner is not there, as the garbage collector would delete the object."""
        for owner in owners_of(d.manifest):
            kind = self._cluster.kind(owner.api_version, owner.kind)
            uid = ""
            # The owner of an object in a namespace is of that namespace, or of none; that of another is of none.
            if kind is not None and (d.id.namespace or not kind.namespaced):
                found = await self._cluster.get(kind, d.id.namespace, owner.name, user=self._who.user)
                uid = found["metadata"]["uid"] if found else ""
            if uid != owner.uid:
                raise Problem(Reason.OwnerMissing, f"{d.where}: {d.id.label()}: {missing_owner(owner)}")


def kind_of(d: Desired) -> Kind:
    """Return the kind of an object. Raises Problem if the cluster has none such."""
    if d.kind is None:
        raise Problem(Reason.KindUnknown, f"{d.where}: the cluster has no kind {d.id.kind}")
    return d.kind


def problem_at(d: Desired, error: ApiError, verb: str) -> Problem:
    """Return an API error as a problem that names the place of the manifest."""
    problem = problem_of(error, d.id, verb)
    return Problem(problem.reason, f"{d.where}: {problem.message}", problem.retry)
