"""Makes what acts on behalf of a Sync: as its user, within its rules, and for all Syncs together within one limit."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Set
from functools import partial
from types import MappingProxyType

from setpoint.api.reasons import Problem
from setpoint.apply import rights
from setpoint.apply.applier import Applier
from setpoint.apply.deleter import Deleter
from setpoint.apply.dry_run import Actor, Session
from setpoint.health.verdict import Verdict
from setpoint.kube import absence
from setpoint.kube.client import Cluster
from setpoint.objects.identity import ObjectId
from setpoint.plan.adoption import TAKEOVER_MANAGERS
from setpoint.plan.desired import Ref
from setpoint.plan.marks import is_dropped
from setpoint.runtime.fairness import Limits
from setpoint.runtime.slots import Slots
from setpoint.settings import Settings
from setpoint.store.claims import Claims
from setpoint.store.wants import never_written
from setpoint.syncs.memory import Account
from setpoint.syncs.run import Context
from setpoint.watch.protocol import LiveObjects, Storage, unsure


class Actors:
    """Makes appliers and deleters."""

    def __init__(
        self,
        settings: Settings,
        cluster: Cluster,
        informers: LiveObjects,
        storage: Storage,
        claims: Claims,
    ) -> None:
        self._cluster, self._informers, self._storage, self._claims = cluster, informers, storage, claims
        self._limit = Slots(Limits(settings.apply_concurrency))
        self._max_diff = settings.max_diff
        people = frozenset(settings.people_managers)
        self._people, self._takeover = people, people | TAKEOVER_MANAGERS

    def applier(
        self,
        ctx: Context,
        account: Account,
        written: Container[ObjectId],
        *,
        abort: bool,
        keep_ours: bool = False,
        ended: Mapping[ObjectId, Verdict] = MappingProxyType({}),
        expected: Set[ObjectId] = frozenset(),
        hidden: Iterable[ObjectId] = (),
    ) -> Applier:
        """Return what writes objects on behalf of a Sync, once.

        `account`: what could not be written before. `written`: what was. `abort`: nothing is written beside an
        object that is rejected. `keep_ours`: what is written was applied before. `ended`: the objects that are done, each
        with its health. `expected`: those that may end by themselves, and that nobody knows to be gone. `hidden`: what
        others hold and the Sync may not write.
        """
        spec = ctx.sync.spec
        who = Actor(
            key=ctx.key,
            label=ctx.marks.label,
            user=ctx.user,
            rules=spec.ignore,
            people=self._people,
            takeover=self._takeover,
            owner_of=self._claims.owner,
            is_lent=self._claims.is_lent,
            abort=abort,
            create_namespace=spec.target_namespace if spec.create_namespace else None,
            refused=account.refused,
            written=written,
            keep_ours=keep_ours,
            hidden=frozenset(hidden),
            ended=ended,
            expected=expected,
            max_diff=self._max_diff,
        )
        return Applier(Session(self._cluster, self._informers, self._storage, self._limit, who))

    def deleter(self, ctx: Context) -> Deleter:
        """Return what deletes objects on behalf of a Sync; by a commit, unless it ends because a person deleted it."""
        by_commit = "deletionTimestamp" not in ctx.body["metadata"] or is_dropped(ctx.body)
        live = self._informers

        def strange(oid: ObjectId) -> bool:
            one, unseen = (oid,), partial(unsure, live)
            return bool(never_written(one, one, ctx.provisional, live.get, unseen, ctx.key))

        return Deleter(self._cluster, self._limit, ctx.key, ctx.user, by_commit=by_commit, is_strange=strange)

    async def forbidden(self, ctx: Context, refs: Iterable[Ref]) -> Mapping[ObjectId, Problem | None]:
        """Return of objects that exist which the identity of a Sync may not write, as far as anybody says; None for those that it may."""
        return await rights.forbidden(self._cluster, ctx.user, refs)

    async def missing(self, ctx: Context, reasons: Iterable[object]) -> Problem | None:
        """Return that the account of a Sync does not exist, where that may be why something failed."""
        return await absence.missing(self._cluster, ctx.user, reasons)
