"""Much of it: thousands of objects in one Sync, megabytes in one file, and one object that is too large."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.e2e.conftest import World, config
from tests.e2e.test_sync import ready_at
from tests.kit.api import Json, condition, is_ready, says
from tests.kit.ci import CI
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.apirules import Request

pytestmark = pytest.mark.cluster

MANY, PER_FILE = 3_000, 250
SOME = MANY if CI else 1_000
PATIENCE = 900.0
STATUS_BYTES = 500_000
MEGABYTE = 1 << 20


def file_of(*objects: str) -> str:
    return "\n---\n".join(objects) + "\n"


def shelf(number: int, **data: str) -> dict[str, str]:
    """Return one file with its share of the many ConfigMaps."""
    first = number * PER_FILE
    objects = (config(f"c{i:04}", n=str(i), **data) for i in range(first, first + PER_FILE))
    return {f"{number:02}.yaml": file_of(*objects)}


def shelves(objects: int) -> dict[str, str]:
    """Return the files of so many ConfigMaps."""
    return {k: v for number in range(objects // PER_FILE) for k, v in shelf(number).items()}


def size(value: Any) -> int:
    return len(json.dumps(value))


def labelled(world: World) -> list[Json]:
    """Return our ConfigMaps in the target namespace."""
    found = world.api.list("ConfigMap", world.target)
    return [o for o in found if "setpoint.dev/sync" in o["metadata"].get("labels", {})]


def about(world: World, proxy: ApiProxy) -> list[Request]:
    """Return what the operator asked for this Sync: its objects, its status, its Events."""
    return [r for r in proxy.requests if not r.is_watch and world.namespace in r.path]


def test_thousands_of_objects_in_one_sync(world: World, proxy: ApiProxy) -> None:
    sha = world.repo.commit(shelves(SOME), "Many")
    world.source()
    world.sync()
    sync = world.until("Sync", "app", ready_at(sha), seconds=PATIENCE)
    assert sync["status"]["summary"]["objects"] == sync["status"]["summary"]["healthy"] == SOME
    assert len(labelled(world)) == SOME
    assert size(sync["status"]) < STATUS_BYTES
    assert size(sync) < STATUS_BYTES

    proxy.clear()
    one = shelf(3)["03.yaml"].replace('"n": "800"', '"n": "changed"')
    sha = world.repo.commit({"03.yaml": one}, "One of them")
    world.until("Sync", "app", ready_at(sha), seconds=PATIENCE)
    assert world.get("ConfigMap", "c0800")["data"] == {"n": "changed"}
    spent = about(world, proxy)
    assert [r.path for r in spent if r.is_write and "/configmaps/" in r.path] == [
        world.api.path("ConfigMap", world.target, "c0800")
    ]
    assert len(spent) <= 25, spent

    proxy.clear()
    world.api.merge("ConfigMap", world.target, "c0042", {"data": {"n": "hand"}})
    world.until("ConfigMap", "c0042", lambda o: o["data"] == {"n": "42"})
    world.until("Sync", "app", lambda o: is_ready(o) and o["status"]["summary"]["corrected"] == 1)
    assert len(about(world, proxy)) <= 25, about(world, proxy)

    world.api.delete("Sync", world.namespace, "app")
    world.until("Sync", "app", lambda o: o is None, seconds=PATIENCE)
    assert labelled(world) == []


def test_three_thousand_differences_fit_into_a_status(world: World) -> None:
    world.account("weak", None)
    world.repo.commit(shelves(MANY), "Three thousand")
    world.source()
    world.sync(serviceAccountName="weak")
    sync = world.until("Sync", "app", says("Forbidden", f"{MANY} of {MANY}"), seconds=PATIENCE)
    assert size(sync["status"]) < STATUS_BYTES
    assert len(sync["status"]["differences"]) + sync["status"]["omitted"] == MANY
    assert labelled(world) == []


def test_a_file_of_five_megabytes_works(world: World) -> None:
    text = "lorem ipsum dolor sit amet " * 2_000
    names = [f"d{i}" for i in range(100)]
    whole = file_of(*(config(name, text=text) for name in names))
    assert len(whole) > 5 * MEGABYTE
    sha = world.repo.commit({"all.yaml": whole}, "Five megabytes")
    world.source()
    world.sync()
    sync = world.until("Sync", "app", ready_at(sha), seconds=PATIENCE)
    assert sync["status"]["summary"]["objects"] == len(names)
    assert world.get("ConfigMap", "d99")["data"] == {"text": text}


@pytest.mark.parametrize(
    ("length", "words"),
    [(int(1.6 * MEGABYTE), "split it"), (int(1.2 * MEGABYTE), "limit 1,048,576 bytes")],
    ids=["for-every-kind", "for-a-configmap"],
)
def test_an_object_that_is_too_large_is_named(world: World, length: int, words: str) -> None:
    first = {"app/a.yaml": config("a", k="1"), "good/g.yaml": config("good", k="1")}
    world.repo.commit(first, "First")
    world.source()
    for name, path in (("app", "app"), ("good", "good")):
        world.sync(name, path=path)
        world.until("Sync", name, is_ready)
    files = {"app/b.yaml": file_of(config("fits"), config("huge", blob="x" * length))}
    files |= {"app/a.yaml": config("a", k="2"), "good/g.yaml": config("good", k="2")}
    sha = world.repo.commit(files, "Huge")
    sync = world.until("Sync", "app", says("TooLarge", words))
    message = condition(sync)["message"]
    assert [w for w in ("app/b.yaml:3", "ConfigMap/", "huge", "split it") if w not in message] == []
    assert "xxxx" not in json.dumps(sync)
    assert world.get("ConfigMap", "a")["data"] == {"k": "1"}
    assert world.seek("ConfigMap", "fits") is None
    world.until("Sync", "good", ready_at(sha))
    assert world.get("ConfigMap", "good")["data"] == {"k": "2"}
    halves = file_of(config("fits"), config("half-1", blob="x" * 1000), config("half-2", blob="x" * 1000))
    sha = world.repo.commit({"app/b.yaml": halves}, "Split")
    world.until("Sync", "app", ready_at(sha))
