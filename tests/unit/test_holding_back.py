"""A status that only says how far a rollout is waits a moment: most rollouts end before anybody could read it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.samples import KEY, SHA, Woken, oid, ref, run, target

from setpoint.change import Action, Change
from setpoint.claims import Claims
from setpoint.fleet import Fleet
from setpoint.memory import Memory
from setpoint.objects import ObjectId, SyncKey
from setpoint.reasons import Problem, Reason
from setpoint.remotes import Current, Repository, parse_url
from setpoint.run import HOLD_SECONDS, Run
from setpoint.store import Store

INVENTORY = [{"apiVersion": "v1", "kind": "ConfigMap", "namespace": "shop", "names": ["a"]}]


def said(reason: str, **more: Any) -> dict[str, Any]:
    ready = "True" if reason == "Succeeded" else "False"
    return {
        "inventory": INVENTORY,
        "conditions": [{"type": "Ready", "status": ready, "reason": reason}],
        **more,
    }


CURRENT = Current(Repository(parse_url("https://git.example.org/team/app")), SHA, f"main@sha1:{SHA}", False)
SLOW, DONE = said("Progressing"), said("Succeeded")
CLAIMED = {"inventory": INVENTORY}


def after_writing(memory: Memory, stored: dict[str, Any]) -> Run:
    made = run(memory, stored)
    made.applied.written.append(
        Change(ObjectId("", "ConfigMap", "shop", "a"), Action.CREATE, Reason.Missing, "")
    )
    return made


def test_progress_is_told_when_it_lasts_a_second_and_then_once_a_second() -> None:
    memory = Memory()
    first = after_writing(memory, CLAIMED)
    assert first.hold_back(SLOW, 10.0)
    assert (first.again, memory.held) == (HOLD_SECONDS, SLOW)
    second = run(memory, CLAIMED)
    assert second.previous == SLOW
    assert second.stored == CLAIMED
    assert second.hold_back({**SLOW, "summary": {"healthy": 1}}, 10.4)
    assert second.again == pytest.approx(0.6)
    assert not run(memory, CLAIMED).hold_back(SLOW, 11.0)
    memory.held = None  # it was written
    assert run(memory, SLOW).hold_back({**SLOW, "summary": {"healthy": 2}}, 11.9)
    assert not run(memory, SLOW).hold_back({**SLOW, "summary": {"healthy": 3}}, 12.0)


def test_the_end_is_told_at_once() -> None:
    memory = Memory()
    assert after_writing(memory, CLAIMED).hold_back(SLOW, 10.0)
    assert not run(memory, CLAIMED).hold_back(DONE, 10.1)
    assert not run(memory, CLAIMED).hold_back(said("Degraded"), 10.1)


@pytest.mark.parametrize(
    ("stored", "new"),
    [
        (CLAIMED, said("Progressing", inventory=[])),
        (CLAIMED, said("Progressing", requested="now")),
        (CLAIMED, said("Progressing", driftLog=[{"name": "a"}])),
    ],
    ids=["inventory", "answer", "drift"],
)
def test_what_others_go_by_is_told_at_once(stored: dict[str, Any], new: dict[str, Any]) -> None:
    assert not after_writing(Memory(), stored).hold_back(new, 10.0)


def test_a_rollout_that_nothing_was_written_for_is_told_at_once() -> None:
    assert not run(Memory(), DONE).hold_back(SLOW, 10.0)


def test_nobody_goes_by_a_status_that_is_held_back() -> None:
    queue = Woken()
    woken = queue.keys
    store, dependent = Store(), SyncKey("team", "next")
    for key, spec in ((KEY, {}), (dependent, {"dependsOn": [{"name": KEY.name}]})):
        meta = {"namespace": key.namespace, "name": key.name, "uid": key.name, "resourceVersion": "1"}
        store.put_sync({"metadata": meta, "spec": {"source": {"name": "src"}, **spec}})
    fleet = Fleet(store, Claims(), "cluster", queue)
    fleet.evaluated(KEY, SHA, 1)
    assert not fleet.has_seen(KEY, SHA, 1)
    fleet.memory(KEY).held = SLOW
    fleet.told(KEY)
    assert fleet.has_seen(KEY, SHA, 1)
    assert fleet.memory(KEY).held is None
    assert woken == [dependent]
    fleet.told(KEY)
    fleet.evaluated(KEY, SHA, 1)
    assert fleet.has_seen(KEY, SHA, 1)
    assert woken == [dependent]
    fleet.evaluated(KEY, "b" * 40, 1)
    assert not fleet.has_seen(KEY, "b" * 40, 1)


def test_a_run_is_settled_if_it_is_complete_and_leaves_nothing_to_do_or_to_wait_for() -> None:
    def done(**more: Any) -> Run:
        made = run()
        for name, value in {"complete": True, **more}.items():
            setattr(made, name, value)
        return made

    assert done().settled
    some = {ObjectId("", "ConfigMap", "shop", "a"): "v1"}
    problem = Problem(Reason.PruneWaiting, "waits")
    for name in ("kept", "contested", "lent", "released"):
        assert not done(**{name: some}).settled, name
    for name in ("problem", "waiting"):
        assert not done(**{name: problem}).settled, name
    assert done(complete=False, problem=Problem(Reason.RenderFailed, "a.yaml"), current=CURRENT).settled
    assert not done(complete=False, problem=Problem(Reason.SourceNotReady, "none yet", retry=False)).settled
    assert not done(refused="too many").settled
    assert not done(retry=True).settled
    assert not done(complete=False).settled


@pytest.mark.parametrize(("reason", "retry"), [(Reason.Immutable, False), (Reason.AdmissionDenied, True)])
def test_what_is_rejected_is_no_business_of_other_commits(reason: Reason, retry: bool) -> None:
    made = run()
    made.target, made.retry = target(ref("a")), retry
    made.applied.failed[oid("a")] = Problem(reason, "a.yaml:1")
    assert made.settled
    assert made.retries is retry
    made.problem = Problem(Reason.ApiUnavailable, "no answer", retry=True)
    assert not made.settled
    assert made.retries
