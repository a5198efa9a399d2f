"""One member of a union replaces another: where nobody owns the old one it goes, and Git's is alone from then on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import World
from tests.kit.api import Json, says
from tests.kit.pods import UnderTest
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.apirules import Request, reply

pytestmark = pytest.mark.cluster

TROUBLES = Path(__file__).parents[3] / "shared" / "data" / "troubles"
AWAY = b'{"kind":"Status","code":500,"reason":"InternalError","message":"etcd is away"}'
HTTP: Json = {"httpGet": {"path": "/", "port": 80}}
TCP: Json = {"tcpSocket": {"port": 80}}
ONE_BACKEND: Json = {"service": {"name": "s", "port": {"number": 80}}}


def workload(name: str, kind: str = "Deployment", pod: Json | None = None, **spec: Any) -> Json:
    """A workload without pods, as this is about its manifest."""
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [main()], **(pod or {})}}
    more: Json = {"replicas": 0} if kind != "DaemonSet" else {}
    if kind == "StatefulSet":
        more["serviceName"] = name
    if kind == "DaemonSet":
        template["spec"]["nodeSelector"] = {"example.org/none": "true"}
    whole = {**more, "selector": {"matchLabels": labels}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": whole}


def main(**more: Any) -> Json:
    return {"name": "main", "image": "registry.example.org/a:1", **more}


def volume(**source: Any) -> Json:
    """The spec of a pod with one volume."""
    return {
        "containers": [main(volumeMounts=[{"name": "v", "mountPath": "/v"}])],
        "volumes": [{"name": "v", **source}],
    }


def ingress(name: str, **spec: Any) -> Json:
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress"}
    return {**kind, "metadata": {"name": name}, "spec": spec}


def listed(objects: list[Json]) -> str:
    """Return objects as one file."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})


def commit(world: World, objects: list[Json], title: str) -> str:
    """Commit these objects as the only ones, and wait until they are applied."""
    sha = world.repo.commit({"all.yaml": listed(objects)}, title)
    world.until("Sync", "app", at(sha))
    return sha


def at(sha: str):  # type: ignore[no-untyped-def]
    return lambda o: o and ((o.get("status") or {}).get("applied") or {}).get("revision", "").endswith(sha)


def live(world: World, objects: list[Json]) -> dict[str, Json]:
    """Return the live objects by name."""
    text = world.cluster.kubectl(
        *("get", "-o", "json", "--show-managed-fields", "-n", world.target, "-f", "-"), input=listed(objects)
    )
    return named(text)


def named(text: str) -> dict[str, Json]:
    """Return what kubectl printed, a list, or one object or several, by name."""
    found: list[Json] = []
    while text := text.strip():
        one, end = json.JSONDecoder().raw_decode(text)
        found += one.get("items", [one])
        text = text[end:]
    return {o["metadata"]["name"]: o for o in found}


def anew(world: World, text: str) -> dict[str, Json]:
    """Return the specs that the API server would make of manifests if the objects were not there."""
    made = world.cluster.kubectl(
        *("create", "--dry-run=server", "-o", "json", "-n", world.namespace, "-f", "-"), input=text
    )
    return specs(named(made))


def specs(objects: dict[str, Json]) -> dict[str, Json]:
    return {name: o["spec"] for name, o in objects.items()}


def managers(obj: Json) -> set[tuple[str, str]]:
    """Return the managers that own anything but the status, and how they came by it."""
    entries = (e for e in obj["metadata"]["managedFields"] if not e.get("subresource"))
    controllers = ("kube-controller-manager",)
    return {(e["manager"], e["operation"]) for e in entries if e["manager"] not in controllers}


def equal_to_new_ones(world: World, objects: list[Json]) -> None:
    """Check that live objects are as Git's would be if they were created now, and that Git alone owns them."""
    found = live(world, objects)
    assert specs(found) == anew(world, listed(objects))
    assert {name: managers(o) for name, o in found.items()} == {
        name: {("setpoint", "Apply")} for name in found
    }


def uncorrected(world: World, sha: str) -> None:
    """Check that none of it was taken for drift, and that all is settled."""
    status = world.until("Sync", "app", at(sha))["status"]
    assert status["summary"]["corrected"] == 0
    assert not status.get("driftLog")


def test_a_default_gives_way_and_comes_back(world: World) -> None:
    recreate: Json = {"type": "Recreate"}
    before = [
        workload("plain"),
        workload("null"),
        workload("volume", pod=volume()),
        workload("journal", "StatefulSet"),
    ]
    after = [
        workload("plain", strategy=recreate),
        workload("null", strategy={**recreate, "rollingUpdate": None}),
        workload("volume", pod=volume(configMap={"name": "c"})),
        workload("journal", "StatefulSet", updateStrategy={"type": "OnDelete"}),
    ]
    world.source()
    world.sync()
    commit(world, before, "Nothing of it")
    commit(world, after, "Set")
    equal_to_new_ones(world, after)
    assert world.get("Deployment", "plain")["spec"]["strategy"] == recreate
    sha = commit(world, before, "Dropped again")
    equal_to_new_ones(world, before)
    uncorrected(world, sha)


