"""Bad input meets a clear error in Ready, nothing is lost, and the Syncs beside it stay Ready."""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.error import HTTPError

import pytest
from tests.e2e.conftest import World, config
from tests.e2e.test_sync import ready_at
from tests.kit.api import Api, Json, condition, is_ready, says
from tests.kit.cluster.base import Cluster
from tests.kit.pods import UnderTest
from tests.kit.servers.githttp import GitHttp
from tests.kit.servers.repo import Entry, Symlink

pytestmark = pytest.mark.cluster

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: %s}
spec: {clusterIP: %s, ports: [{port: %s}]}
"""
DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: d}
spec:
  replicas: 0
  selector: {matchLabels: {app: %s}}
  template:
    metadata: {labels: {app: %s}}
    spec: {containers: [{name: d, image: "d:1"}]}
"""
LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{here}: &{here} [{', '.join([f'*{above}'] * 10)}]\n"
    for above, here in zip("abcdefgh", "bcdefghi", strict=True)
)
HEAD = "apiVersion: v1\nkind: ConfigMap\n"


@dataclass(frozen=True)
class Bad:
    """What a second commit brings into a folder that was good, and what Ready must say then."""

    files: dict[str, Entry]
    reason: str
    words: tuple[str, ...]
    first: dict[str, Entry] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)


BAD = {
    "duplicate-key": Bad(
        {"b.yaml": HEAD + "metadata: {name: b}\ndata:\n  k: one\n  k: two\n"},
        "RenderFailed",
        ("b.yaml:6", "duplicate key 'k'"),
    ),
    "billion-laughs": Bad(
        {"b.yaml": HEAD + "metadata: {name: b}\ndata:\n" + "".join(f"  {x}\n" for x in LAUGHS.splitlines())},
        "TooLarge",
        ("b.yaml:", "aliases"),
    ),
    "same-identity": Bad(
        {"b.yaml": config("twin", k="1"), "c.yaml": config("twin", k="2")},
        "RenderFailed",
        ("c.yaml:1", "b.yaml:1", "ConfigMap", "twin", "already defined"),
    ),
    "no-kind": Bad(
        {"b.yaml": "apiVersion: v1\nmetadata: {name: b}\n"}, "RenderFailed", ("b.yaml:1", "has no kind")
    ),
    "no-name": Bad(
        {"b.yaml": config("b") + "\n---\n" + HEAD + "data: {k: v}\n"},
        "RenderFailed",
        ("b.yaml:3", "ConfigMap has no metadata.name"),
    ),
    "not-utf8": Bad(
        {"b.yaml": HEAD.encode() + b"metadata: {name: b}\ndata: {k: caf\xe9}\n"},
        "RenderFailed",
        ("b.yaml:4", "UTF-8"),
    ),
    "name-not-utf8": Bad(
        {"caf\udce9.yaml": HEAD + "data: {k: v}\n"},
        "RenderFailed",
        ("caf\ufffd.yaml:1", "ConfigMap has no metadata.name"),
    ),
    "chart": Bad({"Chart.yaml": "apiVersion: v2\nname: c\nversion: 1.0.0\n"}, "HelmUnsupported", ("Helm",)),
    "unknown-kind": Bad(
        {"b.yaml": "apiVersion: example.org/v1\nkind: Gadget\nmetadata: {name: g}\n"},
        "KindUnknown",
        ("Gadget", "b.yaml:1"),
    ),
    "bad-port": Bad(
        {"b.yaml": SERVICE % ("bad-port", '""', 99999)},
        "Invalid",
        ("b.yaml:2", "Service/", "/bad-port: ", "spec.ports[0].port"),
    ),
    "number-data": Bad(
        {"b.yaml": HEAD + "metadata: {name: number}\ndata: {replicas: 3}\n"},
        "Invalid",
        ("b.yaml:1", "ConfigMap/", "/number: ", "data.replicas"),
    ),
    "immutable": Bad(
        {"d.yaml": DEPLOYMENT % ("two", "two")},
        "Immutable",
        ("d.yaml:2", "Deployment/", "/d: ", "spec.selector"),
        first={"d.yaml": DEPLOYMENT % ("one", "one")},
    ),
    "kustomize-error": Bad(
        {"kustomization.yaml": "resources: [a.yaml, gone.yaml]\n"},
        "RenderFailed",
        ("kustomization.yaml", "gone.yaml"),
        first={"kustomization.yaml": "resources: [a.yaml]\n"},
    ),
    "remote-base": Bad(
        {"kustomization.yaml": "resources: [a.yaml, 'https://git.example.org/team/base?ref=v1']\n"},
        "RenderFailed",
        ("kustomization.yaml", "remote references are refused"),
        first={"kustomization.yaml": "resources: [a.yaml]\n"},
    ),
    "plugin": Bad(
        {
            "kustomization.yaml": "resources: [a.yaml]\ngenerators: [g.yaml]\n",
            "g.yaml": "apiVersion: example.org/v1\nkind: Maker\nmetadata: {name: m}\n",
        },
        "RenderFailed",
        ("g.yaml", "plugin"),
        first={"kustomization.yaml": "resources: [a.yaml]\n"},
    ),
    "symlink-out": Bad(
        {"b.yaml": Symlink("../../secret.yaml")}, "RenderFailed", ("b.yaml", "leaves the repository")
    ),
    "path-gone": Bad({"a.yaml": None}, "PathNotFound", ("path-gone", "does not exist")),
    "emptied": Bad(
        {"a.yaml": None, "note.txt": "no manifests\n"}, "Refused", ("would delete all 1 objects",)
    ),
}


