"""Which Sync a change of a live object or a commit concerns, and what it makes of a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from tests.kit.samples import KEY, SHA, Woken, observed, oid, ownership, reached, ref, target

from setpoint.api.reasons import Problem, Reason
from setpoint.apply.result import ApplyResult
from setpoint.health.verdict import Health, Verdict
from setpoint.objects.identity import SyncKey
from setpoint.objects.observed import Observed
from setpoint.plan.desired import Desired
from setpoint.plan.drift import DriftView, choose
from setpoint.sources.changes import EVERYTHING, NOTHING, Changes
from setpoint.store.claims import Claims
from setpoint.store.index import Store
from setpoint.syncs.builder import TargetBuilder
from setpoint.syncs.dispatcher import GRACE_SECONDS, PATIENCE_SECONDS, Blocker, Dispatcher
from setpoint.syncs.memory import Built, Memory, SeenCommit, Standing
from setpoint.syncs.steps.drift_log import DriftLog

SLOW = Verdict(Health.Progressing, "Progressing", "0 of 1 pods ready")
IMMUTABLE = Problem(Reason.Immutable, "a.yaml:1: spec.clusterIP")


@pytest.mark.parametrize("noted", ["before", "after"])
@pytest.mark.parametrize(
    ("after", "again"),
    [
        (None, True),
        (observed("a", uid="another"), True),
        (observed("a", ownership=ownership("o2")), True),
        (observed("a", resource_version=99), False),
    ],
    ids=["deleted", "made-anew", "edited", "status"],
)
def test_what_failed_is_tried_again_when_the_object_was_touched(
    after: Observed | None, again: bool, noted: str
) -> None:
    """Whether the run that met the failure has `noted` it before or after the news: it may have more to do."""
    woken = Woken()
    fleet = Dispatcher(Store(), Claims(), "cluster", woken)
    before, memory = observed("a", sync_label=fleet.label(KEY)), fleet.memory(KEY)
    live = {before.id: before}
    ledger = DriftLog(cast("Any", live), b"", cast("Any", None), fleet)
    desired = Desired(before.id, {}, "d1", "a.yaml:1", None)
    fleet.seen({"metadata": {"namespace": KEY.namespace, "name": KEY.name}})

    def change() -> None:
        live.pop(before.id)
        live.update({after.id: after} if after else {})
        fleet.changed(before.id, before, after)

    async def absorb() -> None:
        failed = ApplyResult(failed={before.id: IMMUTABLE})
        ledger.absorb(reached(), memory, failed, {before.id: desired}, states)

    states = ledger.before([desired])
    if noted == "after":
        change()
    asyncio.run(absorb())
    if noted == "before":
        change()
    view = DriftView(KEY, fleet.label(KEY), live.get, memory.account)
    choice = choose(view, [ref("a")], (), 0.0, due=False, abort=False)
    assert (choice.todo, choice.stuck) == (((ref("a"),), {}) if again else ((), {before.id: IMMUTABLE}))
    assert woken.later == [(KEY, 0.0)]


# --- commits

SOURCE, NEXT = SyncKey("team", "src"), "b" * 40
ONCE = "been evaluated once since the operator started"
ELSEWHERE, HERE = frozenset({"other"}), frozenset({"app"})
"""The read sets that a commit touches."""


@dataclass
class Stand:
    """Syncs of one Source, each of which stands settled at a commit."""

    queue: Woken = field(default_factory=Woken)
    store: Store = field(default_factory=Store)

    def __post_init__(self) -> None:
        self.woken, self.busy, self.later = self.queue.keys, self.queue.at_work, self.queue.later
        self.claims = Claims()
        self.fleet = Dispatcher(self.store, self.claims, "cluster", self.queue)

    def sync(self, name: str, folder: str = "app", **spec: Any) -> SyncKey:
        """A Sync that has nothing left to do at SHA."""
        key = SyncKey("team", name)
        self.put(key, {"source": {"name": "src"}, **spec})
        memory = self.fleet.memory(key)
        found = target(ref(name))
        memory.built = Built(found, found, folder)
        memory.standing = Standing(settled=True)
        self.fleet.evaluated(key, SHA, 1)
        self.fleet.told(key)
        return key

    def built(self, key: SyncKey) -> Built:
        """What the next run of a Sync finds known of commits."""
        memory = self.fleet.memory(key)
        TargetBuilder.follow(memory, self.fleet.take_move(key))
        return memory.built

    def put(self, key: SyncKey, spec: dict[str, Any], version: int = 1, generation: int = 1) -> None:
        meta = {"namespace": key.namespace, "name": key.name, "uid": key.name}
        body = {"metadata": {**meta, "resourceVersion": str(version), "generation": generation}, "spec": spec}
        assert self.store.put_sync(body)
        self.fleet.seen(body)

    def blocker(self, key: SyncKey) -> Blocker | None:
        return self.fleet.barrier(key, SOURCE, NEXT)

    def moved(self, touched: frozenset[str] | Changes, before: str = SHA, after: str = NEXT) -> set[SyncKey]:
        """The Syncs that a commit wakes."""
        self.woken.clear()
        looks = self.fleet.looks(SOURCE)
        if isinstance(touched, frozenset):
            changes = Changes({key: name for key, name in looks.items() if name not in touched})
        else:
            changes = touched
        self.fleet.commit_changed(SOURCE, before, after, changes)
        return set(self.woken)


def test_a_commit_wakes_whom_it_touches_and_tells_the_others() -> None:
    stand = Stand()
    here, there = stand.sync("here", "app"), stand.sync("there", "other")
    assert stand.moved(ELSEWHERE) == {there}
    built = stand.built(here)
    assert built.target is not None
    assert built.target is built.good
    assert (built.target.sha, built.target.revision) == (NEXT, f"main@sha1:{SHA}")
    assert stand.fleet.has_seen(here, NEXT, 1)
    assert not stand.fleet.has_seen(there, NEXT, 1)
    assert stand.moved(EVERYTHING, NEXT, "c" * 40) == {here, there}


def test_who_fails_is_tried_again_when_somebody_asks_but_not_for_a_commit_elsewhere() -> None:
    stand = Stand()
    stand.sync("app")
    failing = stand.sync("failing")
    stand.fleet.memory(failing).standing = Standing(settled=True, failing=True)
    assert stand.moved(ELSEWHERE) == set()
    assert stand.fleet.has_seen(failing, NEXT, 1)
    assert stand.moved(NOTHING, NEXT, NEXT) == {failing}
    assert stand.moved(HERE, NEXT, "c" * 40) >= {failing}
    assert stand.fleet.unsettled(SOURCE) == [failing]


def test_those_that_a_commit_is_for_come_first() -> None:
    stand = Stand()
    keys = [stand.sync(f"app-{number}") for number in range(9)]
    for key in keys[::2]:
        stand.fleet.memory(key).standing = Standing()
    assert stand.moved(HERE) == set(keys)
    assert set(stand.woken[:4]) == set(keys[1::2])


def test_what_was_applied_last_stays_as_it_is_where_it_is_not_the_target() -> None:
    stand = Stand()
    key = stand.sync("app")
    memory = stand.fleet.memory(key)
    good = target(ref("app"), digest="another")
    memory.built = replace(memory.built, good=good)
    assert stand.moved(ELSEWHERE) == set()
    assert stand.built(key).good is good


def test_a_commit_that_all_know_wakes_nobody() -> None:
    stand = Stand()
    stand.sync("app")
    assert stand.moved(NOTHING, SHA, SHA) == set()
    assert stand.moved(EVERYTHING, "a" * 40, SHA) == set()


def test_the_same_commit_with_other_submodules_wakes_everyone() -> None:
    stand = Stand()
    key = stand.sync("app")
    assert stand.moved(EVERYTHING, SHA, SHA) == {key}


def _unsettled(stand: Stand, key: SyncKey) -> None:
    stand.fleet.memory(key).standing = Standing()


def _busy(stand: Stand, key: SyncKey) -> None:
    stand.busy.add(key)


def _edited(stand: Stand, key: SyncKey) -> None:
    stand.put(key, {"source": {"name": "src"}}, version=2, generation=2)


def _behind(stand: Stand, key: SyncKey) -> None:
    stand.fleet.evaluated(key, "c" * 40, 1)


def _without_footprint(stand: Stand, key: SyncKey) -> None:
    memory = stand.fleet.memory(key)
    memory.built = replace(memory.built, read_set="")


def _forgotten(stand: Stand, key: SyncKey) -> None:
    stand.fleet._memory.pop(key)


@pytest.mark.parametrize("trouble", [_unsettled, _busy, _edited, _behind, _without_footprint, _forgotten])
def test_who_is_not_known_to_stand_quietly_at_the_former_commit_is_woken(
    trouble: Callable[[Stand, SyncKey], None],
) -> None:
    stand = Stand()
    key, other = stand.sync("app"), stand.sync("other")
    trouble(stand, key)
    assert stand.moved(ELSEWHERE) == {key}
    assert stand.fleet.has_seen(other, NEXT, 1)


def test_who_waits_to_prune_goes_on_when_the_others_were_told_or_have_seen_the_commit() -> None:
    stand = Stand()
    pruning, touched = stand.sync("pruning"), stand.sync("touched")
    stand.sync("told", "other")
    assert stand.moved(HERE) == {pruning, touched}
    assert stand.blocker(pruning) == Blocker(touched, "seen this commit")
    stand.fleet.evaluated(pruning, NEXT, 1)
    stand.woken.clear()
    stand.fleet.evaluated(touched, NEXT, 1)
    assert stand.woken == [pruning]
    assert stand.fleet.barrier(pruning, SOURCE, NEXT) is None


def test_nobody_waits_for_a_sync_that_rests_and_everyone_for_one_that_is_new() -> None:
    stand = Stand()
    key, other = stand.sync("app"), stand.sync("other")
    assert stand.moved(EVERYTHING) == {key, other}
    assert stand.blocker(key) == Blocker(other, "seen this commit")
    stand.fleet.evaluated(key, NEXT, 1)
    stand.woken.clear()
    stand.put(other, {"source": {"name": "src"}, "suspend": True}, version=2, generation=2)
    assert stand.woken == [key]
    assert stand.fleet.barrier(key, SOURCE, NEXT) is None
    new = SyncKey("team", "new")
    stand.put(new, {"source": {"name": "another"}})
    assert stand.blocker(key) == Blocker(new, ONCE, unseen=True)
    stand.store.drop_sync(new)
    stand.woken.clear()
    stand.fleet.forget(new)
    assert stand.woken == [key]


def test_a_source_without_news_concerns_those_alone_that_are_not_settled() -> None:
    stand = Stand()
    stand.sync("app")
    failing, new = stand.sync("failing"), SyncKey("team", "new")
    stand.fleet.memory(failing).standing = Standing()
    stand.put(new, {"source": {"name": "src"}})
    assert set(stand.fleet.unsettled(SOURCE)) == {failing, new}


def test_memory_stands_where_it_was_evaluated_if_nothing_is_left() -> None:
    memory = Memory(seen_commit=SeenCommit((SHA, 3)))
    assert memory.stands_at(3) is None
    memory.standing = Standing(settled=True)
    assert memory.stands_at(3) == SHA
    assert memory.stands_at(4) is None
    memory.seen_commit = memory.seen_commit.move(NEXT)
    assert memory.stands_at(3) == NEXT


def test_a_target_of_an_older_commit_than_the_one_that_cannot_be_rendered_stays_there() -> None:
    stand = Stand()
    key = stand.sync("app")
    old = stand.built(key).target
    stand.fleet.evaluated(key, NEXT, 1)
    assert stand.moved(ELSEWHERE, NEXT, "c" * 40) == set()
    assert stand.built(key).target is stand.built(key).good is old
    assert stand.fleet.has_seen(key, "c" * 40, 1) is False  # nothing tells of it until a run has


# --- Syncs that go


def test_what_comes_late_of_a_sync_that_is_gone_does_not_touch_the_one_that_was_made_again() -> None:
    stand = Stand()
    key = stand.sync("app")
    old = stand.store.syncs[key]
    stand.put(key, {"source": {"name": "other"}}, version=9)
    new = stand.store.syncs[key]
    new["metadata"]["uid"] = "another"
    assert not stand.store.put_sync(old)
    stand.store.drop_sync(key, old["metadata"]["uid"])
    assert stand.store.syncs[key] is new
    assert list(stand.store.users(SyncKey("team", "other"))) == [key]
    stand.woken.clear()
    stand.fleet.forget(key)
    assert key in stand.woken
    assert stand.fleet.memory(key).built.target is None
    seen = observed("a", sync_label=stand.fleet.label(key))
    stand.woken.clear()
    stand.fleet.changed(oid("a"), None, seen)
    assert stand.later == [(key, 0.0)]


def test_a_sync_that_is_gone_is_forgotten() -> None:
    stand = Stand()
    key = stand.sync("app")
    stand.store.drop_sync(key, stand.store.syncs[key]["metadata"]["uid"])
    assert list(stand.store.users(SOURCE)) == []
    stand.woken.clear()
    stand.fleet.forget(key)
    assert key not in stand.woken


@pytest.mark.parametrize(
    ("count", "after", "seconds"),
    [
        (4, observed("a", verdict=SLOW), 0.0),
        (3000, observed("a", verdict=SLOW), 0.6),
        (10_000, observed("a", verdict=SLOW), 1.0),
        (3000, observed("a", ownership=ownership("o2")), 0.0),
        (3000, observed("a", annotations={"setpoint.dev/prune": "never"}), 0.0),
        (3000, None, 0.0),
    ],
    ids=["few", "many", "most", "edited", "annotated", "deleted"],
)
def test_news_of_health_gather_where_a_run_is_long_and_drift_never_waits(
    count: int, after: Observed | None, seconds: float
) -> None:
    stand = Stand()
    key = stand.sync("app")
    label = stand.fleet.label(key)
    found = target(*(ref(str(number)) for number in range(count)))
    stand.fleet.memory(key).built = Built(found)
    labelled = replace(after, sync_label=label) if after else None
    stand.fleet.changed(oid("a"), observed("a", sync_label=label), labelled)
    [(who, delay)] = stand.later
    assert who == key
    assert delay == pytest.approx(seconds)


# --- Syncs that cannot be evaluated


def away(stand: Stand, generation: int = 1, observed: int | None = 1, **status: Any) -> dict[str, Any]:
    """Another team's Sync, as stored, of which this process knows nothing else."""
    meta = {
        "namespace": "other",
        "name": "away",
        "uid": "w",
        "resourceVersion": "1",
        "generation": generation,
    }
    state = {"observedGeneration": observed, **status} if observed is not None else status
    body = {"metadata": meta, "spec": {"source": {"name": "src"}}, "status": state}
    assert stand.store.put_sync(body)
    stand.fleet.seen(body)
    return body


