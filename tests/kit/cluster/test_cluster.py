"""The test cluster is a real one: its controllers work, its parts can be stopped, nothing of it survives."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.kit.cluster import versions
from tests.kit.cluster.base import Cluster, KubectlError
from tests.kit.cluster.local import LocalCluster
from tests.kit.cluster.processes import lives, until
from tests.kit.cluster.workspace import sweep

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).parents[3]
OWNER = """
import signal
from tests.kit.cluster.local import LocalCluster
cluster = LocalCluster(kwok=True).start()
print(cluster.folder, *cluster.pids.values(), flush=True)
signal.pause()
"""


def test_the_server_says_which_kubernetes_it_is(cluster: Cluster) -> None:
    version = json.loads(cluster.kubectl("version", "--output=json"))["serverVersion"]
    assert int(version["minor"].rstrip("+")) >= 30  # unstamped binaries would say 0


def test_the_server_has_every_feature_but_those_that_its_version_lacks(cluster: Cluster) -> None:
    if not isinstance(cluster, LocalCluster):
        pytest.skip("somebody else chose its version")
    version = json.loads(cluster.kubectl("version", "--output=json"))["serverVersion"]
    assert f"{version['major']}.{version['minor']}" == (versions.chosen() or versions.NEWEST)
    table = map(str.split, cluster.kubectl("api-resources", "--no-headers").splitlines())
    served = {(words[-1], words[-3]) for words in table}
    there = {feature for feature, api in versions.FEATURES.items() if (feature, api) in served}
    assert there == {feature for feature in versions.FEATURES if not versions.lacking(feature)}
    # The chart leaves the policy alone where it is a beta, and here no beta may stand in for it.
    admission = {api for _, api in served if api.startswith("admissionregistration")}
    assert admission == {"admissionregistration.k8s.io/v1"}


def test_a_deployment_without_replicas_becomes_available(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("create", "deployment", "web", "--image=none", "--replicas=0", "--namespace", namespace)
    cluster.kubectl(
        "wait", "--for=condition=Available", "--timeout=30s", "deployment/web", "--namespace", namespace
    )
    deployment = json.loads(
        cluster.kubectl("get", "deployment", "web", "--namespace", namespace, "--output=json")
    )
    assert deployment["status"]["observedGeneration"] == deployment["metadata"]["generation"]


def test_a_namespace_terminates_with_what_is_in_it(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("create", "configmap", "one", "--namespace", namespace)
    cluster.kubectl("delete", "namespace", namespace, "--timeout=60s")
    assert cluster.kubectl("get", "namespace", namespace, "--ignore-not-found") == ""


def test_a_token_has_the_rights_of_its_account_and_no_more(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("create", "serviceaccount", "robot", "--namespace", namespace)
    kubeconfig = cluster.kubeconfig_for(cluster.service_account_token(namespace, "robot"))
    who = cluster.kubectl("auth", "whoami", "--output=name", f"--kubeconfig={kubeconfig}", check=False)
    assert f"system:serviceaccount:{namespace}:robot" in who + cluster.kubectl(
        "auth", "whoami", f"--kubeconfig={kubeconfig}"
    )
    with pytest.raises(KubectlError, match="forbidden"):
        cluster.kubectl("get", "secrets", "--namespace", namespace, f"--kubeconfig={kubeconfig}")


def test_the_admin_token_may_do_everything(cluster: Cluster) -> None:
    kubeconfig = cluster.kubeconfig_for(cluster.admin_token())
    assert cluster.kubectl("auth", "can-i", "*", "*", f"--kubeconfig={kubeconfig}").strip() == "yes"


def test_pods_of_unpullable_images_become_ready_on_the_fake_node(kwok_cluster: Cluster) -> None:
    kwok_cluster.kubectl("create", "deployment", "web", "--image=registry.invalid/web:1", "--replicas=3")
    kwok_cluster.kubectl("wait", "--for=condition=Available", "--timeout=60s", "deployment/web")
    pods = json.loads(kwok_cluster.kubectl("get", "pods", "--selector=app=web", "--output=json"))["items"]
    assert {pod["spec"]["nodeName"] for pod in pods} == {"kwok-node-0"}
    assert len({pod["status"]["podIP"] for pod in pods}) == 3
    kwok_cluster.kubectl("delete", "deployment", "web", "--cascade=foreground", "--timeout=60s")
    assert kwok_cluster.kubectl("get", "pods", "--selector=app=web", "--output=name") == ""


def test_a_job_completes_on_the_fake_node(kwok_cluster: Cluster) -> None:
    kwok_cluster.kubectl("create", "job", "once", "--image=registry.invalid/job:1")
    kwok_cluster.kubectl("wait", "--for=condition=Complete", "--timeout=60s", "job/once")


@pytest.mark.parametrize(("fate", "phase"), [("pending", "Pending"), ("failed", "Failed")])
def test_a_pod_meets_the_fate_of_its_annotation(kwok_cluster: Cluster, fate: str, phase: str) -> None:
    name = f"fate-{fate}"
    annotation = f"--annotations=tests.setpoint.dev/fate={fate}"
    kwok_cluster.kubectl("run", name, "--image=registry.invalid/x:1", "--restart=Never", annotation)
    kwok_cluster.kubectl("wait", "--for=condition=PodScheduled", "--timeout=60s", f"pod/{name}")
    # A pod that came later is ready, so kwok has seen this one.
    kwok_cluster.kubectl("run", f"after-{fate}", "--image=registry.invalid/x:1")
    kwok_cluster.kubectl("wait", "--for=condition=Ready", "--timeout=60s", f"pod/after-{fate}")
    kwok_cluster.kubectl("wait", f"--for=jsonpath={{.status.phase}}={phase}", "--timeout=60s", f"pod/{name}")


def test_two_clusters_do_not_see_each_other(local_cluster: LocalCluster) -> None:
    with LocalCluster() as other:
        other.kubectl("create", "namespace", "only-here")
        assert other.server != local_cluster.server
        assert local_cluster.kubectl("get", "namespace", "only-here", "--ignore-not-found") == ""
        with pytest.raises(KubectlError, match="certificate"):
            local_cluster.kubectl("get", "namespaces", f"--server={other.server}")
        folder = other.folder
    assert not folder.exists()


def test_objects_survive_a_restart_of_the_api_server_and_of_etcd(local_cluster: LocalCluster) -> None:
    local_cluster.kubectl("create", "configmap", "kept")
    server = local_cluster.server
    local_cluster.restart_apiserver()
    assert local_cluster.server == server
    assert local_cluster.kubectl("get", "configmap", "kept", "--output=name") == "configmap/kept\n"
    local_cluster.stop_etcd()
    with pytest.raises(KubectlError):
        local_cluster.kubectl("create", "configmap", "lost", "--request-timeout=5s")
    local_cluster.start_etcd()
    assert local_cluster.kubectl("get", "configmap", "kept", "--output=name") == "configmap/kept\n"


def test_controllers_go_on_after_an_outage(local_cluster: LocalCluster) -> None:
    local_cluster.stop_apiserver()
    with pytest.raises(KubectlError, match="refused"):
        local_cluster.kubectl("get", "namespaces")
    local_cluster.start_apiserver()
    local_cluster.kubectl("create", "namespace", "later")
    local_cluster.kubectl("delete", "namespace", "later", "--timeout=180s")


def test_nothing_survives_the_sigkill_of_its_owner() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        folder, *pids = owner.stdout.readline().split()
        assert len(pids) == 5
        assert all(lives(int(pid)) for pid in pids)
        owner.send_signal(signal.SIGKILL)
    until(lambda: not any(lives(int(pid)) for pid in pids), "end of the components", 30)
    sweep()  # what nobody was left to remove, as everybody does who comes next: another worker even before us
    assert not Path(folder).exists()


def test_a_cluster_that_cannot_start_says_why_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(layout: object) -> list[str]:
        return [sys.executable, "-c", "raise SystemExit('etcd is out of order')"]

    monkeypatch.setattr("tests.kit.cluster.components.etcd", broken)
    cluster = LocalCluster()
    with pytest.raises(RuntimeError, match="etcd is out of order"):
        cluster.start()
    assert not cluster.folder.exists()
    assert cluster.pids == {}