@contextmanager
def opened(cluster: Cluster, api: Api, git: GitHttp) -> Iterator[World]:
    """Yield a World that outlives one test."""
    made = World(cluster, api, git)
    yield made
    for sync in api.list("Sync", made.namespace):
        api.delete("Sync", made.namespace, sync["metadata"]["name"])
    for name in (made.target, made.namespace):
        cluster.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")


@pytest.fixture(scope="module")
def gallery(
    installed: Cluster, api: Api, git: GitHttp, operator: UnderTest
) -> Iterator[tuple[World, dict[str, str]]]:
    """One namespace with a Sync per kind of bad input and one good one; uid of what each applied before."""
    assert operator.running
    with opened(installed, api, git) as world:
        files: dict[str, Entry] = {"good/a.yaml": config("keep-good", k="1")}
        for name, bad in BAD.items():
            files[f"{name}/a.yaml"] = config(f"keep-{name}", k="1")
            files |= {f"{name}/{path}": entry for path, entry in bad.first.items()}
        world.repo.commit(files, "All is good")
        world.source()
        for name in ("good", *BAD):
            world.sync(name, path=name, **(BAD[name].spec if name in BAD else {}))
        for name in ("good", *BAD):
            world.until("Sync", name, is_ready)
        uids = {name: world.get("ConfigMap", f"keep-{name}")["metadata"]["uid"] for name in ("good", *BAD)}
        broken = {f"{name}/{path}": entry for name, bad in BAD.items() for path, entry in bad.files.items()}
        world.repo.commit({**broken, "good/b.yaml": config("new-good", k="1")}, "Much is bad")
        yield world, uids


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_said_and_loses_nothing(gallery: tuple[World, dict[str, str]], name: str) -> None:
    world, uids = gallery
    sync = world.until("Sync", name, says(BAD[name].reason))
    message = condition(sync)["message"]
    assert [w for w in BAD[name].words if w not in message] == [], message
    assert "Traceback" not in message
    assert "Error(" not in message
    kept = world.get("ConfigMap", f"keep-{name}")
    assert (kept["metadata"]["uid"], kept["data"]) == (uids[name], {"k": "1"})
    if name == "immutable":
        live = world.get("Deployment", "d")
        assert live["spec"]["selector"]["matchLabels"] == {"app": "one"}


