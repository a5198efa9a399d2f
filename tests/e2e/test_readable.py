"""What a person sees: kubectl's columns, `kubectl wait`, `kubectl describe`, and a Ready that never flickers."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.e2e.conftest import World, config
from tests.e2e.test_sync import ready_at
from tests.kit.api import Json, condition, is_ready, says
from tests.kit.servers.apiproxy import ApiProxy

pytestmark = pytest.mark.cluster
AGE = re.compile(r"\d+[smhd](\d+[smh])?")
SYNC_COLUMNS = ["NAME", "READY", "STATUS", "REVISION", "OBJECTS", "DRIFT", "AGE"]
SYNC_WIDE = [*SYNC_COLUMNS[:-1], "SOURCE", "PATH", "CHANGED", "AGE"]
SOURCE_COLUMNS = ["NAME", "READY", "REVISION", "URL", "COMMIT", "AGE"]
SOURCE_WIDE = [*SOURCE_COLUMNS[:-1], "STATUS", "AGE"]
BROKEN = "apiVersion: v1\nkind: ConfigMap\n\tmetadata: {}\n"


def kubectl(world: World, *args: str) -> str:
    return world.cluster.kubectl(*args, "--namespace", world.namespace)


def tables(text: str) -> list[dict[str, str]]:
    """Read kubectl's tables, which may follow each other, by the places of their headings."""
    rows: list[dict[str, str]] = []
    heads: list[tuple[str, int]] = []
    for line in text.splitlines():
        if line.startswith("NAME "):
            heads = [(m.group(), m.start()) for m in re.finditer(r"\S+", line)]
        elif line:
            ends = [start for _, start in heads[1:]] + [len(line)]
            rows.append({h: line[s:e].strip() for (h, s), e in zip(heads, ends, strict=True)})
    return rows


def row(world: World, *args: str) -> dict[str, str]:
    """Return the only row of `kubectl get`; ages are checked and left out."""
    (found,) = tables(kubectl(world, "get", *args))
    for head in ("AGE", "CHANGED"):
        if found.get(head):
            assert AGE.fullmatch(found[head]), found
            found[head] = "*"
    return found


def short(sha: str) -> str:
    return f"main@{sha[:7]}"


def first(world: World, **spec: Any) -> str:
    """Bring a Sync of two ConfigMaps to Ready; returns the commit."""
    sha = world.repo.commit({"app/a.yaml": config("a", k="1"), "app/b.yaml": config("b", k="1")}, "First")
    world.source()
    world.sync(path="app", **spec)
    world.until("Sync", "app", ready_at(sha))
    return sha


def test_kubectl_wait_ends_when_it_is_ready(world: World) -> None:
    world.repo.commit({"a.yaml": config("a")}, "First")
    world.source()
    world.sync()
    for name in ("source/src", "sync/app"):
        told = kubectl(world, "wait", "--for=condition=Ready", name, "--timeout=60s")
        assert "condition met" in told
    assert world.seek("ConfigMap", "a") is not None
    world.sync(path="nowhere")
    kubectl(world, "wait", "--for=condition=Ready=False", "sync/app", "--timeout=60s")
    assert condition(world.until("Sync", "app", lambda o: True))["reason"] == "PathNotFound"


def test_columns_of_a_sync_that_is_ready(world: World) -> None:
    sha = first(world)
    found = row(world, "syncs")
    assert list(found) == SYNC_COLUMNS
    expected = {"NAME": "app", "READY": "True", "STATUS": "2/2 healthy", "REVISION": short(sha)}
    assert found == {**expected, "OBJECTS": "2", "DRIFT": "0", "AGE": "*"}
    wide = row(world, "syncs", "-o", "wide")
    assert list(wide) == SYNC_WIDE
    assert wide == {**found, "SOURCE": "src", "PATH": "app", "CHANGED": "*"}


