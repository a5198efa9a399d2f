"""Who owns what: contested objects, hand-over, adoption, foreign tools, ignored fields, reports."""

from __future__ import annotations

import json

import pytest
from tests.e2e.conftest import World, config
from tests.e2e.test_sync import ready_at
from tests.kit.api import condition, is_ready, says

pytestmark = pytest.mark.cluster


def two_syncs(world: World, **one: str) -> None:
    """Have Sync one and Sync two of a folder each Ready; `one` is more of the first one's spec."""
    world.source()
    world.sync("one", path="one", **one)
    world.sync("two", path="two")
    world.until("Sync", "one", is_ready)
    world.until("Sync", "two", is_ready)


def test_a_contested_object_waits_and_is_handed_over_without_being_deleted(world: World) -> None:
    world.repo.commit(
        {"one/x.yaml": config("x", by="one"), "one/y.yaml": config("y"), "two/x.yaml": config("x", by="two")},
        "Both",
    )
    world.source()
    world.sync("one", path="one")
    world.until("Sync", "one", is_ready)
    uid = world.get("ConfigMap", "x")["metadata"]["uid"]
    world.sync("two", path="two")
    world.until("Sync", "two", says("Contested", f"{world.namespace}/one"))
    owner = world.until(
        "Sync", "one", lambda o: any(d["sync"] == "Contested" for d in o["status"].get("differences", []))
    )
    assert is_ready(owner)
    assert world.get("ConfigMap", "x")["data"] == {"by": "one"}
    world.repo.commit({"one/x.yaml": None}, "One lets go")
    world.until("Sync", "two", is_ready)
    after = world.until("ConfigMap", "x", lambda o: o and o["data"] == {"by": "two"})
    assert after["metadata"]["uid"] == uid
    world.until("Sync", "one", lambda o: is_ready(o) and o["status"]["summary"]["objects"] == 1)


def test_moving_an_object_between_syncs_in_one_commit_keeps_it(world: World) -> None:
    world.repo.commit(
        {"one/x.yaml": config("x"), "one/y.yaml": config("y"), "two/z.yaml": config("z")}, "First"
    )
    two_syncs(world)
    uid = world.get("ConfigMap", "x")["metadata"]["uid"]
    sha = world.repo.commit({"one/x.yaml": None, "two/x.yaml": config("x", moved="yes")}, "Move")
    world.until("Sync", "two", ready_at(sha))
    world.until("Sync", "one", ready_at(sha))
    after = world.get("ConfigMap", "x")
    assert (after["metadata"]["uid"], after["data"]) == (uid, {"moved": "yes"})


def test_what_was_edited_by_hand_is_not_handed_over(world: World) -> None:
    world.repo.commit(
        {"one/x.yaml": config("x"), "one/y.yaml": config("y"), "two/z.yaml": config("z")}, "First"
    )
    two_syncs(world, drift="Report")
    world.api.merge("ConfigMap", world.target, "x", {"data": {"extra": "hand"}})
    world.until("Sync", "one", says("Drift", "ConfigMap"))
    sha = world.repo.commit({"one/x.yaml": None, "two/x.yaml": config("x", moved="yes")}, "Move")
    world.until("Sync", "two", ready_at(sha))
    assert world.get("ConfigMap", "x")["data"] == {"moved": "yes"}
    assert world.status("two")["summary"]["corrected"] == 0


def test_a_deleted_sync_hands_over_what_another_wants(world: World) -> None:
    world.repo.commit(
        {"one/x.yaml": config("x", by="one"), "one/y.yaml": config("y"), "two/z.yaml": config("z")}, "First"
    )
    two_syncs(world)
    uid = world.get("ConfigMap", "x")["metadata"]["uid"]
    sha = world.repo.commit({"two/x.yaml": config("x", by="two")}, "Two has it too")
    world.until("Sync", "two", says("Contested", f"{world.namespace}/one"))
    world.api.delete("Sync", world.namespace, "one")
    world.until("Sync", "one", lambda o: o is None)
    world.until("Sync", "two", ready_at(sha))
    after = world.get("ConfigMap", "x")
    assert (after["metadata"]["uid"], after["data"]) == (uid, {"by": "two"})
    assert world.seek("ConfigMap", "y") is None
    world.announced("HandedOver", "one")