def test_the_sync_beside_them_goes_on(gallery: tuple[World, dict[str, str]]) -> None:
    world, uids = gallery
    world.until("ConfigMap", "new-good", lambda o: o is not None)
    world.until("Sync", "good", lambda o: is_ready(o) and o["status"]["summary"]["objects"] == 2)
    assert world.get("ConfigMap", "keep-good")["metadata"]["uid"] == uids["good"]
    world.api.merge("ConfigMap", world.target, "keep-good", {"data": {"k": "hand"}})
    world.until("ConfigMap", "keep-good", lambda o: o["data"] == {"k": "1"})


def test_what_was_refused_is_still_corrected(gallery: tuple[World, dict[str, str]]) -> None:
    world, _ = gallery
    for name in ("no-kind", "bad-port", "kustomize-error"):
        world.until("Sync", name, says(BAD[name].reason))
        world.api.merge("ConfigMap", world.target, f"keep-{name}", {"data": {"k": "hand"}})
        world.until("ConfigMap", f"keep-{name}", lambda o: o["data"] == {"k": "1"})


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("nowhere", "'nowhere' does not exist"),
        ("../..", "leaves the repository"),
        ("out", "is a symlink that leaves the repository"),
    ],
)
def test_a_path_that_cannot_be_used_is_named(
    gallery: tuple[World, dict[str, str]], path: str, words: str
) -> None:
    world, _ = gallery
    if path == "out":
        world.repo.commit({"out": Symlink("../../etc")}, "A way out")
    name = "at-" + path.strip("./").ljust(1, "x")
    world.sync(name, path=path)
    world.until("Sync", name, says("PathNotFound", words))


def test_an_absolute_path_is_refused_by_the_api_server(gallery: tuple[World, dict[str, str]]) -> None:
    world, _ = gallery
    with pytest.raises(HTTPError) as error:
        world.sync("absolute", path="/etc")
    with error.value as answer:
        assert "leave out the leading slash" in json.load(answer)["message"]


def test_lists_are_expanded_and_what_is_no_manifest_is_skipped(world: World) -> None:
    members = ",".join(config(name, k="1") for name in ("a", "b"))
    files = {
        "list.yaml": f"apiVersion: v1\nkind: List\nitems: [{members}]\n",
        "package.json": '{"name": "web", "version": "1.0.0", "scripts": {"test": "true"}}',
    }
    world.repo.commit(files, "A list")
    world.source()
    world.sync()
    sync = world.until("Sync", "app", is_ready)
    assert sync["status"]["summary"]["objects"] == 2
    assert world.get("ConfigMap", "a")["data"] == world.get("ConfigMap", "b")["data"] == {"k": "1"}


def test_an_unknown_field_of_a_kustomization_is_named(world: World) -> None:
    world.repo.commit({"a.yaml": config("a"), "kustomization.yaml": "resources: [a.yaml]\n"}, "Good")
    world.source()
    world.sync()
    world.until("Sync", "app", is_ready)
    world.repo.commit({"kustomization.yaml": "resources: [a.yaml]\nresorces: [b.yaml]\n"}, "Bad")
    sync = world.until("Sync", "app", says("RenderFailed", "resorces"))
    assert "kustomization" in condition(sync)["message"]
    assert world.seek("ConfigMap", "a")


def bare(world: World, name: str = "app", **spec: Any) -> None:
    """Apply a Sync with no more in its spec than this."""
    body = {"source": {"name": "src"}, **spec}
    world.apply(
        {"apiVersion": "setpoint.dev/v1alpha1", "kind": "Sync", "metadata": {"name": name}, "spec": body}
    )


def test_a_namespaced_object_without_a_namespace_is_named(world: World) -> None:
    world.repo.commit({"a.yaml": config("a")}, "First")
    world.source()
    bare(world, serviceAccountName="deployer")
    sync = world.until("Sync", "app", says("NamespaceMissing", "a.yaml:1"))
    assert "ConfigMap" in condition(sync)["message"]
    assert "targetNamespace" in condition(sync)["message"]
    world.sync()
    world.until("Sync", "app", is_ready)