AWAY, WANTED = (
    SyncKey("other", "away"),
    [{"apiVersion": "v1", "kind": "ConfigMap", "namespace": "shop", "names": ["a"]}],
)


def test_a_sync_that_cannot_be_evaluated_counts_as_seen_where_its_status_says_all() -> None:
    stand = Stand()
    key = stand.sync("app")
    stand.fleet.started(100.0)
    body = away(stand)
    stand.woken.clear()
    assert stand.blocker(key) == Blocker(AWAY, ONCE, unseen=True, again=PATIENCE_SECONDS)
    assert stand.fleet.cannot_evaluate(body, 101.0) is None
    assert stand.woken == [key]
    assert stand.blocker(key) is None


@pytest.mark.parametrize("observed", [None, 1], ids=["never evaluated", "spec changed"])
def test_a_sync_whose_spec_is_new_is_in_doubt_for_minutes_and_no_longer(observed: int | None) -> None:
    stand = Stand()
    key = stand.sync("app")
    stand.fleet.started(100.0)
    body = away(stand, generation=2, observed=observed)
    assert stand.blocker(key) == Blocker(AWAY, ONCE, unseen=True, again=PATIENCE_SECONDS)
    stand.woken.clear()
    assert stand.fleet.cannot_evaluate(body, 110.0) == GRACE_SECONDS - 10.0
    assert stand.woken == [key], "what it may not write need not wait"
    assert stand.blocker(key) == Blocker(AWAY, ONCE, unseen=True, doubted=(AWAY,))
    stand.woken.clear()
    assert stand.fleet.cannot_evaluate(body, 100.0 + GRACE_SECONDS) is None
    assert stand.woken == [key]
    assert stand.blocker(key) is None