def test_a_deleted_sync_waits_for_whoever_takes_its_objects_and_prunes_them_if_nobody_does(
    world: World,
) -> None:
    world.repo.commit({"one/x.yaml": config("x", by="one"), "two/z.yaml": config("z")}, "First")
    two_syncs(world)
    # Two wants it, and may not write: its other object is rejected.
    world.repo.commit(
        {
            "two/x.yaml": config("x", by="two"),
            "two/z.yaml": json.dumps({**json.loads(config("z")), "data": 1}),
        },
        "Two is broken",
    )
    world.until("Sync", "two", says("Invalid"))
    world.api.delete("Sync", world.namespace, "one")
    world.until("Sync", "one", says("Deleting", f"waits until Sync {world.namespace}/two has taken it over"))
    assert world.get("ConfigMap", "x")["data"] == {"by": "one"}
    world.repo.commit({"two/x.yaml": None, "two/z.yaml": config("z")}, "Two gives up")
    world.until("Sync", "one", lambda o: o is None)
    world.until("Sync", "two", is_ready)
    assert world.seek("ConfigMap", "x") is None


def test_adoption_keeps_what_was_there_and_later_additions_go(world: World) -> None:
    world.api.create(
        "ConfigMap",
        world.target,
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "a"},
            "data": {"theirs": "1", "k": "0"},
        },
    )
    world.cluster.kubectl(
        "create", "configmap", "b", "--from-literal=theirs=1", "--from-literal=k=0", "-n", world.target
    )
    world.repo.commit({"a.yaml": config("a", k="1"), "b.yaml": config("b", k="1")}, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", is_ready)
    for name in ("a", "b"):
        assert world.get("ConfigMap", name)["data"] == {"theirs": "1", "k": "1"}
    world.cluster.kubectl(
        "patch", "configmap", "b", "-n", world.target, "--type=merge", "-p", '{"data":{"more":"x"}}'
    )
    world.until("ConfigMap", "b", lambda o: o and o["data"] == {"theirs": "1", "k": "1"})


def test_objects_of_other_tools_are_refused_unless_annotated(world: World) -> None:
    mark = {"app.kubernetes.io/managed-by": "Helm"}
    world.api.create(
        "ConfigMap",
        world.target,
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": mark}},
    )
    world.repo.commit({"a.yaml": config("a", k="1"), "b.yaml": config("b", k="1")}, "First")
    world.source()
    world.sync()
    sync = world.until("Sync", "app", says("Foreign", "Helm"))
    assert "a.yaml" in condition(sync)["message"]
    assert world.seek("ConfigMap", "b") is None
    world.cluster.kubectl("annotate", "configmap", "a", "-n", world.target, "setpoint.dev/adopt=true")
    world.ask("Sync", "app", "1")
    world.until("Sync", "app", is_ready)


def test_on_error_continue_writes_what_passes(world: World) -> None:
    mark = {"app.kubernetes.io/managed-by": "Helm"}
    world.api.create(
        "ConfigMap",
        world.target,
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": mark}},
    )
    world.repo.commit({"a.yaml": config("a", k="1"), "b.yaml": config("b", k="1")}, "First")
    world.source()
    world.sync(onError="Continue")
    world.until("Sync", "app", says("Foreign"))
    assert world.get("ConfigMap", "b")["data"] == {"k": "1"}


def test_ignored_fields_belong_to_others(world: World) -> None:
    world.repo.commit({"a.yaml": config("a", k="1", mine="1")}, "First")
    world.source()
    world.sync(ignore=[{"target": {"kind": "ConfigMap"}, "paths": ["/data/k"]}])
    world.until("Sync", "app", is_ready)
    assert world.get("ConfigMap", "a")["data"] == {"k": "1", "mine": "1"}
    world.api.merge("ConfigMap", world.target, "a", {"data": {"k": "9", "mine": "9"}})
    world.until("ConfigMap", "a", lambda o: o and o["data"] == {"k": "9", "mine": "1"})
    sha = world.repo.commit({"a.yaml": config("a", k="2", mine="2")}, "Second")
    world.until("Sync", "app", ready_at(sha))
    assert world.get("ConfigMap", "a")["data"] == {"k": "9", "mine": "2"}


def test_drift_is_only_reported_where_that_is_asked(world: World) -> None:
    world.repo.commit({"a.yaml": config("a", k="1")}, "First")
    world.source()
    world.sync(drift="Report")
    world.until("Sync", "app", is_ready)
    world.api.merge("ConfigMap", world.target, "a", {"data": {"k": "hand"}})
    sync = world.until("Sync", "app", says("Drift", "ConfigMap"))
    difference = sync["status"]["differences"][0]
    assert difference["patch"] == [{"op": "replace", "path": "/data/k", "value": "1"}]
    assert sync["status"]["summary"]["drifted"] == 1
    assert world.get("ConfigMap", "a")["data"] == {"k": "hand"}
    world.api.merge("ConfigMap", world.target, "a", {"data": {"k": "1"}})
    world.until("Sync", "app", is_ready)


def test_an_operation_is_not_undone(world: World) -> None:
    deployment = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: d}
