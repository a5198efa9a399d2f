"""Two operators, one lease: who takes over when, and why the other does no harm."""

from __future__ import annotations

import signal
import time
from datetime import datetime, timedelta

import pytest
from tests.e2e.conftest import World, config
from tests.e2e.test_sync import ready_at
from tests.kit.api import Json
from tests.kit.servers.apirules import Hold, Request
from tests.lifecycle.conftest import Replica, Stage, of_lease

from setpoint.settings import Settings

pytestmark = pytest.mark.cluster

DEFAULT = f"{Settings().lease_duration:g}s"
ENDLESS = "50m"
SHORT = "15s"
REQUIRED_SECONDS = 15


def held(world: World, sha: str) -> Json:
    """Wait until the Sync is Ready at a commit."""
    return world.until("Sync", "app", ready_at(sha))


def prepared(stage: Stage, duration: str, **files: str) -> tuple[Replica, Replica, str]:
    """Return a leader, whose Sync is Ready at the commit that is returned too, and a standby."""
    leader = stage.replica(SETPOINT_LEASE_DURATION=duration)
    leader.until_leading()
    sha = stage.world.repo.commit({f"{n}.yaml": config(n, k=k) for n, k in files.items()}, "First")
    stage.world.source()
    stage.world.sync()
    held(stage.world, sha)
    standby = stage.replica(SETPOINT_LEASE_DURATION=duration)
    standby.until_waiting()
    assert leader.leads
    return leader, standby, sha


def edited(world: World, name: str) -> None:
    """Change an object by hand, and see it put back."""
    before = world.status()["summary"]["corrected"]
    good = world.get("ConfigMap", name)
    world.api.merge("ConfigMap", world.target, name, {"data": {"k": "by hand"}})
    world.until("ConfigMap", name, lambda o: o and o["data"] == good["data"])
    world.until("Sync", "app", lambda o: o and o["status"]["summary"]["corrected"] == before + 1)


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_a_standby_takes_over_one_lease_after_a_kill(stage: Stage) -> None:
    world = stage.world
    leader, standby, _ = prepared(stage, DEFAULT, a="1", b="1")
    leader.stop(signal.SIGKILL)
    last = stage.lease()
    world.api.merge("ConfigMap", world.target, "a", {"data": {"k": "meanwhile"}})
    world.api.delete("ConfigMap", world.target, "b")
    sha = world.repo.commit({"c.yaml": config("c", k="1")}, "While nobody leads")
    held(world, sha)
    world.until("ConfigMap", "a", lambda o: o and o["data"] == {"k": "1"})
    world.until("ConfigMap", "b", lambda o: o and o["data"] == {"k": "1"})
    standby.until_leading()
    now = stage.lease()
    assert now["holderIdentity"] != last["holderIdentity"]
    assert now["leaseTransitions"] == last["leaseTransitions"] + 1
    assert now["leaseDurationSeconds"] < REQUIRED_SECONDS
    # It watched in vain for one lease, looked once, and took it: one lease is all that it waited.
    assert standby.lease_requests()[:4] == ["GET", "WATCH", "GET", "PATCH"]
    waited = moment(now["acquireTime"]) - moment(last["renewTime"])
    assert waited > timedelta(seconds=last["leaseDurationSeconds"])
    print(f"the lease passed on {waited.total_seconds():.2f} s after its last renewal")


def test_a_standby_takes_over_at_once_after_a_clean_stop(stage: Stage) -> None:
    """With a lease this long only the release can have brought it."""
    leader, standby, _ = prepared(stage, ENDLESS, a="1", b="1")
    transitions = stage.lease()["leaseTransitions"]
    assert leader.stop(signal.SIGTERM) == 0
    standby.until_leading()
    assert stage.lease()["leaseTransitions"] == transitions + 1
    # What was held by the one is taken over by the other without touching it.
    assert [r for r in standby.proxy.writes if stage.world.target in r.path] == []
    edited(stage.world, "a")
    sha = stage.world.repo.commit({"b.yaml": config("b", k="2")}, "To the second leader")
    held(stage.world, sha)