def test_a_stranger_is_waited_for_a_while_and_then_only_for_what_it_may_write() -> None:
    stand = Stand()
    key, near = stand.sync("app"), SyncKey("team", "near")
    stand.fleet.evaluated(key, NEXT, 1)
    away(stand)
    stand.put(near, {"source": {"name": "another"}})

    def at(now: float) -> Blocker | None:
        return stand.fleet.barrier(key, SOURCE, NEXT, now)

    first = at(100.0)
    assert first == Blocker(AWAY, ONCE, unseen=True, again=PATIENCE_SECONDS)
    assert first.words("team") == f"before anything is deleted, a Sync of another namespace must have {ONCE}"
    assert first.words("other") == f"before anything is deleted, Sync {AWAY} must have {ONCE}"
    assert at(105.0) == Blocker(AWAY, ONCE, unseen=True, again=PATIENCE_SECONDS - 5.0)
    late = 100.0 + PATIENCE_SECONDS
    assert at(late) == Blocker(near, ONCE, unseen=True, again=PATIENCE_SECONDS), (
        "of one's own, as long as it takes"
    )
    stand.fleet.evaluated(near, NEXT, 1)
    assert at(late) == Blocker(AWAY, ONCE, unseen=True, doubted=(AWAY,))
    stand.fleet.evaluated(AWAY, NEXT, 1)
    assert at(late) is None
    stand.put(AWAY, {"source": {"name": "third"}}, version=5)
    assert at(late) == Blocker(AWAY, ONCE, unseen=True, again=PATIENCE_SECONDS), "it begins anew"