spec:
  replicas: 0
  selector: {matchLabels: {app: d}}
  template:
    metadata: {labels: {app: d}}
    spec: {containers: [{name: d, image: "d:1"}]}
"""
    world.repo.commit({"d.yaml": deployment, "a.yaml": config("a", k="1")}, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", is_ready)
    world.cluster.kubectl("rollout", "restart", "deployment/d", "-n", world.target)
    world.cluster.kubectl("scale", "deployment/d", "--replicas=2", "-n", world.target)
    world.until("Deployment", "d", lambda o: o and o["spec"]["replicas"] == 0)
    annotations = world.get("Deployment", "d")["spec"]["template"]["metadata"].get("annotations", {})
    assert "kubectl.kubernetes.io/restartedAt" in annotations
    world.cluster.kubectl("set", "env", "deployment/d", "X=1", "-n", world.target)
    world.until(
        "Deployment", "d", lambda o: o and not o["spec"]["template"]["spec"]["containers"][0].get("env")
    )


def test_an_edit_that_an_apply_alone_cannot_undo_is_undone(world: World) -> None:
    """A port and a device path are keys of their lists: an apply would leave both elements, which the API server refuses."""
    service = json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "s"},
            "spec": {
                "type": "NodePort",
                "selector": {"app": "a"},
                "ports": [{"port": 80, "nodePort": 31080}],
            },
        }
    )
    devices = [{"name": "disk", "devicePath": "/dev/a"}]
    pod = {
        "containers": [{"name": "c", "image": "i:1", "volumeDevices": devices}],
        "volumes": [{"name": "disk", "persistentVolumeClaim": {"claimName": "c"}}],
    }
    labels = {"app": "d"}
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    spec["strategy"] = {"type": "Recreate"}
    deployment = json.dumps(
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}
    )
    # On the network of the node a port is the same on both sides, so what he leaves there is refused with the rest of Git.
    ports = [{"containerPort": 80, "hostPort": 80}]
    host = {"hostNetwork": True, "containers": [{"name": "c", "image": "i:1", "ports": ports}]}
    hosted = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "h"},
        "spec": {**spec, "template": {"metadata": {"labels": labels}, "spec": host}},
    }
    files = {"s.yaml": service, "d.yaml": deployment, "h.yaml": json.dumps(hosted)}
    world.repo.commit(files, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", is_ready)
    objects = (("Service", "s"), ("Deployment", "d"), ("Deployment", "h"))
    before = {name: world.get(kind, name)["spec"] for kind, name in objects}
    edits = [
        {"op": "replace", "path": "/spec/ports/0/port", "value": 81},
        {"op": "replace", "path": "/spec/ports/0/targetPort", "value": 8081},
        {"op": "replace", "path": "/spec/selector/app", "value": "b"},
    ]
    other = [
        {
            "op": "replace",
            "path": "/spec/template/spec/containers/0/volumeDevices/0/devicePath",
            "value": "/b",
        },
        {"op": "replace", "path": "/spec/strategy", "value": {"rollingUpdate": {"maxSurge": 1}}},
    ]
    port = {"containerPort": 8081, "hostPort": 18081}
    network = [
        {"op": "remove", "path": "/spec/template/spec/hostNetwork"},
        {"op": "replace", "path": "/spec/template/spec/containers/0/ports/0", "value": port},
    ]
    for name, patch in (("service/s", edits), ("deployment/d", other), ("deployment/h", network)):
        world.cluster.kubectl(
            "patch", name, "--type=json", f"--patch={json.dumps(patch)}", "-n", world.target
        )
    for kind, name in objects:
        world.until(kind, name, lambda o, name=name: o and o["spec"] == before[name])
    sync = world.until("Sync", "app", lambda o: is_ready(o) and o["status"]["summary"]["corrected"] == 3)
    assert {e["manager"] for e in sync["status"]["driftLog"]} == {"kubectl-patch"}
    for kind, name in objects:
        owners = {(e["manager"], e["operation"]) for e in world.get(kind, name)["metadata"]["managedFields"]}
        assert ("setpoint", "Apply") in owners
        assert not {m for m, how in owners if m.startswith("kubectl") or (m, how) == ("setpoint", "Update")}


def secret(**texts: str) -> str:
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": texts}
    return json.dumps(body)


def test_a_secret_in_plain_text_is_held_key_by_key(world: World) -> None:
    world.repo.commit({"s.yaml": secret(user="ana", password="correct-horse")}, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", is_ready)
    patch = json.dumps({"data": {"password": "YmF0dGVyeQ==", "extra": "eA=="}})
    world.cluster.kubectl("patch", "secret/s", "--type=merge", f"--patch={patch}", "-n", world.target)
    held = {"user": "YW5h", "password": "Y29ycmVjdC1ob3JzZQ=="}
    world.until("Secret", "s", lambda o: o and o["data"] == held)
    sync = world.until("Sync", "app", lambda o: is_ready(o) and o["status"]["summary"]["corrected"] == 1)
    assert "correct-horse" not in json.dumps(sync)
    sha = world.repo.commit({"s.yaml": secret(user="ana")}, "No password any more")
    world.until("Sync", "app", ready_at(sha))
    assert world.get("Secret", "s")["data"] == {"user": "YW5h"}


def test_operations_on_an_adopted_object(world: World) -> None:
    """A restart stays; what was scaled is as Git says, or where Git says nothing as it was scaled."""
    made = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  selector: {matchLabels: {app: d}}
  template:
    metadata: {labels: {app: d}}
    spec: {containers: [{name: d, image: "d:1"}]}
"""
    free, plain, fixed = (made.replace("NAME", name) for name in ("free", "plain", "fixed"))
    for text in (free, plain, fixed):
        world.cluster.kubectl("create", "-f", "-", "-n", world.target, input=text)
    # What was scaled to 0 has no owner of that number from then on; of `plain`, the adoption gives it to a manager.
    for name in ("free", "fixed"):
        world.cluster.kubectl("scale", f"deployment/{name}", "--replicas=0", "-n", world.target)
    sha = world.repo.commit(
        {
            "free.yaml": free,
            "plain.yaml": plain,
            "fixed.yaml": fixed.replace("spec:\n", "spec:\n  replicas: 0\n", 1),
        },
        "First",
    )
    world.source()
    world.sync()
    # No node takes the pod of `plain`, so it does not get ready.
    world.until(
        "Sync",
        "app",
        lambda o: (((o or {}).get("status") or {}).get("applied") or {}).get("revision", "").endswith(sha),
    )
    for name in ("free", "plain", "fixed"):
        world.cluster.kubectl("rollout", "restart", f"deployment/{name}", "-n", world.target)
        world.cluster.kubectl("scale", f"deployment/{name}", "--replicas=2", "-n", world.target)
    world.until("Deployment", "fixed", lambda o: o and o["spec"]["replicas"] == 0)
    world.ask("Sync", "app", "all")  # everything is looked at
    world.until("Sync", "app", lambda o: o and o["status"].get("requested") == "all")
    assert [world.get("Deployment", name)["spec"]["replicas"] for name in ("free", "plain")] == [2, 2]
    status = world.api.get("Sync", world.namespace, "app")["status"]
    paths = [(d["name"], op["path"]) for d in status["driftLog"] for op in d["patch"]]
    assert [name for name, path in paths if path == "/spec/replicas"] == ["fixed"]
    for name in ("free", "plain", "fixed"):
        template = world.get("Deployment", name)["spec"]["template"]
        assert "kubectl.kubernetes.io/restartedAt" in template["metadata"]["annotations"]
