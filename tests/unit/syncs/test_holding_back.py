"""A status that only says how far a rollout is waits a moment: most rollouts end before anybody could read it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.kit.samples import KEY, SHA, Woken, context, oid, reached, ref, target

from setpoint.api.reasons import Problem, Reason
from setpoint.apply.result import ApplyResult
from setpoint.objects.bodies import Body
from setpoint.objects.identity import ObjectId, SyncKey
from setpoint.plan.goal import Commit
from setpoint.runtime.metrics import Metrics
from setpoint.sources.artifact import Artifact
from setpoint.store.claims import Claims
from setpoint.store.index import Store
from setpoint.syncs.dispatcher import Dispatcher
from setpoint.syncs.memory import HOLD_SECONDS, Telling
from setpoint.syncs.run import Evaluation, PruneResult
from setpoint.syncs.steps.reporter import Reporter


class Written:
    """Takes a status."""

    async def write(self, _oid: ObjectId, body: Body, new: Any) -> Body:
        return {**body, "status": new}


INVENTORY = [{"apiVersion": "v1", "kind": "ConfigMap", "namespace": "shop", "names": ["a"]}]


def said(reason: str, **more: Any) -> dict[str, Any]:
    ready = "True" if reason == "Succeeded" else "False"
    return {
        "inventory": INVENTORY,
        "conditions": [{"type": "Ready", "status": ready, "reason": reason}],
        **more,
    }


CURRENT = Artifact("team/mirror", SHA, f"main@sha1:{SHA}", False)
SLOW, DONE = said("Progressing"), said("Succeeded")
CLAIMED = {"inventory": INVENTORY}


def test_progress_is_told_when_it_lasts_a_second_and_then_once_a_second() -> None:
    telling, pause = Telling().hold_back(CLAIMED, SLOW, 10.0, fresh=True)
    assert pause == HOLD_SECONDS
    assert telling.held == SLOW
    second = context(CLAIMED, held=telling.held)
    assert second.previous == SLOW
    assert second.stored == CLAIMED
    telling, pause = telling.hold_back(CLAIMED, {**SLOW, "summary": {"healthy": 1}}, 10.4, fresh=False)
    assert pause == pytest.approx(0.6)
    telling, pause = telling.hold_back(CLAIMED, SLOW, 11.0, fresh=False)
    assert pause is None
    telling = replace(telling, held=None)  # it was written
    telling, pause = telling.hold_back(SLOW, {**SLOW, "summary": {"healthy": 2}}, 11.9, fresh=False)
    assert pause is not None
    assert telling.hold_back(SLOW, {**SLOW, "summary": {"healthy": 3}}, 12.0, fresh=False)[1] is None


def test_the_end_is_told_at_once() -> None:
    telling, pause = Telling().hold_back(CLAIMED, SLOW, 10.0, fresh=True)
    assert pause is not None
    telling, pause = telling.hold_back(CLAIMED, DONE, 10.1, fresh=False)
    assert pause is None
    assert telling.hold_back(CLAIMED, said("Degraded"), 10.1, fresh=False)[1] is None


@pytest.mark.parametrize(
    ("stored", "new"),
    [
        (CLAIMED, said("Progressing", inventory=[])),
        (CLAIMED, said("Progressing", requested="now")),
        (CLAIMED, said("Progressing", driftLog=[{"name": "a"}])),
        (CLAIMED, said("Progressing", endings=[{"gone": True, "digests": {"a": "1"}}])),
    ],
    ids=["inventory", "answer", "drift", "ends"],
)
def test_what_others_go_by_is_told_at_once(stored: dict[str, Any], new: dict[str, Any]) -> None:
    assert Telling().hold_back(stored, new, 10.0, fresh=True)[1] is None


def test_a_rollout_that_nothing_was_written_for_is_told_at_once() -> None:
    assert Telling().hold_back(DONE, SLOW, 10.0, fresh=False)[1] is None


def test_nobody_goes_by_a_status_that_is_held_back() -> None:
    queue = Woken()
    woken = queue.keys
    store, dependent = Store(), SyncKey("team", "next")
    for key, spec in ((KEY, {}), (dependent, {"dependsOn": [{"name": KEY.name}]})):
        meta = {"namespace": key.namespace, "name": key.name, "uid": key.name, "resourceVersion": "1"}
        store.put_sync({"metadata": meta, "spec": {"source": {"name": "src"}, **spec}})
    fleet = Dispatcher(store, Claims(), "cluster", queue)
    fleet.evaluated(KEY, SHA, 1)
    assert not fleet.has_seen(KEY, SHA, 1)
    fleet.told(KEY)
    assert fleet.has_seen(KEY, SHA, 1)
    assert woken == [dependent]
    fleet.told(KEY)
    fleet.evaluated(KEY, SHA, 1)
    assert fleet.has_seen(KEY, SHA, 1)
    assert woken == [dependent]
    fleet.evaluated(KEY, "b" * 40, 1)
    assert not fleet.has_seen(KEY, "b" * 40, 1)


async def test_what_was_written_is_held_back_no_more() -> None:
    store = Store()
    fleet = Dispatcher(store, Claims(), "cluster", Woken())
    stubs: tuple[Any, ...] = (None, None, None, store, Written(), None, Metrics(), fleet)
    reporter, memory = Reporter(*stubs), fleet.memory(KEY)
    memory.telling = Telling(held=SLOW, held_until=9.0)
    await reporter.write(KEY, {"metadata": {}}, SLOW)
    assert memory.telling == Telling(held_until=9.0)
    memory.telling = Telling(held=SLOW)
    now = await reporter.claim(context(CLAIMED), memory, {oid("b"): "v1"}, {})
    assert memory.telling == Telling()
    assert now.inventory == {oid("b"): "v1"}


async def test_what_was_not_tried_is_in_the_inventory_and_no_claim_also_for_the_next_process() -> None:
    store, claims = Store(), Claims()
    fleet = Dispatcher(store, claims, "cluster", Woken())
    stubs: tuple[Any, ...] = (None, None, None, store, Written(), None, Metrics(), fleet)
    wanted = {"wants": [{"apiVersion": "v1", "kind": "ConfigMap", "namespace": "shop", "names": ["b", "z"]}]}
    both = {oid("a"): "v1", oid("b"): "v1"}
    now = await Reporter(*stubs).claim(
        context({**CLAIMED, **wanted}), fleet.memory(KEY), both, {}, [oid("b")]
    )
    assert now.inventory == both
    assert now.provisional == {oid("b")}
    meta = {"namespace": KEY.namespace, "name": KEY.name, "generation": 1}
    after = Dispatcher(store, claims, "cluster", Woken())
    after.seen({"metadata": meta, "status": {**now.previous, "observedGeneration": 1}})
    assert [claims.owner(oid(name)) for name in "abz"] == [KEY, None, None]
    assert claims.awaited(SyncKey("x", "y"), [oid(n) for n in "abz"]).keys() == {oid("b"), oid("z")}
    now = await Reporter(*stubs).claim(now, fleet.memory(KEY), both, {})
    assert now.provisional == frozenset()
    assert "names" in str(now.previous["wants"])


def test_a_run_is_settled_if_it_is_complete_and_leaves_nothing_to_do_or_to_wait_for() -> None:
    done, known = reached(complete=True), Evaluation(Commit.KNOWN, CURRENT, target(ref("a")))
    assert done.settled(known)
    some = {ObjectId("", "ConfigMap", "shop", "a"): "v1"}
    problem = Problem(Reason.PruneWaiting, "waits")
    for left in (PruneResult(kept=some), PruneResult(lent=some), PruneResult(released=some)):
        assert not replace(done, pruned=left).settled(known)
    assert not replace(done, contested=dict.fromkeys(some, KEY)).settled(known)
    assert not replace(done, problem=problem).settled(known)
    assert not replace(done, waiting=problem).settled(known)
    assert not replace(done, pruned=PruneResult(waiting=problem)).settled(known)
    broken = Problem(Reason.RenderFailed, "a.yaml")
    assert reached(problem=broken).settled(Evaluation(Commit.BROKEN, CURRENT, problem=broken))
    none = Problem(Reason.SourceNotReady, "none yet", retry=False)
    assert not reached(problem=none).settled(Evaluation(Commit.BROKEN, problem=none))
    assert not replace(done, pruned=PruneResult(refused="too many")).settled(known)
    assert not replace(done, retry=True).settled(known)
    assert not replace(done, pruned=PruneResult(retry=True)).settled(known)
    assert not reached().settled(known)


@pytest.mark.parametrize(("reason", "retry"), [(Reason.Immutable, False), (Reason.AdmissionDenied, True)])
def test_what_is_rejected_is_no_business_of_other_commits(reason: Reason, retry: bool) -> None:
    known = Evaluation(Commit.KNOWN, CURRENT, target(ref("a")))
    failed = ApplyResult(failed={oid("a"): Problem(reason, "a.yaml:1")})
    made = reached(retry=retry, applied=failed)
    assert made.settled(known)
    assert made.retries is retry
    made = replace(made, problem=Problem(Reason.ApiUnavailable, "no answer", retry=True))
    assert not made.settled(known)
    assert made.retries
