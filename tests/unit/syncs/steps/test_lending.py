"""What another Sync wants of what left Git is kept for it, and goes after a while if it is not taken; both say so."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.kit import virtualtime
from tests.kit.samples import KEY, Woken, context, observed, oid, ref, target

from setpoint.api import names
from setpoint.api.reasons import Problem, Reason
from setpoint.apply.deleter import DeleteResult
from setpoint.kube.errors import ApiError
from setpoint.objects.identity import ObjectId, SyncKey
from setpoint.objects.inventory import grouped
from setpoint.objects.kinds import Kind
from setpoint.objects.observed import Observed
from setpoint.plan.prune import Users
from setpoint.settings import Settings
from setpoint.store.claims import Claims
from setpoint.store.index import Store
from setpoint.store.loans import LOAN_SECONDS
from setpoint.syncs.dispatcher import PATIENCE_SECONDS, Dispatcher
from setpoint.syncs.memory import Built
from setpoint.syncs.run import Context, Evaluation, PruneResult
from setpoint.syncs.steps.pruner import Pruner

A, B, C = oid("a"), oid("b"), oid("c")
SIBLING, STRANGER = SyncKey(KEY.namespace, "sibling"), SyncKey("elsewhere", "stranger")
KIND = Kind("", "v1", "ConfigMap", "configmaps", True, frozenset())
ONLY_C = Evaluation(target=target(ref("c")))


@dataclass
class Stage:
    """A Sync that has `a`, `b` and `c`, and the real pruner on stubs of the cluster."""

    live: dict[ObjectId, Observed] = field(default_factory=lambda: {o: observed(o.name) for o in (A, B, C)})
    deleted: list[ObjectId] = field(default_factory=list)
    events: list[tuple[str, str, str]] = field(default_factory=list)
    reads: int = 0
    unwatched: bool = False
    writable: tuple[str, ...] = ()
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.claims, store = Claims(), Store()
        self.fleet = Dispatcher(store, self.claims, "c", Woken())
        cluster = SimpleNamespace(
            kind_of_group=lambda *_: KIND,
            kind=lambda *_: KIND,
            broken_groups=(),
            get=self._get,
            create=self._review,
        )
        live = SimpleNamespace(get=self.live.get, unwatched=lambda _oid: self.unwatched)
        recorder = SimpleNamespace(record=self._record)
        sources = SimpleNamespace(trouble=lambda _key: None)
        stubs: tuple[Any, ...] = (cluster, live, store, self.claims, sources, recorder, self.fleet)
        self.pruner = Pruner(Settings(namespace="sys", cluster_id="c"), *stubs)
        for key in (SIBLING, STRANGER):
            meta = {"namespace": key.namespace, "name": key.name, "uid": key.name, "resourceVersion": "1"}
            spec = {"source": {"name": "s"}, "serviceAccountName": "d"}
            store.put_sync({"apiVersion": names.API_VERSION, "kind": "Sync", "metadata": meta, "spec": spec})
        self.store = store
        self.claims.record(KEY, (A, B, C))

    def _record(self, body: Mapping[str, Any], _kind: str, reason: str, text: str) -> None:
        self.events.append((body["metadata"]["name"], reason, text))

    async def _get(self, *_: Any, **__: Any) -> None:
        self.reads += 1
        raise ApiError(403, "Forbidden", 'User "u" cannot get resource "configmaps" in API group ""')

    async def _review(self, _kind: Kind, question: Any, *, user: str) -> Mapping[str, Any]:
        self.asked.append(user)
        name = question["spec"].get("resourceAttributes", {}).get("name")
        rule = {
            "verbs": ["patch"],
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": list(self.writable),
        }
        return {"status": {"allowed": name in self.writable, "resourceRules": [rule]}}

    async def remove(self, objects: Iterable[ObjectId], _nested: Any) -> DeleteResult:
        gone = list(objects)
        self.deleted += gone
        return DeleteResult(tuple(gone), dict.fromkeys(gone, "deleted"))

    async def users(self, *_: Any) -> Users:
        return Users()

    def context(self, **spec: Any) -> Context:
        return context({"inventory": grouped(("v1", o) for o in (A, B, C))}, pruneLimit=100, **spec)

    async def prune(self) -> PruneResult:
        ctx = self.context()
        begun = self.pruner.begin(ctx, target(ref("c")), {})
        return await self.pruner.prune(ctx, ONLY_C, begun, cast("Any", self), cast("Any", self))


@pytest.mark.parametrize(
    ("other", "named"), [(SIBLING, True), (STRANGER, False)], ids=["sibling", "stranger"]
)
def test_what_nobody_takes_over_goes_after_a_while_and_both_are_told_once(
    other: SyncKey, named: bool
) -> None:
    async def play() -> None:
        stage = Stage()
        stage.claims.want(other, [A])
        first = await stage.prune()
        assert stage.deleted == [B]
        assert first.lent.keys() == first.kept.keys() == {A}
        assert first.again == LOAN_SECONDS
        del stage.live[B]
        await asyncio.sleep(LOAN_SECONDS - 1.0)
        assert (await stage.prune()).again == 1.0
        assert stage.deleted == [B]
        await asyncio.sleep(1.0)
        last = await stage.prune()
        assert stage.deleted == [B, A]
        assert not last.lent
        await stage.prune()
        told = {who: text for who, reason, text in stage.events if reason == "TakenBack"}
        assert len(stage.events) == 2
        assert told.keys() == {KEY.name, other.name}
        assert (str(other) in told[KEY.name], str(KEY) in told[other.name]) == (named, named)

    virtualtime.run(play())


def test_a_new_commit_of_who_wants_it_begins_anew() -> None:
    async def play() -> None:
        stage = Stage()
        stage.claims.want(SIBLING, [A])
        await stage.prune()
        await asyncio.sleep(LOAN_SECONDS)
        stage.fleet.memory(SIBLING).built = Built(target(ref("a")))
        assert (await stage.prune()).lent.keys() == {A}
        assert A not in stage.deleted

    virtualtime.run(play())


def test_what_would_be_kept_anyway_stays_there_to_be_taken_over() -> None:
    async def play() -> None:
        stage = Stage()
        claim = ObjectId("", "PersistentVolumeClaim", "shop", "a")
        stage.live[claim] = replace(observed("a"), id=claim)
        stage.claims.record(KEY, (claim, C))
        stage.claims.want(SIBLING, [claim])
        ctx = context({"inventory": grouped([("v1", claim), ("v1", C)])}, pruneLimit=100)
        for _ in range(2):
            begun = stage.pruner.begin(ctx, target(ref("c")), {})
            found = await stage.pruner.prune(ctx, ONLY_C, begun, cast("Any", stage), cast("Any", stage))
            assert found.lent.keys() == {claim}
            await asyncio.sleep(LOAN_SECONDS)
        assert stage.deleted == []

    virtualtime.run(play())


def test_the_end_of_a_sync_waits_for_a_while_and_no_longer() -> None:
    async def play() -> None:
        stage = Stage()
        stage.claims.want(SIBLING, [A])
        ctx = stage.context()
        handed, words = await stage.pruner.give_away(ctx, None, ends=True)
        assert words == {A: f"waits until Sync {SIBLING} has taken it over"}
        assert stage.claims.lent(KEY) == handed.lent.keys() == {A}
        await asyncio.sleep(LOAN_SECONDS)
        handed, words = await stage.pruner.give_away(ctx, None, ends=True)
        assert (dict(handed.lent), dict(words)) == ({}, {})
        assert {who for who, reason, _ in stage.events if reason == "TakenBack"} == {KEY.name, SIBLING.name}

    virtualtime.run(play())


@pytest.mark.parametrize("writable", [(), ("a",)], ids=["nothing", "one"])
def test_a_stranger_who_is_not_evaluated_holds_up_what_it_may_write_and_the_rest_for_a_moment(
    writable: tuple[str, ...],
) -> None:
    async def play() -> None:
        stage = Stage(writable=writable)
        stage.fleet.seen(stage.store.syncs[STRANGER])
        first = await stage.prune()
        assert first.waiting is not None
        assert str(STRANGER) not in first.waiting.message
        assert (first.again, stage.deleted, stage.asked) == (PATIENCE_SECONDS, [], [])
        await asyncio.sleep(PATIENCE_SECONDS)
        last = await stage.prune()
        assert stage.deleted == ([B] if writable else [A, B])
        assert last.lent.keys() == ({A} if writable else set())
        assert (last.waiting is not None) == bool(writable)
        assert set(stage.asked) == {"system:serviceaccount:elsewhere:d"}

    virtualtime.run(play())


@pytest.mark.parametrize("unwatched", [False, True])
async def test_what_another_owns_and_may_not_be_read_does_not_hold_the_end_of_a_sync(unwatched: bool) -> None:
    stage = Stage(live={}, unwatched=unwatched)
    stage.claims.want(STRANGER, [A])
    if unwatched:  # nobody knows what is there
        with pytest.raises(ApiError):
            await stage.pruner.give_away(stage.context(), None, ends=True)
    else:
        handed, words = await stage.pruner.give_away(stage.context(), None, ends=True)
        assert (dict(handed.released), dict(words)) == ({A: "is gone"}, {})
    assert stage.reads == 1


async def test_who_has_an_object_that_was_never_tried_is_not_told() -> None:
    stage = Stage(live={A: observed("a", owner=STRANGER)})
    entries = grouped([("v1", A)])
    untried = context({"inventory": entries, "wants": entries})
    found = await stage.pruner.hand_over(untried, target(ref("c")))
    assert found.released == {A: "is handed over to a Sync of another namespace"}
    assert stage.events == []
    await stage.pruner.hand_over(context({"inventory": entries}), target(ref("c")))
    assert [reason for _, reason, _ in stage.events] == ["HandedOver"]
    assert str(STRANGER) not in stage.events[0][2]


def test_what_is_in_git_of_a_version_that_is_not_served_is_not_handed_over() -> None:
    async def play() -> None:
        stage = Stage()
        stage.claims.want(SIBLING, [A, B])
        unserved = (A, Problem(Reason.KindUnknown, "v1beta1 is not served"))
        git = replace(target(ref("c")), unplaced=(unserved,))
        result = await stage.pruner.hand_over(stage.context(), git)
        assert result.lent.keys() == {B}
        stage.live.clear()
        assert (await stage.pruner.hand_over(stage.context(), git)).released.keys() == {B}

    virtualtime.run(play())


def test_a_dropped_sync_hands_that_over_too() -> None:
    stage = Stage()
    stage.claims.want(SIBLING, [A])
    stage.fleet.drop(SyncKey("team", "parent"), [KEY])
    unserved = (A, Problem(Reason.KindUnknown, "v1beta1 is not served"))
    git = Evaluation(target=replace(target(ref("c")), unplaced=(unserved,)))
    left = stage.pruner.without_yielded(stage.context(), git)
    assert left.yielded == {A}
    assert left.found.ids == {C}
