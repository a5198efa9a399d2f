"""Objects that end by themselves run once for each manifest, and again only if somebody deletes them too soon."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.e2e.conftest import World, config
from tests.kit.api import PLURALS, Json, condition, is_ready
from tests.kit.pods import UnderTest

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