def test_a_sync_without_identity_is_refused_outside_admin_namespaces(world: World) -> None:
    world.repo.commit({"a.yaml": config("a")}, "First")
    world.source()
    bare(world, targetNamespace=world.target)
    world.until("Sync", "app", says("ServiceAccountRequired", world.namespace))
    assert world.seek("ConfigMap", "a") is None
    world.sync()
    world.until("Sync", "app", is_ready)


def test_an_account_without_rights_is_named(world: World) -> None:
    world.repo.commit({"good/a.yaml": config("a"), "weak/w.yaml": config("w")}, "First")
    world.source()
    world.account("weak", None)
    world.sync("weak", serviceAccountName="weak", path="weak")
    sync = world.until("Sync", "weak", says("Forbidden", f"{world.namespace}/weak"))
    assert "configmaps" in condition(sync)["message"]
    assert world.seek("ConfigMap", "w") is None
    world.sync("good", path="good")
    world.until("Sync", "good", is_ready)


def test_an_account_that_does_not_exist_is_named(world: World) -> None:
    world.repo.commit({"a.yaml": config("a")}, "First")
    world.source()
    world.sync(serviceAccountName="ghost")
    world.until("Sync", "app", says("ServiceAccountNotFound", f"{world.namespace}/ghost"))
    assert world.seek("ConfigMap", "a") is None
    world.account("ghost", "cluster-admin")
    world.ask("Sync", "app", "now")
    world.until("Sync", "app", is_ready)


@contextmanager
def policy(world: World) -> Iterator[str]:
    """Deny ConfigMaps with the label `bad` in the target namespace, once the API server enforces that."""
    name, root = world.namespace, "/apis/admissionregistration.k8s.io/v1/"
    matches = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": world.target}},
        "resourceRules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]}
        ],
    }
    rule = {"expression": "!('bad' in object.data)", "message": "bad is not good here"}
    kinds: dict[str, Json] = {
        "ValidatingAdmissionPolicy": {"matchConstraints": matches, "validations": [rule]},
        "ValidatingAdmissionPolicyBinding": {"policyName": name, "validationActions": ["Deny"]},
    }
    paths = {"ValidatingAdmissionPolicy": "validatingadmissionpolicies"}
    paths["ValidatingAdmissionPolicyBinding"] = "validatingadmissionpolicybindings"
    for kind, spec in kinds.items():
        body = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "spec": spec}
        world.api.request("POST", root + paths[kind], {**body, "metadata": {"name": name}}).close()
    try:
        yield name
    finally:
        for path in paths.values():
            world.api.request("DELETE", f"{root}{path}/{name}").close()


def denied(world: World) -> bool:
    """Return whether the policy is in force; the API server reports no event when it is."""
    try:
        path = world.api.path("ConfigMap", world.target) + "?dryRun=All"
        world.api.request("POST", path, json.loads(config("probe", bad="1"))).close()
    except HTTPError as error:
        error.close()
        return error.code in (403, 422)
    return False


