"""`helm install` with the chart's own values but a longer lease, of the image of `make image`, on a real node: what it needs and what it may.

python -m pytest -q -s tests/pod/test_pod.py -k ready     prints how long the pod takes to be Ready
"""

from __future__ import annotations

import os
import time
from datetime import datetime

import pytest
from tests.e2e.conftest import World, config
from tests.e2e.test_sync import ready_at
from tests.kit import pods
from tests.kit.api import Json, condition, is_ready, says
from tests.kit.ci import ONLY_IN_CI
from tests.kit.cluster.base import KubectlError
from tests.kit.cluster.operator import SYSTEM
from tests.pod.conftest import NAME, Site, web

pytestmark = [pytest.mark.cluster, pytest.mark.node, ONLY_IN_CI]
USER = "65532"


def available(pod: Json | None) -> bool:
    return condition(pod).get("status") == "True"


def shown(world: World) -> str:
    """Return what a person sees."""
    return world.cluster.kubectl("get", "syncs", "--namespace", world.namespace, "--no-headers")


@pytest.fixture(scope="module")
def installed(site: Site) -> Json:
    """Install the chart and wait for its pod; returns it as it was when it became Ready, and says how long that took."""
    site.install()
    selector = "app.kubernetes.io/name=setpoint"
    site.cluster.kubectl(
        "wait", "--for=create", "--timeout=60s", "pod", f"--selector={selector}", "--namespace", SYSTEM
    )
    name = pods.only(site.api)["metadata"]["name"]
    pod = site.api.until("Pod", SYSTEM, name, available)
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert pod is not None
    ticks = int(pods.process(site.cluster, pod, "stat").rpartition(")")[2].split()[19])
    started = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
    by_kubelet = datetime.fromisoformat(condition(pod)["lastTransitionTime"]) - datetime.fromisoformat(
        started
    )
    seconds = now - ticks / os.sysconf("SC_CLK_TCK")
    print(f"\nReady {seconds:.2f} s after its process began (by the kubelet's clock: {by_kubelet.seconds} s)")
    return pod


def test_the_pod_becomes_ready(installed: Json) -> None:
    (status,) = installed["status"]["containerStatuses"]
    assert (status["ready"], status["restartCount"]) == (True, 0)
    assert status["image"].endswith("/setpoint:0.1.0")


def test_it_has_no_rights_on_the_node(site: Site, installed: Json) -> None:
    lines = pods.process(site.cluster, installed, "status").splitlines()
    found = {line.partition(":")[0]: line.partition(":")[2].split() for line in lines}
    assert (found["Uid"], found["Gid"]) == ([USER] * 4, [USER] * 4)
    assert {found[name][0] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert found["NoNewPrivs"] == ["1"]


def test_it_can_write_to_its_volumes_and_to_nothing_else(site: Site, installed: Json) -> None:
    mounts = [line.split() for line in pods.process(site.cluster, installed, "mounts").splitlines()]
    root = next(m for m in mounts if m[1] == "/")
    assert "ro" in root[3].split(",")
    name = installed["metadata"]["name"]

    def write(path: str) -> str:
        code = f"open({path!r}, 'w').write('x'); print('written')"
        command = ("exec", name, "--namespace", SYSTEM, "--", "/usr/bin/python3.11", "-I", "-c", code)
        return site.cluster.kubectl(*command).strip()

    for path in ("/tmp/x", "/var/cache/setpoint/x"):
        assert write(path) == "written"
    for path in ("/x", "/usr/local/bin/x", "/var/x", "/etc/x"):
        with pytest.raises(KubectlError, match="Read-only file system"):
            write(path)


def test_it_has_no_shell(site: Site, installed: Json) -> None:
    command = ("exec", installed["metadata"]["name"], "--namespace", SYSTEM, "--", "sh", "-c", "true")
    with pytest.raises(KubectlError, match="executable file not found"):
        site.cluster.kubectl(*command)


@pytest.mark.usefixtures("installed")
def test_a_folder_of_git_converges(world: World) -> None:
    files = {"a.yaml": config("a", k="1"), "kustomization.yaml": "resources: [a.yaml]\nnamePrefix: x-\n"}
    sha = world.repo.commit(files, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    assert world.get("ConfigMap", "x-a")["data"] == {"k": "1"}
    world.api.delete("ConfigMap", world.target, "x-a")
    world.until("ConfigMap", "x-a", lambda o: o is not None)


@pytest.mark.slow
@pytest.mark.usefixtures("installed")
def test_a_workload_starts_fails_with_the_words_of_the_kubelet_and_recovers(world: World) -> None:
    sha = world.repo.commit({"web.yaml": web("1", replicas=2)}, "First")
    world.source()
    world.sync(timeout="1h")
    sync = world.until("Sync", "app", ready_at(sha))
    assert condition(sync)["message"] == "1/1 healthy"
    deployment = world.get("Deployment", "web")
    assert deployment["status"]["readyReplicas"] == 2

    world.repo.commit({"web.yaml": web("3", replicas=2)}, "A tag that nobody pushed")
    sync = world.until("Sync", "app", says("Degraded"))
    said = condition(sync)["message"]
    assert said.startswith("1 of 1 degraded: Deployment/")
    assert f"container web: ErrImagePull {NAME}:3" in said
    assert said[:40] in shown(world)
    assert world.announced("Degraded")["type"] == "Warning"

    sha = world.repo.commit({"web.yaml": web("2", replicas=2)}, "One that exists")
    world.until("Sync", "app", ready_at(sha))
    assert world.get("Deployment", "web")["status"]["readyReplicas"] == 2


@pytest.mark.usefixtures("installed")
def test_a_pod_that_no_node_can_take_is_told_by_the_scheduler(world: World) -> None:
    world.repo.commit({"web.yaml": web("1", memory="64Ti")}, "More than there is")
    world.source()
    world.sync()
    sync = world.until("Sync", "app", says("Progressing", "Insufficient memory"))
    assert "Deployment/" in condition(sync)["message"]
    sha = world.repo.commit({"web.yaml": web("1")}, "Less")
    world.until("Sync", "app", ready_at(sha))


@pytest.mark.usefixtures("installed")
def test_what_failed_is_known_after_a_restart_without_a_change_of_status(world: World, site: Site) -> None:
    world.repo.commit({"web.yaml": web("3")}, "A tag that nobody pushed")
    world.source()
    world.sync()
    before = world.until("Sync", "app", says("Degraded", f"{NAME}:3"))
    old = pods.only(site.api)["metadata"]["name"]
    site.api.delete("Pod", SYSTEM, old)
    site.api.until("Pod", SYSTEM, old, lambda o: o is None)
    world.ask("Sync", "app", "again")
    after = world.until("Sync", "app", lambda o: o["status"].get("requested") == "again")
    assert condition(after) == condition(before)
    assert is_ready(after) is False
