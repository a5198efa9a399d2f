"""The chart goes, or a CRD: no managed object goes with it, nothing stays stuck, and whoever comes back takes over."""

from __future__ import annotations

import os
import re
import signal
import subprocess

import pytest
from tests.e2e.conftest import ROOT, World, config
from tests.e2e.test_sync import ready_at
from tests.kit.api import condition, is_ready, says
from tests.kit.cluster import binaries
from tests.kit.cluster.operator import SYSTEM
from tests.kit.cluster.processes import until
from tests.lifecycle.conftest import Replica, Stage
from tests.lifecycle.test_handover import edited, held

pytestmark = pytest.mark.cluster
NAMES = ("a", "b", "c")
OPERATIONS = ROOT / "docs/operations.md"


def started(stage: Stage) -> tuple[Replica, str]:
    """Return an operator that leads, and the commit at which its Sync is Ready."""
    replica = stage.replica()
    replica.until_leading()
    sha = stage.world.repo.commit({f"{n}.yaml": config(n, k="1") for n in NAMES}, "First")
    stage.world.source()
    stage.world.sync()
    held(stage.world, sha)
    return replica, sha


def versions(world: World) -> dict[str, tuple[str, str]]:
    """Return uid and resourceVersion of each managed object."""
    found = {n: world.seek("ConfigMap", n) for n in NAMES}
    return {n: (o["metadata"]["uid"], o["metadata"]["resourceVersion"]) for n, o in found.items() if o}


def documented(start: str, world: World) -> None:
    """Run a command as docs/operations.md has it, for the World's Sync."""
    (command,) = re.findall(rf"`({re.escape(start)}[^`]*finalizers[^`]*)`", OPERATIONS.read_text())
    line = command.replace("NAMESPACE", world.namespace).replace("NAME", "app")
    kubectl = binaries.kubectl()
    path = f"{kubectl.parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "KUBECONFIG": str(world.cluster.kubeconfig)}
    subprocess.run(["sh", "-c", line], check=True, env=environment, capture_output=True)


def test_an_uninstall_keeps_everything_and_a_new_install_takes_over(stage: Stage) -> None:
    replica, sha = started(stage)
    before = versions(stage.world)
    assert replica.stop(signal.SIGTERM) == 0
    stage.helm.ok("uninstall", "setpoint", "--namespace", SYSTEM, "--wait")
    assert versions(stage.world) == before
    assert is_ready(stage.api.get("Sync", stage.world.namespace, "app"))
    stage.helm.install("--set=replicaCount=0")
    second = stage.replica()
    second.until_leading()
    stage.world.ask("Sync", "app", "after")
    stage.world.until("Sync", "app", lambda o: o["status"].get("requested") == "after" and ready_at(sha)(o))
    assert versions(stage.world) == before
    assert [r for r in second.proxy.writes if stage.world.target in r.path] == []
    edited(stage.world, "a")


def test_without_an_operator_the_documented_command_lets_a_sync_go(stage: Stage) -> None:
    replica, _ = started(stage)
    assert replica.stop(signal.SIGTERM) == 0
    before = versions(stage.world)
    stage.api.delete("Sync", stage.world.namespace, "app")
    waiting = stage.api.get("Sync", stage.world.namespace, "app")
    assert waiting["metadata"]["finalizers"] == ["setpoint.dev/finalizer"]
    documented("kubectl patch sync NAME", stage.world)
    stage.world.until("Sync", "app", lambda o: o is None)
    assert versions(stage.world) == before


def test_without_an_operator_the_documented_command_lets_a_namespace_go(stage: Stage) -> None:
    replica, _ = started(stage)
    assert replica.stop(signal.SIGTERM) == 0
    before = versions(stage.world)
    stage.api.delete("Namespace", None, stage.world.namespace)
    stage.world.until("Sync", "app", lambda o: o is None or "deletionTimestamp" in o["metadata"])
    documented("kubectl get syncs -n NAMESPACE", stage.world)
    stage.api.until("Namespace", None, stage.world.namespace, lambda o: o is None)
    assert versions(stage.world) == before


def test_the_crd_of_sources_goes_and_comes_back(stage: Stage) -> None:
    replica, sha = started(stage)
    before = versions(stage.world)
    crd = "sources.setpoint.dev"
    stage.api.delete("CustomResourceDefinition", None, crd)
    stage.api.until("CustomResourceDefinition", None, crd, lambda o: o is None)
    sync = stage.world.until("Sync", "app", lambda o: condition(o)["status"] == "False")
    assert condition(sync)["reason"] == "SourceNotFound"
    assert versions(stage.world) == before
    # What is asked of a Sync meanwhile is heard, also when that they are not served is known for long.
    until(lambda: replica.log.read_text().count("are not served") > 1, "a second list without Sources", 60)
    for suspend, reason in ((True, "Suspended"), (False, "SourceNotFound")):
        stage.world.sync(suspend=suspend)
        stage.world.until("Sync", "app", says(reason))
    stage.helm.install("--set=replicaCount=0")
    # A CRD is Established before its objects are served.
    served = ("get", "--raw", "/apis/setpoint.dev/v1alpha1/sources")
    until(
        lambda: '"SourceList"' in stage.cluster.kubectl(*served, check=False), "Sources that are served", 120
    )
    stage.world.source()
    stage.world.until("Sync", "app", ready_at(sha))
    assert versions(stage.world) == before
    assert replica.running
    edited(stage.world, "a")