def test_columns_after_a_broken_commit(world: World) -> None:
    good = first(world)
    bad = world.repo.commit({"app/b.yaml": BROKEN}, "Broken")
    world.until("Sync", "app", says("RenderFailed"))
    found = row(world, "syncs")
    assert found["STATUS"].startswith("render failed: app/b.yaml:3")
    assert found["STATUS"].endswith(f"{short(good)} stays enforced")
    rest = {"READY": "False", "REVISION": short(good), "OBJECTS": "2", "DRIFT": "0"}
    assert {k: found[k] for k in rest} == rest
    source = row(world, "sources")
    assert (source["READY"], source["REVISION"]) == ("True", short(bad))


def test_columns_while_drift_is_only_reported(world: World) -> None:
    sha = first(world, drift="Report")
    world.api.merge("ConfigMap", world.target, "a", {"data": {"k": "hand"}})
    world.until("Sync", "app", says("Drift"))
    found = row(world, "syncs")
    assert found["STATUS"].startswith(f"1 of 2 drifted: ConfigMap/{world.target}/a")
    rest = {"READY": "False", "REVISION": short(sha), "OBJECTS": "2", "DRIFT": "0"}
    assert {k: found[k] for k in rest} == rest, "nothing was corrected"


def test_columns_after_a_correction(world: World) -> None:
    first(world)
    world.api.merge("ConfigMap", world.target, "a", {"data": {"k": "hand"}})
    world.until("Sync", "app", lambda o: o["status"]["summary"]["corrected"] == 1)
    found = row(world, "syncs")
    assert (found["READY"], found["STATUS"], found["DRIFT"]) == ("True", "2/2 healthy", "1")


def test_columns_while_it_is_suspended(world: World) -> None:
    sha = first(world)
    world.sync(path="app", suspend=True)
    world.until("Sync", "app", says("Suspended"))
    found = row(world, "syncs")
    assert found["STATUS"] == f"suspended at {short(sha)}: nothing is applied or corrected"
    rest = {"READY": "False", "REVISION": short(sha), "OBJECTS": "2", "DRIFT": "0"}
    assert {k: found[k] for k in rest} == rest


def test_columns_of_a_source(world: World) -> None:
    sha = world.repo.commit({"a.yaml": config("a")}, "Raise cart to 3 replicas")
    world.source()
    world.until("Source", "src", is_ready)
    found = row(world, "sources")
    assert list(found) == SOURCE_COLUMNS
    expected = {"NAME": "src", "READY": "True", "REVISION": short(sha), "URL": world.git.url(world.namespace)}
    assert found == {**expected, "COMMIT": "Raise cart to 3 replicas (Test Author)", "AGE": "*"}
    wide = row(world, "sources", "-o", "wide")
    assert list(wide) == SOURCE_WIDE
    assert wide == {**found, "STATUS": condition(world.until("Source", "src", is_ready))["message"]}
    world.source(ref={"branch": "gone"})
    world.until("Source", "src", says("RefNotFound"))
    lost = row(world, "sources", "-o", "wide")
    assert (lost["READY"], lost["REVISION"]) == ("False", short(sha))
    assert "gone" in lost["STATUS"]


def test_category_and_short_names(world: World) -> None:
    first(world)
    found = tables(kubectl(world, "get", "gitops"))
    assert sorted(r["NAME"] for r in found) == ["source.setpoint.dev/src", "sync.setpoint.dev/app"]
    assert row(world, "sy")["NAME"] == "app"
    assert row(world, "src")["NAME"] == "src"


def told_of(world: World) -> Any:
    """Return a match for Events of this world that were posted."""
    path = world.api.path("Event", world.namespace)
    return lambda r: r.method == "POST" and r.path == path and r.ended