def probed(**container: Any) -> Json:
    return {"containers": [main(**container), {"name": "side", "image": "registry.example.org/b:1"}]}


def taken_over() -> tuple[list[Json], list[Json]]:
    """What is adopted, and what replaces its members."""
    field = {"fieldRef": {"fieldPath": "spec.nodeName"}}
    before = [
        workload("probe", pod=probed(livenessProbe=HTTP, lifecycle={"preStop": HTTP})),
        workload("env", pod=probed(env=[{"name": "E", "valueFrom": field}])),
        workload("volumes", pod=volume(configMap={"name": "c", "optional": True})),
        workload("rolling", strategy={"rollingUpdate": {"maxSurge": 2}}),
        ingress("backend", defaultBackend=ONE_BACKEND),
    ]
    bucket = {"resource": {"apiGroup": "example.org", "kind": "Bucket", "name": "b"}}
    exec_ = {"exec": {"command": ["x"]}}
    after = [
        workload("probe", pod=probed(livenessProbe=TCP, lifecycle={"preStop": exec_})),
        workload("env", pod=probed(env=[{"name": "E", "value": "fixed"}])),
        workload("volumes", pod=volume(secret={"secretName": "c", "optional": True})),
        workload("rolling", strategy={"type": "Recreate"}),
        ingress("backend", defaultBackend=bucket),
    ]
    return before, after


def renamed(objects: list[Json], prefix: str) -> list[Json]:
    return [{**o, "metadata": {"name": f"{prefix}-{o['metadata']['name']}"}} for o in objects]


FORMER = (
    "helm",
    "helm-controller",
    "kustomize-controller",
    "argocd-controller",
    "argocd-application-controller",
)
"""The managers of tools that wrote by Update, and so own the defaults, too."""


def of_tool(objects: list[Json], tool: str) -> list[Json]:
    """Return objects as those of a tool: all for one, as the others differ from it by the name of the manager alone."""
    chosen = objects if tool == FORMER[0] else [o for o in objects if o["metadata"]["name"] != "backend"][:2]
    return renamed(chosen, tool)


def test_members_of_adopted_objects_are_replaced_and_what_git_drops_goes(world: World) -> None:
    """Some are adopted as they are and changed later, most are changed at their adoption."""
    before, after = taken_over()
    where = ("-n", world.target, "-f", "-")
    world.cluster.kubectl("apply", *where, input=listed(renamed(before, "kubectl")))
    for tool in FORMER:
        manager = f"--field-manager={tool}"
        world.cluster.kubectl("create", manager, *where, input=listed(of_tool(before, tool)))
    # Flux of today applies on the server, and owns what it sets alone.
    flux = ("--server-side", "--field-manager=kustomize-controller")
    world.cluster.kubectl("apply", *flux, *where, input=listed(of_tool(before, "flux")))

    def every(objects: list[Json]) -> list[Json]:
        return [o for tool in (*FORMER, "flux") for o in of_tool(objects, tool)]

    made = live(world, every(before))
    for tool in FORMER:
        assert managers(made[f"{tool}-probe"]) == {(tool, "Update")}

    sha = world.repo.commit(
        {"all.yaml": listed([*renamed(before, "kubectl"), *every(after)])}, "Adopted, most with other members"
    )
    world.source()
    world.sync()
    world.until("Sync", "app", at(sha))
    last = [*renamed(after, "kubectl"), *every(after)]
    commit(world, last, "Other members")
    found = live(world, last)
    assert specs(found) == anew(world, listed(last))
    # What they had made inside of a node that Git sets is nobody's, and no patch of ours has left anything.
    assert {m for o in found.values() for m in managers(o)} <= {
        ("setpoint", "Apply"),
        ("setpoint-adopted", "Apply"),
    }
    plain = [workload(o["metadata"]["name"]) for o in before if o["kind"] == "Deployment"]
    dropped = [*renamed(plain, "kubectl"), *every(plain)]
    sha = commit(world, dropped, "One container, and nothing of it")
    assert specs(live(world, dropped)) == anew(world, listed(dropped))
    uncorrected(world, sha)


