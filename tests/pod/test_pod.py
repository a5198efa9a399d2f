"""`helm install` with the chart's own values but a longer lease, of the image of `make image`, on a real node: what it needs and what it may.

python -m pytest -q -s tests/pod/test_pod.py -k ready     prints how long the pod takes to be Ready
"""

from __future__ import annotations

import json
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
CONTAINERS = {"operator": "65532", "worker": "65533"}
"""Their users; the group is the same."""
GROUP = "65532"


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
    started = pods.status(pod)["state"]["running"]["startedAt"]
    by_kubelet = datetime.fromisoformat(condition(pod)["lastTransitionTime"]) - datetime.fromisoformat(
        started
    )
    seconds = now - ticks / os.sysconf("SC_CLK_TCK")
    print(f"\nReady {seconds:.2f} s after its process began (by the kubelet's clock: {by_kubelet.seconds} s)")
    return pod


def test_the_pod_becomes_ready(installed: Json) -> None:
    for name in CONTAINERS:
        status = pods.status(installed, name)
        assert (status["ready"], status["restartCount"]) == (True, 0)
        assert status["image"].endswith("/setpoint:0.1.0")


def test_it_has_no_rights_on_the_node(site: Site, installed: Json) -> None:
    for name, user in CONTAINERS.items():
        lines = pods.process(site.cluster, installed, "status", name).splitlines()
        found = {line.partition(":")[0]: line.partition(":")[2].split() for line in lines}
        assert (found["Uid"], found["Gid"]) == ([user] * 4, [GROUP] * 4)
        assert {found[each][0] for each in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
        assert found["NoNewPrivs"] == ["1"]


def inside(site: Site, pod: Json, container: str, code: str) -> str:
    """Return what Python prints in a container; raises KubectlError with what it says."""
    command = ("exec", pod["metadata"]["name"], "--namespace", SYSTEM, f"--container={container}", "--")
    return site.cluster.kubectl(*command, "/usr/bin/python3.11", "-I", "-c", code).strip()


WRITABLE = {"operator": ("/tmp/x",), "worker": ("/tmp/x", "/var/cache/setpoint/x")}
WRITE = """
import errno
for path in {paths!r}:
    try:
        open(path, "w").write("x")
        print("written")
    except OSError as error:
        print(errno.errorcode[error.errno])
"""


def test_it_can_write_to_its_volumes_and_to_nothing_else(site: Site, installed: Json) -> None:
    for name, writable in WRITABLE.items():
        mounts = [line.split() for line in pods.process(site.cluster, installed, "mounts", name).splitlines()]
        root = next(m for m in mounts if m[1] == "/")
        assert "ro" in root[3].split(",")
        others = ("/x", "/usr/local/bin/x", "/var/x", "/etc/x")
        said = inside(site, installed, name, WRITE.format(paths=(*writable, *others))).split()
        assert said == ["written"] * len(writable) + ["EROFS"] * len(others)


LOOK = """
import json, os, pathlib, socket
wall = pathlib.Path("/run/setpoint/worker.sock")
def kill():
    try:
        wall.unlink()
    except OSError as error:
        return type(error).__name__
def dial():
    try:
        with socket.socket(socket.AF_UNIX) as each:
            each.settimeout(10)
            each.connect(str(wall))
            return each.recv(1).decode()
    except OSError as error:
        return type(error).__name__
print(json.dumps({
    "token": pathlib.Path("/var/run/secrets/kubernetes.io/serviceaccount/token").exists(),
    "secrets": [str(p) for p in pathlib.Path("/var/run/secrets").rglob("*")] if pathlib.Path("/var/run/secrets").exists() else [],
    "environment": sorted(os.environ), "limit": os.environ.get("SETPOINT_WORKER_MEMORY"),
    "first": pathlib.Path("/proc/1/cmdline").read_text().split(chr(0))[-2],
    "wall": oct(wall.parent.stat().st_mode), "socket": oct(wall.stat().st_mode), "owner": wall.stat().st_uid,
    "dial": dial() if os.getuid() != 65532 else None, "unlink": kill() if os.getuid() == 65532 else None,
}))
"""


def test_the_worker_has_nothing_of_the_cluster(site: Site, installed: Json) -> None:
    """What both see of themselves and of each other; the operator cannot take the worker's socket away, nor the worker dial itself."""
    found = {name: json.loads(inside(site, installed, name, LOOK)) for name in CONTAINERS}
    assert (found["operator"]["token"], found["worker"]["token"]) == (True, False)
    assert found["worker"]["secrets"] == []
    known = {
        name for name in found["worker"]["environment"] if not name.startswith(("KUBERNETES_", "SETPOINT_"))
    }
    assert known <= {"HOME", "HOSTNAME", "PATH", "LC_CTYPE", "SSL_CERT_FILE", "LANG", "PYTHONHASHSEED"}, known
    assert "SETPOINT_HMAC_SECRET" not in found["worker"]["environment"]
    # The kubelet tells the worker how much memory it may take, in bytes.
    assert (found["operator"]["limit"], found["worker"]["limit"]) == (None, str(5 * 2**30))
    assert [found[name]["first"] for name in ("operator", "worker")] == ["run", "/run/setpoint"]
    assert found["worker"]["socket"] == "0o140660"
    assert str(found["worker"]["owner"]) == CONTAINERS["worker"]
    assert found["worker"]["dial"] == "", "it is closed before a word"
    assert found["operator"]["unlink"] == "PermissionError"


def test_it_has_no_shell(site: Site, installed: Json) -> None:
    for name in CONTAINERS:
        command = ("exec", installed["metadata"]["name"], "--namespace", SYSTEM, f"--container={name}", "--")
        with pytest.raises(KubectlError, match="executable file not found"):
            site.cluster.kubectl(*command, "sh", "-c", "true")


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
