"""Objects that end by themselves run once for each manifest, and again only if somebody deletes them too soon."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.e2e.conftest import World, config
from tests.kit.api import PLURALS, Json, condition, is_ready, says
from tests.kit.pods import UnderTest
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.apirules import reply

pytestmark = pytest.mark.cluster


@pytest.fixture(autouse=True, scope="module")
def jobs() -> Iterator[None]:
    PLURALS["Job"] = ("apis/batch/v1", "jobs")
    yield
    del PLURALS["Job"]


def job(name: str, ttl: int | None) -> str:
    container = {"name": "main", "image": "registry.example.org/migrate:1"}
    pod = {"restartPolicy": "Never", "containers": [container]}
    spec: Json = {"template": {"spec": pod}, "backoffLimit": 0}
    if ttl is not None:
        spec["ttlSecondsAfterFinished"] = ttl
    return json.dumps({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec})


def finish(world: World, name: str, phase: str = "Succeeded") -> str:
    """Play the node: the Job's pod ends; returns the uid of the Job."""
    path = world.api.path("Pod", world.target)
    uid = world.until("Job", name, lambda o: o and (o.get("status") or {}).get("active"))["metadata"]["uid"]
    pods = world.api.find(f"{path}?labelSelector=batch.kubernetes.io/job-name={name}")
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    code = 0 if phase == "Succeeded" else 1
    state = {"terminated": {"exitCode": code, "finishedAt": now, "startedAt": now}}
    main = {"name": "main", "image": "x", "imageID": "x", "ready": False, "restartCount": 0, "state": state}
    for pod in pods:
        body = {"status": {"phase": phase, "containerStatuses": [main]}}
        where = f"{path}/{pod['metadata']['name']}/status"
        world.api.request("PATCH", where, body, "application/merge-patch+json").close()
    return str(uid)


def gone(o: Json | None) -> bool:
    return o is None


def completed(count: int) -> Any:
    def fits(o: Json | None) -> bool:
        return bool(((o or {}).get("status") or {}).get("summary", {}).get("completed") == count)

    return fits


def test_jobs_that_ended_by_themselves_run_once(world: World, operator: UnderTest) -> None:
    """TTL 0, a short one, a failure, one deleted too soon, and one that ends while nobody looks."""
    files = {f"{n}.yaml": job(n, ttl) for n, ttl in {"zero": 0, "short": 3, "fails": 1, "long": 600}.items()}
    files |= {"down.yaml": job("down", 1), "kept.yaml": job("kept", 5)}
    world.repo.commit(files, "Jobs")
    world.source()
    world.sync()
    # A deletion by hand, while it runs and after it has finished, runs it again.
    first = world.until("Job", "long", lambda o: o is not None)["metadata"]["uid"]
    world.api.delete("Job", world.target, "long")
    second = world.until("Job", "long", lambda o: o and o["metadata"]["uid"] != first)["metadata"]["uid"]
    finish(world, "long")
    world.until("Job", "long", lambda o: condition(o, "Complete"))
    world.api.delete("Job", world.target, "long")
    world.until("Job", "long", lambda o: o and o["metadata"]["uid"] not in (first, second))
    finish(world, "long")
    for name in ("zero", "short"):
        finish(world, name)
    finish(world, "fails", "Failed")
    for name in ("zero", "short", "fails"):
        world.until("Job", name, gone)
    sync = world.until("Sync", "app", completed(2))
    sync = world.until("Sync", "app", lambda o: condition(o, "Healthy").get("reason") == "Degraded")
    assert "failed and is gone" in condition(sync, "Healthy")["message"]
    # The operator is down across the end of one Job, and between finish and TTL of another.
    finish(world, "kept")
    world.until(
        "Sync",
        "app",
        lambda o: (
            o and any("kept" in g["digests"] and g["state"] == "Succeeded" for g in o["status"]["endings"])
        ),
    )
    operator.stop()
    finish(world, "down")
    for name in ("down", "kept"):
        world.until("Job", name, gone)
    operator.start()
    sync = world.until("Sync", "app", completed(4))
    # Neither a commit that has nothing to do with them nor another interval runs them again; one that changes one does.
    world.repo.commit({"fails.yaml": None, "else.yaml": config("else", k="1")}, "Something else")
    world.sync(interval="2h")
    world.until("ConfigMap", "else", lambda o: o is not None)
    sync = world.until("Sync", "app", is_ready)
    assert "4 completed; the result of Job" in condition(sync)["message"]
    assert "down" in condition(sync)["message"]
    names = {j["metadata"]["name"] for j in world.api.list("Job", world.target)}
    assert names == {"long"}
    world.repo.commit({"zero.yaml": job("zero", 1)}, "Another manifest")
    world.until("Job", "zero", lambda o: o is not None)


# --- while nobody looks

FORBIDDEN = b'{"kind":"Status","code":403,"reason":"Forbidden","message":"no"}'
JOBS = "/apis/batch/v1/jobs"


def state_of(world: World, name: str) -> str:
    """Return how far a Job is, as the status holds it."""
    groups = world.status().get("endings") or []
    return next((g["state"] for g in groups if name in g["digests"]), "")


def ask(world: World, value: str) -> None:
    """Have all objects looked at."""
    world.ask("Sync", "app", value)
    world.until("Sync", "app", lambda o: o and o["status"].get("requested") == value)


def names_of(world: World) -> set[str]:
    return {j["metadata"]["name"] for j in world.api.list("Job", world.target)}


