"""Install, upgrade, use and uninstall the chart on a real API server. Pods do not run there: there is no node."""

from __future__ import annotations

import json

import pytest
from tests.chart import samples
from tests.chart.conftest import CHART, NAMESPACE, RELEASE, Helm, Result, parsed
from tests.kit.cluster import versions
from tests.kit.cluster.base import Cluster
from tests.kit.cluster.processes import until

pytestmark = pytest.mark.cluster
NAMED = "Manual changes   logged with the user who made them"
UNNAMED = "Manual changes   logged with the program that made them; the user is not known"


def leftovers(cluster: Cluster) -> set[str]:
    """Everything in the cluster that carries the release's label, but events."""
    verbs = "--verbs=list,delete"
    kinds = [k for k in cluster.kubectl("api-resources", verbs, "-o", "name").split() if "events" not in k]
    selector = f"--selector=app.kubernetes.io/instance={RELEASE}"
    return set(
        cluster.kubectl(
            "get", ",".join(kinds), "--all-namespaces", selector, "-o", "name", "--ignore-not-found"
        ).split()
    )


def key_of(cluster: Cluster) -> str:
    secret = cluster.kubectl("get", "secret", "setpoint-redaction-key", "-n", NAMESPACE, "-o", "json")
    key: str = parsed(secret)["data"]["key"]
    return key


def test_install_upgrade_uninstall_and_install_again(own_cluster: Cluster, release: Helm) -> None:
    notes = release.install()
    assert "Setpoint 0.1.0 is installed in namespace setpoint-system." in notes
    assert (UNNAMED if versions.lacking("MutatingAdmissionPolicy") else NAMED) in notes
    own_cluster.kubectl(
        "wait",
        "--timeout=120s",
        "--for=condition=Established",
        "crd/sources.setpoint.dev",
        "crd/syncs.setpoint.dev",
    )
    key = key_of(own_cluster)

    release.install("--set=logLevel=debug,image.tag=next")
    assert key_of(own_cluster) == key
    deployment = own_cluster.kubectl("get", "deployment", "setpoint", "-n", NAMESPACE, "-o", "json")
    container = parsed(deployment)["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "setpoint:next"
    assert {"name": "SETPOINT_LOG_LEVEL", "value": "debug"} in container["env"]

    own_cluster.kubectl("create", "-f", "-", input=json.dumps(samples.manifest("Source", samples.source())))
    release.ok("uninstall", RELEASE, "--namespace", NAMESPACE, "--wait")
    # Helm waits for what it made; what that owned, such as Pods, goes a moment later.
    until(lambda: leftovers(own_cluster) == set(), "end of what the release owned", 120)
    assert own_cluster.kubectl("get", "sources", "-o", "name").split() == ["source.setpoint.dev/sample"]
    assert own_cluster.kubectl("get", "secrets", "-n", NAMESPACE, "-o", "name") == ""

    release.install()
    assert key_of(own_cluster) != key


def test_an_upgrade_brings_a_changed_crd(own_cluster: Cluster, release: Helm) -> None:
    """Helm would install a chart's crds/ once and never change it."""
    release.install()
    remove = '[{"op": "remove", "path": "/spec/versions/0/additionalPrinterColumns/0"}]'
    own_cluster.kubectl("patch", "crd", "syncs.setpoint.dev", "--type=json", f"--patch={remove}")
    release.install("--set=logLevel=debug")
    crd = parsed(own_cluster.kubectl("get", "crd", "syncs.setpoint.dev", "-o", "json"))
    assert crd["spec"]["versions"][0]["additionalPrinterColumns"][0]["name"] == "Ready"


def test_a_cluster_older_than_the_oldest_that_is_tested_is_refused(release: Helm) -> None:
    """Helm is told another version of the cluster; what the chart looks up there is real."""
    (oldest,) = versions.OLDER
    major, minor = oldest.split(".")

    def rendered(version: str, *more: str) -> Result:
        return release.run("template", RELEASE, str(CHART), f"--kube-version={version}", *more)

    before = f"v{major}.{int(minor) - 1}.14"
    refused = rendered(before, "--dry-run=server")
    assert f"Setpoint needs Kubernetes {oldest} or newer; this cluster is {before}" in refused.err
    assert rendered(f"v{oldest}.0", "--dry-run=server").code == 0
    assert rendered(before).code == 0, "without a cluster Helm makes the version up"
