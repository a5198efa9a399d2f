"""Kinds without a status subresource: their `status` is a field like any other, which Git may set."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from tests.e2e.conftest import World
from tests.e2e.test_sync import ready_at
from tests.kit.api import Json, is_ready
from tests.kit.cluster.base import KubectlError

pytestmark = pytest.mark.cluster


class Switches:
    """A CRD of the test's own, with a status subresource in those versions that `status` names."""

    def __init__(self, world: World) -> None:
        self.world, self.group = world, f"{world.namespace}.example.org"

    def crd(self, *versions: str, status: tuple[str, ...] = ()) -> str:
        names = {"kind": "Switch", "plural": "switches", "singular": "switch", "listKind": "SwitchList"}
        each = [self._version(v, storage=v == versions[0], status=v in status) for v in versions]
        head = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
        spec = {"group": self.group, "scope": "Namespaced", "names": names, "versions": each}
        return json.dumps({**head, "metadata": {"name": f"switches.{self.group}"}, "spec": spec})

    @staticmethod
    def _version(name: str, *, storage: bool, status: bool) -> Json:
        schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
        made: Json = {"name": name, "served": True, "storage": storage, "schema": schema}
        return {**made, "subresources": {"status": {}}} if status else made

    def switch(self, version: str = "v1", **fields: Any) -> str:
        head = {"apiVersion": f"{self.group}/{version}", "kind": "Switch", "metadata": {"name": "hall"}}
        return json.dumps({**head, "room": "hall", **fields})

    def status(self) -> Any:
        return self.live().get("status")

    def live(self) -> Json:
        text = self._kubectl("get", f"switches.v1.{self.group}", "hall", "-o", "json")
        found: Json = json.loads(text)
        return found

    def edit(self, *operations: Json, version: str = "v1") -> None:
        """Edit it by hand, at one version; admission policies know a new kind a moment later than all others."""
        words = (
            f"switches.{version}.{self.group}",
            "hall",
            "--type=json",
            f"--patch={json.dumps(operations)}",
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                self._kubectl("patch", *words)
            except KubectlError as error:
                if "There can be a delay" not in str(error) or time.monotonic() > deadline:
                    raise
            else:
                return

    def until(self, status: Any) -> None:
        """Wait for a status, as the watch shows it."""
        self._kubectl(
            "wait",
            f"switches.v1.{self.group}/hall",
            "--timeout=120s",
            f"--for=jsonpath={{.status.wanted}}={status}",
        )

    def _kubectl(self, verb: str, *words: str) -> str:
        return self.world.cluster.kubectl(verb, *words, "-n", self.world.target)


@pytest.fixture
def switches(world: World) -> Switches:
    return Switches(world)


def start(world: World, files: Json, **spec: Any) -> None:
    sha = world.repo.commit(files, "First")
    world.source()
    world.sync(**spec)
    world.until("Sync", "app", ready_at(sha))


def corrected(world: World, count: int) -> Json:
    return world.until("Sync", "app", lambda o: is_ready(o) and o["status"]["summary"]["corrected"] == count)


def test_a_status_that_is_a_plain_field_is_applied_and_held(world: World, switches: Switches) -> None:
    start(world, {"crd.yaml": switches.crd("v1"), "s.yaml": switches.switch(status={"wanted": "on"})})
    assert switches.status() == {"wanted": "on"}
    switches.edit({"op": "replace", "path": "/status/wanted", "value": "off"})
    sync = corrected(world, 1)
    assert switches.status() == {"wanted": "on"}
    (entry,) = sync["status"]["driftLog"]
    assert entry["patch"] == [{"op": "replace", "path": "/status/wanted", "value": "on"}]
    switches.edit({"op": "add", "path": "/status/extra", "value": "1"})
    corrected(world, 2)
    assert switches.status() == {"wanted": "on"}
    sha = world.repo.commit({"s.yaml": switches.switch(status={"wanted": "dimmed"})}, "Another")
    world.until("Sync", "app", ready_at(sha))
    assert switches.status() == {"wanted": "dimmed"}
    sha = world.repo.commit({"s.yaml": switches.switch()}, "None any more")
    world.until("Sync", "app", ready_at(sha))
    assert switches.status() is None
    switches.edit({"op": "add", "path": "/status", "value": {"wanted": "off"}})
    corrected(world, 3)
    assert switches.status() is None


def test_an_edit_is_reported_where_that_is_asked(world: World, switches: Switches) -> None:
    start(
        world,
        {"crd.yaml": switches.crd("v1"), "s.yaml": switches.switch(status={"wanted": "on"})},
        drift="Report",
    )
    switches.edit({"op": "replace", "path": "/status/wanted", "value": "off"})
    sync = world.until("Sync", "app", lambda o: o and o["status"]["summary"]["drifted"] == 1)
    assert not is_ready(sync)
    assert sync["status"]["differences"][0]["patch"] == [
        {"op": "replace", "path": "/status/wanted", "value": "on"}
    ]
    assert switches.status() == {"wanted": "off"}


def test_a_status_that_somebody_made_is_git_s_once_it_is_adopted(world: World, switches: Switches) -> None:
    world.cluster.kubectl("apply", "-f", "-", input=switches.crd("v1"))
    try:
        world.cluster.kubectl("wait", f"crd/switches.{switches.group}", "--for=condition=Established")
        made = switches.switch(status={"wanted": "off", "by": "hand"})
        world.cluster.kubectl("create", "-n", world.target, "-f", "-", input=made)
        start(world, {"s.yaml": switches.switch(status={"wanted": "on"})})
        assert switches.status() == {"wanted": "on", "by": "hand"}
        sha = world.repo.commit({"s.yaml": switches.switch(status={"wanted": "dimmed"})}, "Another")
        world.until("Sync", "app", ready_at(sha))
        assert switches.status() == {"wanted": "dimmed", "by": "hand"}
    finally:
        world.cluster.kubectl("delete", f"crd/switches.{switches.group}", "--wait=false")


def test_a_crd_loses_its_subresource_and_gets_it_back(world: World, switches: Switches) -> None:
    """Each time only the CRD changes in Git, and what `status` means with it."""
    start(
        world,
        {"crd.yaml": switches.crd("v1", status=("v1",)), "s.yaml": switches.switch(status={"wanted": "on"})},
    )
    assert switches.status() is None
    sha = world.repo.commit({"crd.yaml": switches.crd("v1")}, "A plain field")
    switches.until("on")
    sync = world.until("Sync", "app", ready_at(sha))
    assert sync["status"]["summary"]["corrected"] == 0
    switches.edit({"op": "replace", "path": "/status/wanted", "value": "off"})
    corrected(world, 1)
    assert switches.status() == {"wanted": "on"}
    sha = world.repo.commit({"crd.yaml": switches.crd("v1", status=("v1",))}, "A subresource")
    world.until("Sync", "app", ready_at(sha))
    # By now it is a controller's, and none of our business.
    world.cluster.kubectl(
        "patch", f"switches.{switches.group}", "hall", "-n", world.target, "--subresource=status", "--type=merge",
        '--patch={"status": {"wanted": "off"}}',
    )  # fmt: skip
    sha = world.repo.commit(
        {"s.yaml": switches.switch(status={"wanted": "on"}, room="attic")}, "Another room"
    )
    world.until("Sync", "app", ready_at(sha))
    assert (switches.live()["room"], switches.status()) == ("attic", {"wanted": "off"})
    assert world.status()["summary"]["corrected"] == 1


def test_versions_differ_in_whether_status_is_a_subresource(world: World, switches: Switches) -> None:
    crd = switches.crd("v1", "v2", status=("v2",))
    start(world, {"crd.yaml": crd, "s.yaml": switches.switch("v1", status={"wanted": "on"})})
    assert switches.status() == {"wanted": "on"}
    switches.edit({"op": "replace", "path": "/status/wanted", "value": "off"}, version="v1")
    corrected(world, 1)
    assert switches.status() == {"wanted": "on"}
    sha = world.repo.commit(
        {"s.yaml": switches.switch("v2", status={"wanted": "ignored"}, room="attic")}, "Version 2"
    )
    sync = world.until("Sync", "app", ready_at(sha))
    assert sync["status"]["summary"]["synced"] == sync["status"]["summary"]["objects"]
    assert (switches.live()["room"], switches.status()) == ("attic", {"wanted": "on"})


def test_the_status_of_a_crd_in_git_is_nobody_s(world: World, switches: Switches) -> None:
    """As generators of CRDs write it."""
    generated = {**json.loads(switches.crd("v1")), "status": {"conditions": [], "storedVersions": ["v0"]}}
    start(world, {"crd.yaml": json.dumps(generated), "s.yaml": switches.switch()})
    sha = world.repo.commit({"s.yaml": switches.switch(room="attic")}, "Another room")
    world.until("Sync", "app", ready_at(sha))
    world.ask("Sync", "app", "again")
    world.until("Sync", "app", lambda o: is_ready(o) and o["status"].get("requested") == "again")
    assert world.status()["summary"]["corrected"] == 0