@pytest.mark.skipif(not TROUBLES.exists(), reason="the reported troubles are not on this machine")
def test_the_reported_troubles(world: World) -> None:
    def texts(trouble: str, stage: str) -> str:
        return (TROUBLES / trouble / stage / "app.yaml").read_text()

    adopted = "07-adopt-then-remove"
    world.cluster.kubectl("apply", "-n", world.target, "-f", "-", input=texts(adopted, "before"))
    world.source()
    world.sync()
    for number in (1, 2, 3):
        files = {
            "1.yaml": texts("01-strategy-recreate", f"commit-{min(number, 2)}"),
            "7.yaml": texts(adopted, f"commit-{number}"),
        }
        sha = world.repo.commit(files, f"Commit {number}")
        world.until("Sync", "app", at(sha))
    portal = world.get("Deployment", "portal")["spec"]
    assert {"portal": portal} == anew(world, texts(adopted, "commit-3"))
    assert world.get("Deployment", "ledger")["spec"]["strategy"] == {"type": "Recreate"}
    uncorrected(world, sha)


def test_what_somebody_else_owns_stays_and_is_named(world: World) -> None:
    job: Json = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "job"},
        "spec": {
            "suspend": True,
            "template": {"spec": {"restartPolicy": "Never", **probed(livenessProbe=HTTP)}},
        },
    }
    world.cluster.kubectl("create", "-n", world.target, "-f", "-", input=json.dumps(job))
    world.source()
    files = {"d.yaml": workload("d"), "left.yaml": workload("left"), "job.yaml": job}
    sha = world.repo.commit({name: json.dumps(o) for name, o in files.items()}, "First")
    target = {"kind": "Deployment", "name": "left"}
    world.sync(ignore=[{"target": target, "paths": ["/spec/strategy/rollingUpdate/maxSurge"]}])
    world.until("Sync", "app", at(sha))
    theirs = {"spec": {"strategy": {"rollingUpdate": {"maxSurge": 3}}}}
    world.api.merge("Deployment", world.target, "d", theirs, manager="surge-controller")
    recreate, left = (workload(name, strategy={"type": "Recreate"}) for name in ("d", "left"))
    sha = world.repo.commit({"d.yaml": json.dumps(recreate), "left.yaml": json.dumps(left)}, "Recreate")
    sync = world.until("Sync", "app", says("Invalid", "surge-controller"))
    assert "spec.strategy.rollingUpdate" in sync["status"]["conditions"][0]["message"]
    assert world.get("Deployment", "d")["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == 3
    # What a rule names is not taken away, though nobody owns it.
    messages = {d["name"]: d["message"] for d in sync["status"]["differences"]}
    assert (
        "spec.strategy.rollingUpdate is not in Git and is left to others by spec.ignore" in messages["left"]
    )
    assert world.get("Deployment", "left")["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == "25%"
    world.api.merge("Sync", world.namespace, "app", {"spec": {"ignore": None}})
    # They let go of it: the value is nobody's then, and gives way.
    mine = [
        e
        for e in live(world, [recreate])["d"]["metadata"]["managedFields"]
        if e["manager"] != "surge-controller"
    ]
    world.api.merge("Deployment", world.target, "d", {"metadata": {"managedFields": mine}})
    world.ask("Sync", "app", "again")
    world.until("Sync", "app", at(sha))
    for name in ("d", "left"):
        assert world.get("Deployment", name)["spec"]["strategy"] == {"type": "Recreate"}
    template = {"spec": {"restartPolicy": "Never", **probed(livenessProbe=TCP)}}
    changed = {**job, "spec": {"suspend": True, "template": template}}
    world.repo.commit({"job.yaml": json.dumps(changed)}, "A Job changes")
    world.until("Sync", "app", says("Immutable"))


class Broken:
    """Fails what a run writes after its patch: the apply of one object, and the last write of another."""

    def __init__(self) -> None:
        self._applied = False

    def __call__(self, request: Request) -> bool:
        """Return whether a write is to fail."""
        if not request.is_write:
            return False
        applies = "apply-patch" in request.content_type
        if request.path.endswith("/deployments/one"):
            return applies
        if request.path.endswith("/deployments/two"):
            self._applied |= applies
            return self._applied and not applies
        return False


def test_what_a_crash_left_between_patch_apply_and_entry_is_repaired(
    world: World, proxy: ApiProxy, operator: UnderTest
) -> None:
    before = [workload("one"), workload("two")]
    after = [workload(name, strategy={"type": "Recreate"}) for name in ("one", "two")]
    world.source()
    world.sync()
    commit(world, before, "First")
    with proxy.on(Broken(), reply(500, AWAY)):
        sha = world.repo.commit({"all.yaml": listed(after)}, "Second")
        world.until("Sync", "app", says("ApiUnavailable"))
        operator.stop()
    left = list(live(world, after).values())
    assert [o["spec"]["strategy"] for o in left] == [{"type": "Recreate"}] * 2
    assert [("setpoint", "Update") in managers(o) for o in left] == [True] * 2
    operator.start()
    world.until("Sync", "app", at(sha))
    equal_to_new_ones(world, after)
    uncorrected(world, sha)
    commit(world, before, "Dropped again")
    equal_to_new_ones(world, before)