def events(world: World, name: str = "app") -> list[tuple[str, str, str]]:
    """Return type, reason and message of the Events under `kubectl describe sync`; each was said once."""
    text = kubectl(world, "describe", "sync", name)
    found = []
    for line in text[text.index("\nEvents:") :].splitlines()[4:]:
        kind, reason, rest = line.split(maxsplit=2)
        age, source, message = rest.split(maxsplit=2)
        assert AGE.fullmatch(age), line
        assert source == "setpoint"
        found.append((kind, reason, message))
    return found


def test_describe_tells_the_story_once(world: World, proxy: ApiProxy) -> None:
    one = first(world)
    two = world.repo.commit({"app/b.yaml": config("b", k="2")}, "Second")
    world.until("Sync", "app", ready_at(two))
    world.api.merge("ConfigMap", world.target, "a", {"data": {"k": "hand"}})
    world.until("Sync", "app", lambda o: o["status"]["summary"]["corrected"] == 1)
    world.repo.commit({"app/b.yaml": BROKEN}, "Broken")
    world.until("Sync", "app", says("RenderFailed"))
    three = world.repo.commit({"app/b.yaml": None}, "Mended")
    world.until("Sync", "app", ready_at(three))
    world.ask("Sync", "app", "again")
    world.until("Sync", "app", lambda o: o["status"].get("requested") == "again")
    # Four commits seen by the Source; install, change, correction, failure, recovery and prune told of the Sync.
    proxy.wait_for(told_of(world), 4 + 6)
    found = {(kind, reason): text for kind, reason, text in events(world)}
    assert sorted(reason for _, reason, _ in events(world)) == [
        "Applied",
        "Applied",
        "Drift",
        "Pruned",
        "Recovered",
        "RenderFailed",
    ]
    texts = [text for _, reason, text in events(world) if reason == "Applied"]
    assert any(t.startswith(f"{short(one)}: 2 created") for t in texts)
    assert any(
        t.startswith(f"{short(two)}: 1 patched (ConfigMap/{world.target}/b), 1 unchanged") for t in texts
    )
    assert "with kubectl-edit: /data/k hand -> 1, corrected" in found["Warning", "Drift"]
    assert "app/b.yaml:3" in found["Warning", "RenderFailed"]
    assert found["Normal", "Recovered"] == "1/1 healthy"


def next_change(world: World, sync: Json) -> Json:
    """Return the first state of a Sync after this one."""
    query = {"watch": "1", "fieldSelector": f"metadata.name={sync['metadata']['name']}"}
    query["resourceVersion"] = sync["metadata"]["resourceVersion"]
    path = f"{world.api.path('Sync', world.namespace)}?{urlencode(query)}"
    with world.api.request("GET", path) as stream:
        found: Json = json.loads(stream.readline())["object"]
        return found


def test_commits_elsewhere_do_not_touch_it(world: World) -> None:
    first(world)
    before = world.until("Sync", "app", is_ready)
    world.sync("other", path="other")
    for number in range(3):
        sha = world.repo.commit({"other/x.yaml": config("x", n=str(number))}, f"Elsewhere {number}")
        world.until("Sync", "other", ready_at(sha))
    sha = world.repo.commit({"app/a.yaml": config("a", k="2")}, "Here")
    world.until("Sync", "app", ready_at(sha))
    # The first write after all of these is that of the last one.
    after = next_change(world, before)
    assert after["status"]["applied"]["revision"].endswith(sha)
    assert condition(after)["status"] == "True"
    assert condition(after)["lastTransitionTime"] == condition(before)["lastTransitionTime"]


def test_the_safety_net_does_not_touch_it(world: World, proxy: ApiProxy) -> None:
    first(world, interval="1s")
    before = world.until("Sync", "app", is_ready)
    checks = world.api.path("ConfigMap", world.target, "a")
    seen = len(proxy.select(lambda r: r.is_dry_run and r.path == checks))
    proxy.wait_for(lambda r: r.is_dry_run and r.path == checks and r.ended, seen + 3)
    after = world.until("Sync", "app", is_ready)
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
