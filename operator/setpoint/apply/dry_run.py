"""Checks objects before anything is written: reads them, sends a dry run, decides (shell)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import partial

from setpoint.api.budgets import DEFAULTS
from setpoint.api.reasons import Problem, Reason
from setpoint.api.sync import IgnoreRule
from setpoint.health.ends.end import end_of, leaving
from setpoint.health.evaluate import terminating
from setpoint.health.verdict import Verdict
from setpoint.kube.client import Cluster, Written
from setpoint.kube.errors import ApiError, classify, is_failed_test
from setpoint.kube.explain import problem_of
from setpoint.objects import managed_fields
from setpoint.objects.identity import Manifest, ObjectId, SyncKey
from setpoint.objects.kinds import Kind
from setpoint.objects.owners import missing_owner, owners_of
from setpoint.plan import decide as plan
from setpoint.plan.adoption import is_ours, may_take
from setpoint.plan.change import Action, Change
from setpoint.plan.desired import Desired
from setpoint.plan.diff import foreign_additions
from setpoint.plan.ignore.rules import Carried, depends_on_live, paths_of_rules, with_ignored
from setpoint.plan.served import FindServed, unserved
from setpoint.plan.unions.exchange import Exchange, in_the_way, verdict
from setpoint.plan.unions.undo import sent_fields, undo
from setpoint.runtime.beside import beside
from setpoint.runtime.slots import Slots
from setpoint.watch.protocol import LiveObjects, Storage

TRIES = 5
"""For what is tried again at once, because a controller wrote just now."""


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
    refused: Mapping[ObjectId, str] = field(default_factory=dict)
    """What could not be written before, by the digest of its manifest."""
    written: Container[ObjectId] = frozenset()
    """What was written before, so that it is not adopted because somebody took our marks off."""
    keep_ours: bool = False
    """Whether what we wrote ourselves stays: a newer commit that a crash cut short is not taken back for an older one."""
    hidden: frozenset[ObjectId] = frozenset()
    """What of the commit others hold and the identity may not write."""
    ended: Mapping[ObjectId, Verdict] = field(default_factory=dict)
    """The objects of the commit that are done, as they ended by themselves, each with its health."""
    expected: Set[ObjectId] = frozenset()
    """Objects that may end by themselves, and that nobody knows to be gone."""
    max_diff: int = DEFAULTS.max_diff
    """How many fields of an object may differ for each of them to be told."""


@dataclass(frozen=True, slots=True)
class Session:
    """The means to read and write objects: the cluster, the watch, and a `limit` on the requests of all Syncs together."""

    cluster: Cluster
    informers: LiveObjects
    storage: Storage
    limit: Slots
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
    exchange: Exchange | None = None
    """What must be patched before the apply, as the server refuses that otherwise."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """What is to be sent, and what the server would make of it."""

    carried: Carried
    written: Written
    exchange: Exchange | None = None


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
        async with self._limit.held(self._who.key.namespace):
            try:
                return await self._judged(d)
            except ApiError as error:
                return d, problem_at(d, error, "apply", self._cluster.kinds_named)
            except Problem as problem:
                return d, problem

    async def _judged(self, d: Desired) -> DryRun:
        kind = kind_of(d)
        who = self._who
        live: Manifest | None = None
        seen = self._informers.get(d.id)
        # Of what is not ours the dry run tells first whether it may be written: a Sync that may not is not told that it exists.
        known = (seen is not None and seen.owner == who.key) or d.id in who.expected
        if known or depends_on_live(who.rules, d.id, d.manifest):
            live = await self._read(d, kind)
        if self._may_be_over(d, live):
            return DryRun(d, Change(d.id, Action.KEEP))
        await self._check_owners(d)
        live, answer = await self._of_one_state(d, kind, live)
        if self._may_be_over(d, live):  # it went between the two
            return DryRun(d, Change(d.id, Action.KEEP))
        carried, predicted = answer.carried, answer.written
        if live is not None:
            if "deletionTimestamp" in live["metadata"]:
                why = f"{terminating(live['metadata'])}; it is created again once it is gone"
                raise Problem(Reason.Waiting, f"{d.id.label()} {why}", retry=True)
            refusal = may_take(live, d, who.key, who.owner_of(d.id))
            if refusal is not None:
                raise Problem(refusal.reason, refusal.message)
        handed = live is not None and self._is_known(d, live)
        decide = partial(plan.decide, d, live, predicted.object, who.key, who.rules, who.people)
        change = await beside(partial(decide, handed=handed, most=who.max_diff), live, predicted.object)
        if change.ours and who.keep_ours:
            change = Change(d.id, Action.KEEP)
        warnings = (*predicted.warnings, *carried.doubts)
        return DryRun(d, change, live, carried.manifest, predicted.object, warnings, answer.exchange)

    def _may_be_over(self, d: Desired, live: Manifest | None) -> bool:
        """Return whether an object came to its own end, or may have: a later run, which knows how it went, goes on."""
        if d.id not in self._who.expected:
            return False
        if live is None:
            self._informers.missing(d.id)
        return live is None or leaving(live, end_of(live)) is not None

    async def _of_one_state(
        self, d: Desired, kind: Kind, live: Manifest | None
    ) -> tuple[Manifest | None, _Answer]:
        """Return the live object, and what the server would make of this very state of it.

        What a controller writes between the two would be taken for a difference, and its old value sent if it is ignored.
        """
        depends = depends_on_live(self._who.rules, d.id, d.manifest)
        answer = await self._predicted(d, kind, live)
        for _ in range(TRIES):
            if live is None and answer.written.created:
                break
            if _version(live) == _version(answer.written.object):
                break
            former, live = live, await self._read(d, kind)
            if former is not None and _version(live) == _version(former):
                break  # a server whose predictions have a version of their own
            if depends or _version(live) != _version(answer.written.object):
                answer = await self._predicted(d, kind, live)
        return live, answer

    async def _read(self, d: Desired, kind: Kind) -> Manifest | None:
        return await self._cluster.get(kind, d.id.namespace, d.id.name, user=self._who.user)

    async def _predicted(self, d: Desired, kind: Kind, live: Manifest | None) -> _Answer:
        """Return what is to be sent, and what the server would make of it.

        It is asked twice only where ignored paths lead into a list that managedFields tell too little of: its first
        answer has the keys and defaults of what Git sets.
        """
        who = self._who
        carried = with_ignored(d.manifest, live, who.rules, d.id)
        try:
            answer = await self._cluster.apply(kind, carried.manifest, user=who.user, dry_run=True)
        except ApiError as error:
            return await self._exchanged(d, kind, carried, error)
        if not carried.doubts:
            return _Answer(carried, answer)
        better = with_ignored(d.manifest, live, who.rules, d.id, answer.object)
        if better.manifest != carried.manifest:
            answer = await self._cluster.apply(kind, better.manifest, user=who.user, dry_run=True)
        return _Answer(better, answer)

    async def _exchanged(self, d: Desired, kind: Kind, carried: Carried, refusal: ApiError) -> _Answer:
        """Return what the server makes of an object if what is in the way is taken away first. Raises the refusal."""
        if not _may_be_in_the_way(refusal):
            raise refusal
        words = ""
        for _ in range(TRIES):
            live = await self._read(d, kind)
            if live is None:
                raise refusal
            exchanges, words = self._exchanges(d, live, carried.manifest, refusal)
            for exchange in exchanges:
                try:
                    return _Answer(carried, await self._tried(d, kind, exchange), exchange)
                except ApiError as error:
                    if error.transient:
                        raise
                    if is_failed_test(error):
                        break
            else:
                break
            # A controller wrote meanwhile, perhaps only the status.
        if words:
            problem = problem_at(d, refusal, "apply", self._cluster.kinds_named)
            raise Problem(problem.reason, f"{problem.message}; {words}", problem.retry)
        raise refusal

    def _exchanges(
        self, d: Desired, live: Manifest, sent: Manifest, refusal: ApiError
    ) -> tuple[Iterable[Exchange], str]:
        """Return what may be tried, the lesser change first, and in words what is left to others."""
        who, former = self._who, self._former(d, live)
        ignored = paths_of_rules(who.rules, d.id)
        found = verdict(live, sent, refusal.causes, former, ignored)
        if self._was_tried(d, live):
            return (), found.words

        def every() -> Iterator[Exchange | None]:
            yield found.exchange
            if former is None:
                added = foreign_additions(live, d, who.rules, who.people, sent_fields(live, sent))
                beside, _words = in_the_way(live, sent, refusal.causes, who.people, ignored)
                yield undo(live, sent, added, beside)
                yield undo(live, sent, added, beside, whole=True)

        return filter(None, every()), found.words

    async def _tried(self, d: Desired, kind: Kind, exchange: Exchange) -> Written:
        """Return what the server would make of the patch, and of the rest of the manifest."""
        user = self._who.user
        patched = await self._cluster.patch(
            kind, d.id.namespace, d.id.name, exchange.operations, user=user, dry_run=True
        )
        rest = await self._cluster.apply(kind, exchange.rest, user=user, dry_run=True)
        return replace(rest, object=dict(exchange.predicted(rest.object, patched)))

    def _former(self, d: Desired, live: Manifest) -> frozenset[str] | None:
        """Return the managers whose fields an adoption takes over, if this is one."""
        who = self._who
        return None if is_ours(live, d.id, who.key) or self._is_known(d, live) else who.takeover

    def _is_known(self, d: Desired, live: Manifest) -> bool:
        """Return whether an object without our mark is no stranger: handed over to us, or written by us before."""
        written = d.id in self._who.written
        return self._who.is_lent(d.id) or (
            written and managed_fields.own_entry(live["metadata"].get("managedFields") or ()) is not None
        )

    def _was_tried(self, d: Desired, live: Manifest) -> bool:
        """Return whether this manifest was refused although the patch before it had been made: it would be for ever."""
        left = managed_fields.strays(live["metadata"].get("managedFields") or ())
        return bool(left) and self._who.refused.get(d.id) == d.digest

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


# A Service with two ports of one nodePort is an error of the API server's own, and no refusal.
_TWICE = "duplicate nodePort"


def _may_be_in_the_way(refusal: ApiError) -> bool:
    """Return whether something of the live object may be what Git is refused for."""
    refused = refusal.status == 422 and bool(refusal.causes) and classify(refusal) is Reason.Invalid
    return refused or (refusal.status == 500 and _TWICE in refusal.message)


def _version(obj: Manifest | None) -> str | None:
    return obj["metadata"].get("resourceVersion") if obj else None


def kind_of(d: Desired) -> Kind:
    """Return the kind of an object. Raises Problem if the cluster has none such."""
    if d.kind is None:
        raise Problem(Reason.KindUnknown, f"{d.where}: the cluster has no kind {d.id.kind}")
    return d.kind


def problem_at(d: Desired, error: ApiError, verb: str, served: FindServed) -> Problem:
    """Return an API error as a problem that names the place of the manifest."""
    problem = problem_of(error, d.id, verb)
    if problem.reason is Reason.KindUnknown:
        why = unserved(d.manifest["apiVersion"], d.id.kind, served)
        return Problem(problem.reason, f"{d.where}: {d.id.label()}: {why}", problem.retry)
    return Problem(problem.reason, f"{d.where}: {problem.message}", problem.retry)
