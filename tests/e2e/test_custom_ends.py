"""Objects of custom kinds that end by themselves run once. There are only their CRDs: the test plays their controllers."""

from __future__ import annotations

import json
import time
import urllib.error
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest
from tests.e2e.conftest import World, config
from tests.kit.api import PLURALS, Api, Json, condition, is_ready
from tests.kit.pods import UnderTest

pytestmark = pytest.mark.cluster
SOON = (403, 503)
"""What the server, or its admission, says of a kind that it has only just heard of."""


class Custom(NamedTuple):
    """A kind as its project serves it; `subresource`: whether its status is one."""

    group: str
    version: str
    kind: str
    plural: str
    subresource: bool


KINDS = (
    Custom("tekton.dev", "v1", "TaskRun", "taskruns", True),
    Custom("tekton.dev", "v1", "PipelineRun", "pipelineruns", True),
    Custom("argoproj.io", "v1alpha1", "Workflow", "workflows", False),
    Custom("velero.io", "v1", "Backup", "backups", False),
    Custom("jobset.x-k8s.io", "v1alpha2", "JobSet", "jobsets", True),
)


def crd(of: Custom) -> Json:
    names = {"kind": of.kind, "plural": of.plural, "singular": of.kind.lower(), "listKind": f"{of.kind}List"}
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version: Json = {"name": of.version, "served": True, "storage": True, "schema": schema}
    if of.subresource:
        version["subresources"] = {"status": {}}
    spec = {"group": of.group, "scope": "Namespaced", "names": names, "versions": [version]}
    head = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    return {**head, "metadata": {"name": f"{of.plural}.{of.group}"}, "spec": spec}


@pytest.fixture(scope="module", autouse=True)
def kinds(api: Api) -> Iterator[None]:
    for of in KINDS:
        api.create("CustomResourceDefinition", None, crd(of))
        PLURALS[of.kind] = (f"apis/{of.group}/{of.version}", of.plural)
    for of in KINDS:
        name = f"{of.plural}.{of.group}"
        api.until("CustomResourceDefinition", None, name, lambda o: condition(o, "Established"))
    yield
    for of in KINDS:
        api.delete("CustomResourceDefinition", None, f"{of.plural}.{of.group}")
        del PLURALS[of.kind]


def made(kind: str, name: str, spec: Json, **annotations: str) -> str:
    of = next(k for k in KINDS if k.kind == kind)
    meta: Json = {"name": name, "annotations": annotations} if annotations else {"name": name}
    return json.dumps(
        {"apiVersion": f"{of.group}/{of.version}", "kind": kind, "metadata": meta, "spec": spec}
    )


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def finish(world: World, kind: str, name: str, status: Json) -> None:
    """Play the controller: the object says that it finished."""
    of = next(k for k in KINDS if k.kind == kind)
    edit(world, kind, name, {"status": status}, "/status" if of.subresource else "")


def edit(world: World, kind: str, name: str, body: Json, part: str = "") -> None:
    path = world.api.path(kind, world.target, name) + part
    deadline = time.monotonic() + 60
    while True:
        try:
            world.api.request("PATCH", path, body, "application/merge-patch+json").close()
        except urllib.error.HTTPError as error:
            error.close()
            if error.code not in SOON or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def succeeded(at: str, **more: Any) -> Json:
    return {"completionTime": at, "conditions": [outcome("Succeeded", "True", at)], **more}


def outcome(kind: str, status: str, at: str, message: str = "") -> Json:
    return {
        "type": kind,
        "status": status,
        "lastTransitionTime": at,
        "reason": "Done" if status == "True" else "Failed",
        "message": message,
    }


