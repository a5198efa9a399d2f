"""Finds out what a Sync wants of what others own, as far as its identity may write that (shell around `store.wants`)."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping

from setpoint.objects.identity import ObjectId, SyncKey
from setpoint.store.claims import Claims
from setpoint.store.wants import Wants, decided, heard, unanswered
from setpoint.syncs.dispatcher import Dispatcher
from setpoint.syncs.memory import Memory
from setpoint.syncs.run import Context, Reached
from setpoint.syncs.steps.actors import Actors
from setpoint.syncs.target import Target


class Wanting:
    """Finds it out for one Sync after another, and tells those who keep it."""

    def __init__(self, claims: Claims, dispatcher: Dispatcher, actors: Actors) -> None:
        self._claims, self._dispatcher, self._actors = claims, dispatcher, actors

    async def find(self, ctx: Context, target: Target, memory: Memory) -> Wants:
        """Ask for what others hold where nobody knows yet whether it may be written; note what counts.

        From the last answer to the note nothing is awaited: who claims something meanwhile is asked about, too.
        """
        clock, desired = asyncio.get_running_loop().time, [r.id for r in target.refs]
        while True:
            owned, held = self._held(ctx.key, desired)
            asked = unanswered(target.digest, held, memory.answers, clock())
            if not asked:
                break
            found = await self._actors.forbidden(ctx, [r for r in target.refs if r.id in asked])
            memory.answers = heard(target.digest, held, memory.answers, found, clock())
        if memory.answers.keys() - held.keys():
            memory.answers = heard(target.digest, held, memory.answers, {}, clock())
        wants = decided(ctx.key, owned, held, memory.answers, clock())
        offered = self._claims.offered(ctx.key, desired)
        mine = {o for o in offered if self._claims.owner(o) == ctx.key}
        self._dispatcher.want(ctx.key, wants.counting | mine, wants.near)
        return wants

    def forget(self, memory: Memory) -> None:
        """Forget what was answered, so that all is asked again."""
        memory.answers = {}

    def _held(
        self, key: SyncKey, desired: Collection[ObjectId]
    ) -> tuple[Mapping[ObjectId, SyncKey], Mapping[ObjectId, SyncKey]]:
        """Return what of the desired objects others own, and what they own or have lent, each with one of them."""
        owned, offered = self._claims.contested(key, desired), self._claims.offered(key, desired)
        free = [o for o in offered if self._claims.owner(o) is None]
        lenders = {o: by for o in free if (by := self._claims.lender(key, o)) is not None}
        return owned, {**owned, **lenders}

    def offered(self, key: SyncKey, objects: Iterable[ObjectId]) -> set[ObjectId]:
        """Return what of these objects another Sync lent: it is to be wanted until it is lent no more."""
        return self._claims.offered(key, objects)

    def owned_by_others(self, key: SyncKey, objects: Iterable[ObjectId]) -> set[ObjectId]:
        """Return what of these objects other Syncs own."""
        return set(self._claims.contested(key, objects))

    def taking(self, reached: Reached, passed: Iterable[ObjectId]) -> Mapping[ObjectId, SyncKey]:
        """Note what is about to be taken over, as its dry run `passed`; returns what another Sync owns by now.

        It stays wanted, and so does all else: the claim is taken back if it cannot be written, or stored.
        """
        key, tried = reached.ctx.key, frozenset(passed)
        contested = self._claims.contested(key, tried)
        wanted = self._claims.wanted(key) | contested.keys() | self._claims.offered(key, tried)
        self._dispatcher.want(key, wanted, self._claims.near(key))
        return contested
