"""Keeps what a Sync leaves for another Sync that wants it, and takes it back after a while (shell around `store.loans`)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from setpoint.api.reasons import Problem, Reason
from setpoint.apply.rights import writable
from setpoint.kube.client import Cluster
from setpoint.kube.event_recorder import Recorder
from setpoint.objects.bodies import sync_model
from setpoint.objects.identity import ObjectId, SyncKey
from setpoint.settings import Settings
from setpoint.store.claims import Claims
from setpoint.store.index import Store
from setpoint.store.loans import Loan, counted, kept, left
from setpoint.syncs.acting import user_of
from setpoint.syncs.dispatcher import Blocker, Dispatcher
from setpoint.syncs.run import Context


class Lending:
    """Keeps it for one Sync after another."""

    def __init__(
        self,
        settings: Settings,
        cluster: Cluster,
        claims: Claims,
        store: Store,
        recorder: Recorder,
        dispatcher: Dispatcher,
    ) -> None:
        self._settings, self._cluster, self._claims = settings, cluster, claims
        self._store, self._recorder, self._dispatcher = store, recorder, dispatcher

    def kept(self, ctx: Context, leftover: Collection[ObjectId]) -> Mapping[ObjectId, SyncKey]:
        """Return what of the objects that left Git is kept for others, with whom; what was kept long enough is not."""
        memory, now = self._dispatcher.memory(ctx.key), asyncio.get_running_loop().time()
        wanted = self._claims.wanted_of(ctx.key, leftover)
        digests = {by: self._aim(by) for by in {*wanted.values()}}
        memory.loans = counted(memory.loans, wanted, digests, now)
        return kept(memory.loans, now)

    async def doubted(
        self, ctx: Context, blocker: Blocker | None, objects: Iterable[ObjectId]
    ) -> Mapping[ObjectId, SyncKey]:
        """Return what Syncs that cannot be evaluated may want, as far as they may write it."""
        found: dict[ObjectId, SyncKey] = {}
        users: dict[str, SyncKey] = {}
        for other in blocker.doubted if blocker else ():
            if (user := self._user(other)) is not None:
                users.setdefault(user, other)
        every = list(objects)
        for user, other in users.items():
            may = await writable(self._cluster, user, (o for o in every if o not in found))
            found |= dict.fromkeys(may, other)
        return found

    def _user(self, key: SyncKey) -> str | None:
        """Return as whom another Sync acts; None if it may write nothing."""
        body = self._store.syncs.get(key)
        try:
            return user_of(key, sync_model(body), self._settings) if body else None
        except Problem:
            return None

    def again(self, ctx: Context) -> float | None:
        """Return after how many seconds something is kept no longer."""
        return left(self._dispatcher.memory(ctx.key).loans, asyncio.get_running_loop().time())

    def tell(self, ctx: Context, gone: Collection[ObjectId]) -> None:
        """Tell both Syncs, once, of what goes although the other wants it."""
        memory = self._dispatcher.memory(ctx.key)
        news = {o: loan for o in gone if (loan := memory.loans.get(o)) is not None and not loan.told}
        for oid, loan in news.items():
            self._tell(ctx, oid, loan)
        if news:
            memory.loans = {**memory.loans, **{o: replace(loan, told=True) for o, loan in news.items()}}

    def _tell(self, ctx: Context, oid: ObjectId, loan: Loan) -> None:
        near = loan.by.namespace == ctx.key.namespace
        other, me = (f"Sync {loan.by}", f"Sync {ctx.key}") if near else ("a Sync of another namespace",) * 2
        reason = str(Reason.TakenBack)
        text = f"{oid.label(ctx.key.namespace)} is deleted: {other} wants it and has not taken it over for 10 minutes"
        self._recorder.record(ctx.body, "Warning", reason, text)
        if (body := self._store.syncs.get(loan.by)) is not None:
            text = f"{oid.label(loan.by.namespace)} is not kept any longer: {me} waited 10 minutes for this Sync to take it over, and deletes it"
            self._recorder.record(body, "Warning", reason, text)

    def _aim(self, key: SyncKey) -> str:
        target = self._dispatcher.memory(key).built.target
        return target.digest if target is not None else ""