def test_jobs_that_end_while_nobody_looks_run_once(
    world: World, operator: UnderTest, proxy: ApiProxy
) -> None:
    """While the Sync is suspended, the watch lags, or the kind may not be watched."""
    files = {f"{n}.yaml": job(n, 1) for n in ("rests", "down", "lags", "unseen")}
    world.repo.commit({**files, "stays.yaml": job("stays", 0), "long.yaml": job("long", 600)}, "Jobs")
    world.source(interval="1h")
    world.sync()
    for name in ("rests", "down", "lags", "unseen", "stays", "long"):
        world.until("Job", name, lambda o: o and (o.get("status") or {}).get("active"))
    # The watch tells nothing for a while: somebody who looks again finds one missing, and makes it not again.
    world.until("Sync", "app", lambda o: o and o["status"].get("endings"))
    assert proxy.mute_open(lambda r: r.is_watch and r.path == JOBS)
    finish(world, "lags")
    world.until("Job", "lags", gone)
    ask(world, "muted")
    assert "lags" not in names_of(world)
    proxy.cut_open(lambda r: r.is_watch and r.path == JOBS)
    world.until("Sync", "app", completed(1))
    # A suspended Sync tells what became of its objects, and resumes with that, also if nobody saw it.
    world.sync(suspend=True)
    world.until("Sync", "app", says("Suspended"))
    finish(world, "rests")
    world.until("Job", "rests", gone)
    world.until("Sync", "app", completed(2))
    assert state_of(world, "rests") == "Succeeded"
    operator.stop()
    finish(world, "down")
    world.until("Job", "down", gone)
    # From here on Jobs may not be watched.
    with proxy.on(lambda r: r.path == JOBS, reply(403, FORBIDDEN)):
        operator.start()
        world.sync(suspend=False)
        world.until("Sync", "app", completed(3))
        assert (state_of(world, "rests"), state_of(world, "down")) == ("Succeeded", "Unknown")
        # What is there is not taken for done, though its end might have come by now; what went is.
        assert state_of(world, "stays") == "Running"
        first = world.get("Job", "long")["metadata"]["uid"]
        finish(world, "unseen")
        world.until("Job", "unseen", gone)
        world.api.delete("Job", world.target, "long")
        ask(world, "unwatched")
        world.until("Job", "long", lambda o: o and o["metadata"]["uid"] != first)
        world.until("Sync", "app", completed(4))
        assert names_of(world) == {"long", "stays"}
    operator.stop()
    operator.start()
    ask(world, "watched")
    assert names_of(world) == {"long", "stays"}
    assert world.status()["summary"]["completed"] == 4


def test_what_is_done_costs_nothing_and_holds_up_nothing(
    world: World, operator: UnderTest, proxy: ApiProxy
) -> None:
    """A wave behind it, a restart, another commit, its own end in Git, and the end of the Sync."""

    def later(name: str, wave: str, k: str = "1") -> str:
        obj = json.loads(config(name, k=k))
        obj["metadata"]["annotations"] = {"setpoint.dev/wave": wave}
        return json.dumps(obj)

    files = {"one.yaml": job("one", 0), "two.yaml": job("two", 0), "after.yaml": later("after", "1")}
    world.repo.commit(files, "Jobs before a ConfigMap")
    world.source(interval="1h")
    world.sync()
    for name in ("one", "two"):
        assert world.seek("ConfigMap", "after") is None
        finish(world, name)
        world.until("Job", name, gone)
    world.until("ConfigMap", "after", lambda o: o is not None)
    before = world.until("Sync", "app", lambda o: is_ready(o) and completed(2)(o))
    assert (before["status"]["summary"]["drifted"], before["status"]["summary"]["corrected"]) == (0, 0)
    assert "driftLog" not in before["status"]
    # A restart lists, and writes nothing.
    operator.stop()
    proxy.clear()
    operator.start()
    world.ask("Source", "src", "again")
    world.until("Source", "src", lambda o: o and o["status"].get("requested") == "again")
    # The next commit goes through the wave that has nothing but done Jobs, and touches none of them.
    world.repo.commit({"next.yaml": later("next", "1")}, "Next")
    world.ask("Source", "src", "next")
    world.until("ConfigMap", "next", lambda o: o is not None)
    after = world.until("Sync", "app", lambda o: is_ready(o) and o["status"]["summary"]["objects"] == 4)
    about = [r for r in proxy.requests if world.target in r.path and not r.is_watch]
    assert [(r.path.rpartition("/")[2], r.is_dry_run) for r in about] == [("next", True), ("next", False)]
    assert after["status"]["endings"] == before["status"]["endings"]
    assert after["status"]["history"][0]["trigger"] == "Commit"
    mine = f"/namespaces/{world.namespace}/syncs/app"
    assert len([r for r in proxy.writes if mine in r.path]) == 2, "the inventory, and the result"
    # What leaves Git leaves the status, and nothing is deleted that is not there.
    proxy.clear()
    world.repo.commit({"one.yaml": None}, "Without one")
    world.ask("Source", "src", "without")
    sync = world.until("Sync", "app", lambda o: is_ready(o) and o["status"]["summary"]["objects"] == 3)
    assert [g["digests"].keys() for g in sync["status"]["endings"]] == [{"two"}]
    assert not any("one" in g["names"] for g in sync["status"]["inventory"])
    assert not [r for r in proxy.writes if world.target in r.path]
    world.api.delete("Sync", world.namespace, "app")
    world.until("Sync", "app", gone)
    world.until("ConfigMap", "after", gone)
    assert not [
        r for r in proxy.writes if "/jobs" in r.path and world.target in r.path and r.method != "DELETE"
    ]
    assert names_of(world) == set()