TTL = "pruner.tekton.dev/ttlSecondsAfterFinished"
FILES = {
    "build": made("TaskRun", "build", {}, **{TTL: "5"}),
    "again": made("TaskRun", "again", {}, **{TTL: "600"}),
    "deploy": made("PipelineRun", "deploy", {}, **{TTL: "5"}),
    "report": made("Workflow", "report", {"ttlStrategy": {"secondsAfterSuccess": 5}}),
    "early": made("Workflow", "early", {"ttlStrategy": {"secondsAfterCompletion": 600}}),
    "nightly": made("Backup", "nightly", {"ttl": "720h0m0s"}),
    "train": made("JobSet", "train", {"ttlSecondsAfterFinished": 5}),
}
WHERE = {name: json.loads(text)["kind"] for name, text in FILES.items()}


def test_runs_and_backups_that_ended_by_themselves_run_once(world: World, operator: UnderTest) -> None:
    """Ended in time, failed, or deleted too soon, before the finish and after it; and after a restart."""
    world.repo.commit({f"{name}.yaml": text for name, text in FILES.items()}, "Runs")
    world.source(interval="1h")
    world.sync()
    first = {n: world.until(k, n, lambda o: o is not None)["metadata"]["uid"] for n, k in WHERE.items()}
    at = ago(10)
    finish(world, "TaskRun", "build", succeeded(at))
    failed = {"completionTime": at, "conditions": [outcome("Succeeded", "False", at, "no such image")]}
    finish(world, "PipelineRun", "deploy", failed)
    finish(world, "Workflow", "report", {"phase": "Succeeded", "finishedAt": at})
    finish(world, "Workflow", "early", {"phase": "Succeeded", "finishedAt": at})
    backup = {"phase": "Completed", "completionTimestamp": ago(100), "expiration": at}
    finish(world, "Backup", "nightly", backup)
    edit(world, "Backup", "nightly", {"metadata": {"finalizers": ["backups.velero.io/external"]}})
    finish(world, "JobSet", "train", {"conditions": [outcome("Completed", "True", at)]})
    # Their time is over, and their controllers delete them; the others somebody deletes.
    for name, kind in WHERE.items():
        world.api.delete(kind, world.target, name)
    for name in ("again", "early"):
        world.until(WHERE[name], name, lambda o, uid=first[name]: o and o["metadata"]["uid"] != uid)

    def told(o: Json | None, completed: int = 4) -> bool:
        summary = ((o or {}).get("status") or {}).get("summary") or {}
        return (summary.get("completed"), summary.get("corrected")) == (completed, 2)

    # One takes its time to go: that is neither a rollout nor something to wait for, whoever looks.
    world.until("Sync", "app", lambda o: told(o, 3))
    world.ask("Sync", "app", "looked")
    sync = world.until("Sync", "app", lambda o: o and o["status"].get("requested") == "looked")
    assert "deletionTimestamp" in world.get("Backup", "nightly")["metadata"]
    assert {d["name"] for d in sync["status"]["differences"]} == {"again", "deploy", "early"}
    edit(world, "Backup", "nightly", {"metadata": {"finalizers": None}})
    world.until("Sync", "app", told)
    sync = world.until("Sync", "app", lambda o: condition(o, "Healthy").get("reason") == "Degraded")
    words = condition(sync, "Healthy")["message"]
    assert ("PipelineRun/" in words, "not run again: no such image" in words) == (True, True), words
    assert condition(sync, "Synced")["status"] == "True"
    # Neither a restart nor a commit about something else runs them again; the failed one goes by a commit.
    operator.stop()
    operator.start()
    world.repo.commit({"else.yaml": config("else"), "deploy.yaml": None}, "Something else")
    world.ask("Source", "src", "else")
    world.until("ConfigMap", "else", lambda o: o is not None)
    finish(world, "TaskRun", "again", succeeded(ago(0)))
    finish(world, "Workflow", "early", {"phase": "Succeeded", "finishedAt": ago(0)})
    sync = world.until("Sync", "app", lambda o: is_ready(o) and told(o))
    assert "4 completed" in condition(sync)["message"]
    there = {o["metadata"]["name"] for of in KINDS for o in world.api.list(of.kind, world.target)}
    assert there == {"again", "early"}
