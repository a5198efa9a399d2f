"""Whether a Sync may write what others hold is asked as seldom as can be, and before anybody is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, cast

from tests.kit import virtualtime
from tests.kit.samples import KEY, Woken, context, oid, reached, ref, target

from setpoint.api.reasons import Problem, Reason
from setpoint.objects.identity import ObjectId, SyncKey
from setpoint.plan.desired import Ref
from setpoint.store.claims import Claims
from setpoint.store.index import Store
from setpoint.store.wants import FIRST_PAUSE, SIBLING_SECONDS, Wants
from setpoint.syncs.dispatcher import Dispatcher
from setpoint.syncs.memory import Memory
from setpoint.syncs.steps.wanting import Wanting

A, B = oid("a"), oid("b")
OTHER, SIBLING = SyncKey("elsewhere", "other"), SyncKey(KEY.namespace, "sibling")
NO = Problem(Reason.Forbidden, "may not patch configmaps")


class Stage:
    """A Sync that has `a` and `b` in Git, which others own, and the rights that a test gives it."""

    def __init__(self, owner: SyncKey) -> None:
        self.claims, self.queue, self.memory = Claims(), Woken(), Memory()
        self.may: set[ObjectId] = set()
        self.asked: list[str] = []
        self.meanwhile: list[tuple[SyncKey, ObjectId]] = []
        self.owner, self.target = owner, target(ref("a"), ref("b"))
        self.claims.record(owner, [A, B])
        fleet = Dispatcher(Store(), self.claims, "c", self.queue)
        self.wanting = Wanting(self.claims, fleet, cast("Any", self))

    async def forbidden(self, _ctx: Any, refs: Iterable[Ref]) -> Mapping[ObjectId, Problem | None]:
        found = {r.id: None if r.id in self.may else NO for r in refs}
        self.asked += sorted(o.name for o in found)
        for key, each in self.meanwhile:
            self.claims.record(key, [each])
        self.meanwhile = []
        return found

    async def find(self) -> Wants:
        return await self.wanting.find(context(), self.target, self.memory)


def test_each_is_asked_once_and_what_is_forbidden_later_and_later() -> None:
    async def play() -> None:
        stage = Stage(OTHER)
        stage.may = {A}
        for _ in range(3):
            wants = await stage.find()
            assert (wants.contested, wants.refused) == ({A: OTHER}, {B: NO})
        assert stage.asked == ["a", "b"]
        assert stage.claims.awaited(OTHER, [A, B]) == {A: KEY}
        assert stage.queue.keys == [OTHER], "who owns it is woken for what it may write, once"
        await asyncio.sleep(FIRST_PAUSE)
        await stage.find()
        assert stage.asked == ["a", "b", "b"]
        stage.may = {A, B}
        stage.target = target(ref("a"), ref("b"), digest="t2")
        assert not (await stage.find()).refused
        assert stage.asked == ["a", "b", "b", "a", "b"]
        stage.wanting.forget(stage.memory)
        await stage.find()
        assert stage.asked[5:] == ["a", "b"]
        stage.claims.drop(OTHER)
        assert not (await stage.find()).contested
        assert not stage.memory.answers

    virtualtime.run(play())


def test_who_claims_something_meanwhile_is_asked_about_too() -> None:
    async def play() -> None:
        stage = Stage(OTHER)
        stage.claims.record(OTHER, [A])
        stage.meanwhile = [(SIBLING, B)]
        wants = await stage.find()
        assert stage.asked == ["a", "b"]
        assert wants.refused.keys() == {A, B}
        assert stage.claims.awaited(SIBLING, [A, B]) == {B: KEY}
        assert stage.claims.awaited(OTHER, [A, B]) == {}, "it counts in its own namespace alone"
        stage.wanting.taking(reached(refused=wants.refused), [])
        assert stage.claims.awaited(SIBLING, [B]) == {B: KEY}
        await asyncio.sleep(SIBLING_SECONDS)
        await stage.find()
        assert stage.claims.awaited(SIBLING, [A, B]) == {}

    virtualtime.run(play())


def test_what_was_lent_to_nobody_in_particular_is_asked_for_as_well() -> None:
    async def play() -> None:
        stage = Stage(OTHER)
        stage.claims.record(OTHER, [A, B], lent=[A, B])
        stage.may = {A}
        wants = await stage.find()
        assert (wants.contested, wants.refused) == ({}, {B: NO})
        assert stage.claims.wanted_of(OTHER, [A, B]) == {A: KEY}
        stage.claims.record(KEY, [A])
        assert (await stage.find()).refused == {B: NO}
        assert stage.asked == ["a", "b"]
        assert stage.claims.awaited(OTHER, [A, B]) == {A: KEY}, (
            "what it claimed itself may have to be given back"
        )
        stage.wanting.taking(reached(), [oid("c")])
        stage.claims.record(KEY, [oid("c")])
        assert stage.claims.wanted_of(OTHER, [A]) == {A: KEY}, (
            "as that was not stored, and it is not tried yet"
        )

    virtualtime.run(play())