def test_a_rolling_restart_passes_the_lease_from_one_to_the_next(stage: Stage) -> None:
    """As a Deployment replaces its pods: the new one waits before the old one is told to stop."""
    leader, standby, sha = prepared(stage, ENDLESS, a="1", b="1")
    versions = {n: stage.world.get("ConfigMap", n)["metadata"]["resourceVersion"] for n in "ab"}
    for number in range(3):
        assert leader.stop(signal.SIGTERM) == 0
        standby.until_leading()
        leader = standby
        standby = stage.replica(SETPOINT_LEASE_DURATION=ENDLESS)
        standby.until_waiting()
        stage.world.ask("Sync", "app", f"round {number}")
        sync = stage.world.until(
            "Sync", "app", lambda o, n=number: o["status"].get("requested") == f"round {n}"
        )
        assert ready_at(sha)(sync)
    assert versions == {n: stage.world.get("ConfigMap", n)["metadata"]["resourceVersion"] for n in "ab"}


def test_a_leader_that_was_frozen_writes_nothing_and_what_it_had_sent_does_no_harm(stage: Stage) -> None:
    """The network keeps two of its writes for as long as it is frozen: it cannot take them back.

    They arrive when another leads, at a newer commit: one is an object that is gone by then, the other differs.
    """
    world = stage.world
    frozen, standby, _ = prepared(stage, SHORT, a="1", b="1", c="1")
    late = Hold()
    frozen.proxy.clear()
    frozen.proxy.on(lambda r: r.is_write and world.target in r.path, late)
    world.repo.commit({"a.yaml": config("a", k="old"), "b.yaml": config("b", k="old")}, "Second")
    frozen.proxy.wait_for(lambda r: r.is_write and world.target in r.path, 2)
    frozen.child.send_signal(signal.SIGSTOP)
    standby.until_leading()
    sha = world.repo.commit({"a.yaml": config("a", k="new"), "b.yaml": None}, "Third")
    held(world, sha)
    world.until("ConfigMap", "b", lambda o: o is None)
    a_later_second(world)

    late.release()
    writes = frozen.proxy.wait_for(lambda r: r.is_write and world.target in r.path and r.ended, 2)
    answers = {r.path.rpartition("/")[2]: r.status for r in writes}
    assert answers == {"a": 200, "b": 409}, "both arrived: the one was taken, the other has nothing to change"
    world.until("ConfigMap", "a", lambda o: o and o["data"] == {"k": "new"})
    sync = world.until("Sync", "app", lambda o: o and o["status"]["summary"]["corrected"] == 1)
    assert ready_at(sha)(sync)
    assert world.seek("ConfigMap", "b") is None

    thawed = time.monotonic()
    frozen.child.send_signal(signal.SIGCONT)
    assert frozen.child.wait(60) == 1, "it ends, and says that this was no clean stop"
    assert [r for r in frozen.proxy.writes if r.started > thawed] == []
    held(world, sha)
    assert standby.leads


def a_later_second(world: World) -> None:
    """Let the API server's clock reach another second: managedFields has no finer times (decision 11)."""
    name = "clock"
    world.api.create("ConfigMap", world.namespace, {"metadata": {"name": name}, "data": {"beat": ""}})

    def second(beat: int) -> str:
        made = world.api.merge("ConfigMap", world.namespace, name, {"data": {"beat": str(beat)}})
        return str(made["metadata"]["managedFields"][-1]["time"])

    first, beat = second(0), 1
    while second(beat) == first:
        beat += 1


def test_a_leader_that_lost_the_lease_ends_and_sends_nothing(stage: Stage) -> None:
    """It reaches the API server, but not for its lease: the other may lead, so it must not write."""
    world = stage.world
    cut_off, standby, _ = prepared(stage, SHORT, a="1", b="1")

    async def never(_request: Request) -> None:
        await Hold()(_request)

    cut_off.proxy.on(of_lease, never)
    standby.until_leading()
    taken = time.monotonic()
    assert cut_off.child.wait(60) == 1
    edited(world, "a")
    writes = [r for r in cut_off.proxy.writes if r.started > taken]
    assert writes == []
