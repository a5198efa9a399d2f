"""What people may ask of an object by annotation stays when they ask, on nested Syncs and Sources too; the rest is drift."""

from __future__ import annotations

import json

import pytest
from tests.e2e.conftest import World, config
from tests.kit.api import Json, is_ready

pytestmark = pytest.mark.cluster
EXTRA = "example.org/extra"


def nested(world: World, kind: str, name: str, **spec: object) -> str:
    head = {"apiVersion": "setpoint.dev/v1alpha1", "kind": kind}
    return json.dumps({**head, "metadata": {"name": name, "namespace": world.namespace}, "spec": spec})


def annotate(world: World, kind: str, name: str, *texts: str, namespace: str | None = None) -> None:
    world.cluster.kubectl(
        "annotate", kind.lower(), name, "-n", namespace or world.target, "--overwrite", *texts
    )


def notes_of(obj: Json | None) -> dict[str, str]:
    return dict((obj or {}).get("metadata", {}).get("annotations") or {})


def looked_at(world: World, kind: str, name: str, namespace: str) -> Json:
    """Add what is drift, and give the object once that is gone: all that people did before was judged by then."""
    annotate(world, kind, name, f"{EXTRA}=1", namespace=namespace)
    return world.until(kind, name, lambda o: EXTRA not in notes_of(o), namespace)


def corrected(count: int) -> object:
    return lambda o: is_ready(o) and o["status"]["summary"]["corrected"] == count


def test_a_nested_sync_and_source_keep_what_people_ask_of_them(world: World) -> None:
    source = nested(world, "Source", "inner", url=world.git.url(world.namespace), interval="1h")
    child = nested(
        world,
        "Sync",
        "child",
        source={"name": "inner"},
        path="inner",
        interval="1h",
        serviceAccountName="deployer",
        targetNamespace=world.target,
    )
    world.repo.commit({"outer/a.json": source, "outer/b.json": child, "inner/c.yaml": config("c")}, "First")
    world.source()
    world.sync(path="outer")
    world.until("Sync", "app", is_ready)
    for kind, name in (("Source", "inner"), ("Sync", "child")):
        for value in ("one", "two"):
            annotate(world, kind, name, f"setpoint.dev/requested={value}", namespace=world.namespace)
            world.until(kind, name, lambda o, v=value: o["status"].get("requested") == v)
        found = looked_at(world, kind, name, world.namespace)
        assert notes_of(found)["setpoint.dev/requested"] == "two"
        assert found["status"]["requested"] == "two"
    sync = world.until("Sync", "app", corrected(2))
    paths = [op["path"] for entry in sync["status"]["driftLog"] for op in entry["patch"]]
    assert paths == ["/metadata/annotations/example.org~1extra"] * 2
    assert sync["status"]["summary"]["drifted"] == 0


def test_what_git_says_of_them_is_gits_and_what_is_not_for_people_goes(world: World) -> None:
    held = json.loads(config("held"))
    held["metadata"]["annotations"] = {"setpoint.dev/prune": "never", "setpoint.dev/wave": "1"}
    world.repo.commit({"a.yaml": config("plain"), "b.yaml": json.dumps(held)}, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", is_ready)
    annotate(world, "ConfigMap", "plain", "setpoint.dev/prune=never", "setpoint.dev/adopt=true")
    kept = notes_of(looked_at(world, "ConfigMap", "plain", world.target))
    assert (kept["setpoint.dev/prune"], kept["setpoint.dev/adopt"]) == ("never", "true")
    world.until("Sync", "app", corrected(1))
    wave = "setpoint.dev/wave"
    annotate(world, "ConfigMap", "plain", f"{wave}=3", "setpoint.dev/encrypted=keep")
    after = world.until("ConfigMap", "plain", lambda o: wave not in notes_of(o))
    assert "setpoint.dev/encrypted" not in notes_of(after)
    assert notes_of(after)["setpoint.dev/prune"] == "never"
    for text in ("setpoint.dev/prune=allow", f"{wave}=7", "setpoint.dev/prune-"):
        annotate(world, "ConfigMap", "held", text)
        world.until(
            "ConfigMap",
            "held",
            lambda o: notes_of(o).items() >= held["metadata"]["annotations"].items(),
        )
    world.until("Sync", "app", corrected(5))


def test_what_people_say_of_pruning_counts(world: World) -> None:
    world.repo.commit({"a.yaml": config("a"), "b.yaml": config("b"), "c.yaml": config("c")}, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", is_ready)
    annotate(world, "ConfigMap", "a", "setpoint.dev/prune=never")
    looked_at(world, "ConfigMap", "a", world.target)
    world.repo.commit({"a.yaml": None, "b.yaml": None}, "Both go")
    world.until("ConfigMap", "b", lambda o: o is None)
    world.until("Sync", "app", lambda o: is_ready(o) and o["status"]["summary"]["objects"] == 1)
    assert notes_of(world.get("ConfigMap", "a"))["setpoint.dev/prune"] == "never"
