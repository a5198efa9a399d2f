"""The node is a real one: containers run, reach the API and each other, and nothing of it survives its owner."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from tests.kit.cluster import cgroups, images
from tests.kit.cluster.base import KubectlError
from tests.kit.cluster.fixtures import require_node
from tests.kit.cluster.local import LocalCluster
from tests.kit.cluster.processes import interrupt_on_sigterm, lives, until
from tests.kit.cluster.workspace import cgroup, sweep

pytestmark = [pytest.mark.cluster, pytest.mark.node]
ROOT = Path(__file__).parents[3]
# As process 1 it would ignore the signal to end, and each of its pods would take the 30 s of grace.
WEB = ("sh", "-c", "trap exit TERM; httpd -f -p 8080 -h /www & wait")
# busybox does not speak the TLS that the API server wants; that it is the API server which says so is the proof.
ASK_API = r"printf 'GET / HTTP/1.0\r\n\r\n' | nc $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT"
ANSWER = "Client sent an HTTP request to an HTTPS server."
OWNER = """
import signal
from tests.kit.cluster import images
from tests.kit.cluster.local import LocalCluster
cluster = LocalCluster(node=True).start()
cluster.load(images.busybox(cluster.folder / "web.tar", "web:owner").path)
cluster.kubectl("run", "web", "--image=web:owner")
cluster.kubectl("wait", "--for=condition=Ready", "--timeout=60s", "pod/web")
print(cluster.folder, cluster.node.interface, cluster.node.init, *cluster.pids.values(), flush=True)
signal.pause()
"""


@pytest.fixture(scope="module")
def web(node_cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of an image that serves one page on port 8080."""
    target = tmp_path_factory.mktemp("image") / "web.tar"
    node_cluster.load(images.busybox(target, "web:1", WEB, {"www/index.html": "hello\n"}).path)
    return "web:1"


@pytest.fixture(scope="module")
def pod(node_cluster: LocalCluster, web: str) -> str:
    """The name of a pod of that image that is ready, behind a Service of the same name."""
    node_cluster.kubectl("run", "web", f"--image={web}", "--port=8080")
    node_cluster.kubectl("expose", "pod", "web", "--port=80", "--target-port=8080")
    node_cluster.kubectl("wait", "--for=condition=Ready", "--timeout=60s", "pod/web")
    return "web"


def test_this_machine_reaches_a_pod_by_its_address(node_cluster: LocalCluster, pod: str) -> None:
    address = node_cluster.kubectl("get", "pod", pod, "--output=jsonpath={.status.podIP}")
    with urllib.request.urlopen(f"http://{address}:8080/", timeout=10) as answer:
        assert answer.read() == b"hello\n"


def test_a_pod_reaches_the_api_at_its_service(node_cluster: LocalCluster, pod: str) -> None:
    assert ANSWER in node_cluster.kubectl("exec", pod, "--", "sh", "-c", ASK_API)


def test_a_pod_reaches_another_and_itself_through_a_service(
    node_cluster: LocalCluster, web: str, pod: str
) -> None:
    script = "until wget -qO- http://$WEB_SERVICE_HOST/; do sleep 0.1; done"
    node_cluster.kubectl(
        "run", "visitor", f"--image={web}", "--restart=Never", "--command", "--", "sh", "-c", script
    )
    node_cluster.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s", "pod/visitor")
    assert node_cluster.kubectl("logs", "visitor").endswith("hello\n")
    address = node_cluster.kubectl("get", "service", "web", "--output=jsonpath={.spec.clusterIP}")
    assert node_cluster.kubectl("exec", pod, "--", "wget", "-qO-", f"http://{address}/") == "hello\n"


def test_a_deployment_becomes_available_and_its_pods_go_with_it(node_cluster: LocalCluster, web: str) -> None:
    node_cluster.kubectl("create", "deployment", "shop", f"--image={web}", "--replicas=2")
    node_cluster.kubectl("wait", "--for=condition=Available", "--timeout=60s", "deployment/shop")
    node_cluster.kubectl("delete", "deployment", "shop", "--cascade=foreground", "--timeout=60s")
    assert node_cluster.kubectl("get", "pods", "--selector=app=shop", "--output=name") == ""


def test_an_image_that_nobody_has_is_told_by_the_kubelet(node_cluster: LocalCluster) -> None:
    node_cluster.kubectl("run", "lost", "--image=registry.invalid/lost:1")
    reason = "{.status.containerStatuses[0].state.waiting.reason}=ErrImagePull"
    node_cluster.kubectl("wait", f"--for=jsonpath={reason}", "--timeout=60s", "pod/lost")
    node_cluster.kubectl("delete", "pod", "lost", "--wait=false")


def test_a_container_that_takes_too_much_memory_is_killed(node_cluster: LocalCluster, web: str) -> None:
    container = {
        "name": "greedy",
        "image": web,
        "command": ["tail", "/dev/zero"],  # one line without an end, all of it kept
        "resources": {"limits": {"memory": "64Mi"}},
    }
    spec = {"restartPolicy": "Never", "containers": [container]}
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "greedy"}, "spec": spec}
    node_cluster.kubectl("create", "--filename=-", input=json.dumps(body))
    reason = "{.status.containerStatuses[0].state.terminated.reason}=OOMKilled"
    node_cluster.kubectl("wait", f"--for=jsonpath={reason}", "--timeout=60s", "pod/greedy")


def test_two_nodes_do_not_meet(node_cluster: LocalCluster, pod: str) -> None:
    with LocalCluster(node=True) as other:
        assert other.host != node_cluster.host
        with pytest.raises(KubectlError, match="NotFound"):
            other.kubectl("get", "pod", pod)
        link, group = socket.if_nametoindex(other.node.interface), cgroup(other.folder)
    assert ANSWER in node_cluster.kubectl("exec", pod, "--", "sh", "-c", ASK_API)
    _gone(link, group)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_of_a_node_survives_its_owner(number: signal.Signals) -> None:
    require_node()
    interrupt_on_sigterm()
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as owner:
        try:
            assert owner.stdout is not None
            folder, interface, init, *pids = owner.stdout.readline().split()
            inside, link = _inside(int(init)), socket.if_nametoindex(interface)
            assert len(inside) > len(pids) - 4  # pause, web and shims are in there as well
        except BaseException:
            owner.kill()  # or the `with` would wait for it for ever
            raise
        owner.send_signal(number)
    ended = [int(init), *map(int, pids), *inside]
    until(lambda: not any(map(lives, ended)), "end of the node", 30)
    assert not any(folder in line for line in Path("/proc/self/mounts").read_text().splitlines())
    sweep()  # what nobody was left to remove, as everybody does who comes next
    assert not Path(folder).exists()
    _gone(link, cgroup(Path(folder)))


def _inside(init: int) -> list[int]:
    """All processes of a PID namespace, as they are numbered here."""
    space = Path(f"/proc/{init}/ns/pid").readlink()
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (path / "ns/pid").readlink() == space:
                found.append(int(path.name))
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it ended while we looked, or belongs to somebody mightier
    return found


def _gone(link: int, group: str) -> None:
    """An interface by its index: a node of another worker may have one of the same name by now."""
    until(lambda: link not in dict(socket.if_nameindex()), f"end of interface {link}", 30)
    assert [root for root in cgroups.hierarchies() if (root / group).exists()] == []
