"""Who hides behind Setpoint's names and marks is found out: his change is drift with his name, and what he added goes."""

from __future__ import annotations

import json

import pytest
from tests.e2e.conftest import World, config
from tests.e2e.test_people import nested, notes_of
from tests.kit.api import Json, is_ready
from tests.kit.cluster import versions
from tests.kit.pods import UnderTest

from setpoint.api import names

pytestmark = pytest.mark.cluster

OURS = f"--field-manager={names.FIELD_MANAGER}"
ADOPTED = f"--field-manager={names.ADOPTED_MANAGER}"
SERVER_SIDE = ("apply", "--server-side", "--force-conflicts", "-f", "-")
GIT = {"k": "git"}


def by(world: World, user: str, *arguments: str, manifest: str | None = None) -> None:
    """Do something as an administrator of this name."""
    who = (f"--as={user}", "--as-group=system:masters", "-n", world.target)
    if "sync" in arguments:
        who = (*who[:-1], world.namespace)
    world.cluster.kubectl(*arguments, *who, input=manifest)


def patched(world: World, name: str, manager: str, **data: str) -> None:
    """Change data, as `kubectl edit` does, by a person who is called like the object."""
    patch = json.dumps({"data": data})
    by(world, f"{name}@example.org", "patch", "configmap", name, "--type=merge", f"--patch={patch}", manager)


def applied(world: World, name: str, manager: str, **data: str) -> None:
    """Apply on the server's side with one more field: without our marks, as a file of his own has none."""
    by(world, f"{name}@example.org", *SERVER_SIDE, manager, manifest=config(name, **data))


def managers(obj: Json) -> set[tuple[str, str]]:
    return {(e["manager"], e["operation"]) for e in obj["metadata"]["managedFields"]}


def test_what_is_written_under_our_names_is_drift_of_who_wrote_it(world: World) -> None:
    plain = ["edited", "added", "labelled", "applied", "borrowed", "taken", "unmarked"]
    was = {"kept": "by hand", "k": "old"}
    world.cluster.kubectl("create", "-n", world.target, "-f", "-", input=config("adopted", **was))
    account = {"serviceAccountName": "deployer", "targetNamespace": world.target}
    child = nested(world, "Sync", "child", source={"name": "src"}, path="inner", **account)
    world.repo.commit({f"all/{n}.yaml": config(n, **GIT) for n in [*plain, "adopted"]}, "First")
    world.repo.commit({"all/child.yaml": child, "inner/i.yaml": config("i")}, "A Sync in a Sync")
    world.source()
    world.sync(path="all")
    settled = world.until("Sync", "app", is_ready)
    assert settled["status"]["summary"]["synced"] == 9
    assert not settled["status"].get("driftLog")
    # Our own writes are not noted: as the Sync's account, and as our own on the Sync in a Sync.
    everything = [world.get("ConfigMap", n) for n in [*plain, "adopted"]]
    everything.append(world.api.get("Sync", world.namespace, "child"))
    assert not [notes for o in everything if names.ANNOTATION_CHANGED_BY in (notes := notes_of(o))]

    patched(world, "edited", OURS, k="hand")
    patched(world, "added", OURS, more="1")
    by(world, "labelled@example.org", "label", "configmap", "labelled", "more=1", OURS)
    applied(world, "applied", OURS, k="hand", more="1")
    patched(world, "borrowed", ADOPTED, k="hand", more="1")
    applied(world, "taken", ADOPTED, **GIT, more="1")
    patched(world, "adopted", ADOPTED, more="1")
    # Without its mark it is not adopted with all that is in it, as it was written before.
    patch = {"metadata": {"annotations": {names.ANNOTATION_OWNER: None}}, "data": {"more": "1"}}
    merge = ("--type=merge", f"--patch={json.dumps(patch)}")
    by(world, "unmarked@example.org", "patch", "configmap", "unmarked", *merge)
    by(world, "who@example.org", "annotate", "sync", "child", "more=1", OURS)

    kept = {"kept": "by hand", **GIT}
    for name, data in {**dict.fromkeys(plain, GIT), "adopted": kept}.items():
        world.until("ConfigMap", name, lambda o, d=data: o["data"] == d)
    world.until("ConfigMap", "labelled", lambda o: "more" not in o["metadata"]["labels"])
    world.until("Sync", "child", lambda o: "more" not in notes_of(o))
    sync = world.until("Sync", "app", lambda o: o["status"]["summary"]["corrected"] == 9)
    log = {entry["name"]: entry for entry in sync["status"]["driftLog"]}
    people: dict[str, str | None] = {n: f"{n}@example.org" for n in [*plain, "adopted"]}
    people["child"] = "who@example.org"
    if unnamed := versions.lacking("MutatingAdmissionPolicy"):
        people = dict.fromkeys(people)
    assert {n: e.get("user") for n, e in log.items()} == people
    assert log["edited"]["manager"] == log["added"]["manager"] == names.FIELD_MANAGER
    assert log["borrowed"]["manager"] == log["adopted"]["manager"] == names.ADOPTED_MANAGER
    found = {n: world.get("ConfigMap", n) for n in [*plain, "adopted"]}
    assert {n: managers(o) for n, o in found.items() if n != "adopted"} == {
        n: {(names.FIELD_MANAGER, "Apply")} for n in plain
    }
    drift = world.announced("Drift")
    assert ("example.org" in drift["message"]) is (unnamed is None)


def test_what_lost_its_mark_while_nobody_looked_is_no_strangers(world: World, operator: UnderTest) -> None:
    world.repo.commit({"a.yaml": config("a", **GIT), "b.yaml": config("b", **GIT)}, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", is_ready)
    operator.stop()
    try:
        patch = {"metadata": {"annotations": {names.ANNOTATION_OWNER: None}}, "data": {"more": "1"}}
        merge = ("--type=merge", f"--patch={json.dumps(patch)}")
        world.cluster.kubectl("patch", "configmap", "a", "-n", world.target, *merge)
        # What is made anew by hand is somebody else's until it is adopted, with all that is in it.
        world.cluster.kubectl("delete", "configmap", "b", "-n", world.target)
        made = config("b", k="hand", more="1")
        world.cluster.kubectl("create", "-n", world.target, "-f", "-", input=made)
    finally:
        operator.start()
    world.until("ConfigMap", "a", lambda o: o["data"] == GIT and names.ANNOTATION_OWNER in notes_of(o))
    world.until("ConfigMap", "b", lambda o: o["data"] == {**GIT, "more": "1"})