def test_who_was_evaluated_stays_where_it_was() -> None:
    stand = Stand()
    key, other = stand.sync("app"), stand.sync("other")
    stand.fleet.evaluated(key, NEXT, 1)
    stand.fleet.cannot_evaluate(stand.store.syncs[other], 0.0)
    assert stand.blocker(key) == Blocker(other, "seen this commit")


DIFFERS = {**WANTED[0], "name": "a", "sync": "Contested"}
BROKEN = [{"type": "Ready", "status": "False", "reason": "InternalError"}]


@pytest.mark.parametrize(
    ("status", "kept"),
    [
        ({"wants": WANTED}, True),
        ({"differences": [{k: v for k, v in DIFFERS.items() if k != "names"}]}, True),
        ({"differences": [{**DIFFERS, "sync": "OutOfSync"}]}, False),
        ({"wants": WANTED, "observedGeneration": 0}, False),
        ({"wants": WANTED, "conditions": BROKEN}, False),
        ({}, False),
    ],
    ids=["wanted", "by an older version", "no wish", "of another spec", "ended by a bug", "nothing"],
)
def test_what_a_sync_waits_for_is_known_from_its_status(status: dict[str, Any], kept: bool) -> None:
    stand = Stand()
    key = stand.sync("app")
    away(stand, **status)
    assert stand.claims.wanted_of(key, [oid("a")]) == ({oid("a"): AWAY} if kept else {})