def test_a_policy_that_denies_is_quoted(world: World) -> None:
    world.repo.commit({"a.yaml": config("a", k="1")}, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", is_ready)
    with policy(world) as name:
        for _ in range(300):
            if denied(world):
                break
            time.sleep(0.1)
        sha = world.repo.commit({"a.yaml": config("a", k="2", bad="1")}, "Bad")
        sync = world.until("Sync", "app", says("AdmissionDenied", "bad is not good here"))
        assert "a.yaml:1" in condition(sync)["message"]
        assert name in condition(sync)["message"]
        assert world.get("ConfigMap", "a")["data"] == {"k": "1"}
        assert not sync["status"]["applied"]["revision"].endswith(sha)
        sha = world.repo.commit({"a.yaml": config("a", k="2")}, "Good")
        world.until("Sync", "app", ready_at(sha))


def secret(**text: Any) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": text})


def leaks(world: World, operator: UnderTest, *values: str) -> list[str]:
    """Return the places where a value is seen, plain or in base64."""
    places = {
        "log": operator.log.read_text(errors="replace"),
        "syncs": json.dumps(world.api.list("Sync", world.namespace)),
        "sources": json.dumps(world.api.list("Source", world.namespace)),
        "events": json.dumps([world.api.list("Event", n) for n in (world.namespace, world.target)]),
    }
    forms = [form for v in values for form in (v, base64.b64encode(v.encode()).decode().rstrip("="))]
    return [place for place, text in places.items() if any(form in text for form in forms)]


def test_the_value_of_a_secret_is_shown_nowhere(world: World, operator: UnderTest) -> None:
    value, byhand = secrets.token_hex(16), secrets.token_hex(16)
    number = secrets.randbelow(10**17) + 10**17
    world.repo.commit({"s.yaml": secret(k=value), "a.yaml": config("a")}, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", is_ready)
    put = base64.b64encode(value.encode()).decode()
    assert world.get("Secret", "s")["data"] == {"k": put}
    changed = base64.b64encode(byhand.encode()).decode()
    world.api.merge("Secret", world.target, "s", {"data": {"k": changed}})
    world.until("Secret", "s", lambda o: o["data"] == {"k": put})
    sync = world.until("Sync", "app", lambda o: o["status"].get("driftLog"))
    assert "hmac:" in json.dumps(sync["status"]["driftLog"][0]["patch"])
    world.sync(drift="Report")
    world.until("Sync", "app", lambda o: o["status"]["observedGeneration"] == o["metadata"]["generation"])
    world.api.merge("Secret", world.target, "s", {"data": {"k": changed}})
    sync = world.until("Sync", "app", says("Drift", "Secret"))
    assert "hmac:" in json.dumps(sync["status"]["differences"][0]["patch"])
    world.repo.commit({"s.yaml": secret(k=value, n=number)}, "A number")
    sync = world.until("Sync", "app", says("Invalid", "s.yaml:1"))
    world.announced("Drift")
    world.announced("Invalid")
    assert {"log", "syncs", "events"} <= set(leaks(world, operator, world.target))  # it does look there
    assert leaks(world, operator, value, byhand, str(number)) == []


def test_dropping_most_objects_is_refused_until_the_limit_is_raised(world: World) -> None:
    names = [f"c{i}" for i in range(8)]
    world.repo.commit({f"{n}.yaml": config(n) for n in names}, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", is_ready)
    sha = world.repo.commit({f"{n}.yaml": None for n in names[1:]}, "Drop seven")
    world.until("Sync", "app", says("Refused", "would delete 7 of 8 objects (limit 25%)"))
    assert all(world.get("ConfigMap", n) for n in names)
    world.sync(pruneLimit=7)
    world.until("Sync", "app", ready_at(sha))
    assert [n for n in names if world.seek("ConfigMap", n)] == ["c0"]


def test_a_namespace_that_is_dropped_is_refused_and_kept(world: World) -> None:
    extra = f"{world.namespace}-x"
    namespace = json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": extra}})
    inside = {**json.loads(config("in")), "metadata": {"name": "in", "namespace": extra}}
    world.repo.commit({"a.yaml": config("a"), "n.yaml": namespace, "i.yaml": json.dumps(inside)}, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", is_ready)
    world.repo.commit({"n.yaml": None}, "Drop the namespace")
    world.until("Sync", "app", says("Refused", "setpoint.dev/prune: allow"))
    assert "deletionTimestamp" not in world.api.get("Namespace", None, extra)["metadata"]
    assert world.api.get("ConfigMap", extra, "in")
    world.cluster.kubectl("annotate", "namespace", extra, "setpoint.dev/prune=never")
    world.until("Sync", "app", is_ready)
    world.cluster.kubectl("delete", "namespace", extra, "--wait=false")


def test_an_overlay_of_the_spec_is_laid_over_the_path(world: World) -> None:
    files = {"d.yaml": DEPLOYMENT % ("d", "d"), "kustomization.yaml": "resources: [d.yaml]\n"}
    world.repo.commit(files, "First")
    world.source()
    patch = json.dumps([{"op": "add", "path": "/spec/revisionHistoryLimit", "value": 3}])
    overlay = {
        "namePrefix": "my-",
        "images": [{"name": "d", "newName": "e", "newTag": "2"}],
        "patches": [{"patch": patch, "target": {"kind": "Deployment"}}],
        "commonLabels": {"team": "web"},
    }
    world.sync(kustomize=overlay)
    world.until("Sync", "app", is_ready)
    live = world.get("Deployment", "my-d")
    assert live["spec"]["template"]["spec"]["containers"][0]["image"] == "e:2"
    assert live["spec"]["revisionHistoryLimit"] == 3
    assert live["metadata"]["labels"]["team"] == "web"
    assert live["spec"]["selector"]["matchLabels"] == {"app": "d"}


def test_the_target_namespace_is_created_where_that_is_asked(world: World) -> None:
    made = f"{world.namespace}-made"
    world.repo.commit({"a.yaml": config("a")}, "First")
    world.source()
    world.sync(targetNamespace=made)
    world.until("Sync", "app", says("NamespaceMissing", made))
    world.sync(targetNamespace=made, createNamespace=True)
    world.until("Sync", "app", is_ready)
    assert world.api.get("ConfigMap", made, "a")
    world.cluster.kubectl("delete", "namespace", made, "--wait=false")


def test_a_dependency_is_waited_for(world: World) -> None:
    world.repo.commit({"one/a.yaml": config("a"), "two/b.yaml": config("b")}, "First")
    world.source()
    world.sync("two", path="two", dependsOn=[{"name": "one"}])
    world.until("Sync", "two", says("DependencyNotReady", "one"))
    assert world.seek("ConfigMap", "b") is None
    world.sync("one", path="one")
    world.until("Sync", "two", is_ready)
    assert world.seek("ConfigMap", "b")


def test_a_suspended_sync_rests_and_goes_on(world: World) -> None:
    files = {"one/a.yaml": config("a", k="1"), "two/b.yaml": config("b", k="1")}
    world.repo.commit(files, "First")
    world.source()
    for name in ("one", "two"):
        world.sync(name, path=name)
        world.until("Sync", name, is_ready)
    world.sync("one", path="one", suspend=True)
    world.until("Sync", "one", says("Suspended"))
    sha = world.repo.commit({"one/a.yaml": config("a", k="2"), "two/b.yaml": config("b", k="2")}, "Second")
    world.until("Sync", "two", ready_at(sha))
    assert world.get("ConfigMap", "a")["data"] == {"k": "1"}
    world.sync("one", path="one")
    world.until("Sync", "one", ready_at(sha))
    assert world.get("ConfigMap", "a")["data"] == {"k": "2"}


def test_objects_of_a_sync_that_orphans_stay(world: World) -> None:
    world.repo.commit({"a.yaml": config("a")}, "First")
    world.source()
    world.sync(deletionPolicy="Orphan")
    world.until("Sync", "app", is_ready)
    uid = world.get("ConfigMap", "a")["metadata"]["uid"]
    world.api.delete("Sync", world.namespace, "app")
    world.until("Sync", "app", lambda o: o is None)
    kept = world.get("ConfigMap", "a")
    assert kept["metadata"]["uid"] == uid
    assert "deletionTimestamp" not in kept["metadata"]


def test_a_deletion_that_is_held_up_says_by_what(world: World) -> None:
    held = json.loads(config("held"))
    held["metadata"]["finalizers"] = ["example.org/hold"]
    world.repo.commit({"h.yaml": json.dumps(held), "a.yaml": config("a")}, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", is_ready)
    world.api.delete("Sync", world.namespace, "app")
    sync = world.until("Sync", "app", says("Deleting", "example.org/hold"))
    assert "1 of" in condition(sync)["message"]  # of 2, and once that is told, of the 1 that is left
    assert "held" in condition(sync)["message"]
    world.api.merge("ConfigMap", world.target, "held", {"metadata": {"finalizers": None}})
    world.until("Sync", "app", lambda o: o is None)
    assert world.seek("ConfigMap", "held") is None
