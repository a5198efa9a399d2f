"""The chart on a test cluster, with no pod at first: the operator is a process of the test, or scaled up later."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.kit.cluster.base import Cluster
from tests.kit.cluster.binaries import ensure
from tests.kit.cluster.operator import SYSTEM
from tests.kit.cluster.processes import until

from setpoint.api import names

CHART = Path(__file__).parents[2] / "charts" / "setpoint"


def install(cluster: Cluster, *arguments: str) -> None:
    """Install the chart with Helm: CRDs, service accounts and rights."""
    command = [ensure("helm")["helm"], "upgrade", "--install", "setpoint", CHART, "-n", SYSTEM]
    command += ["--create-namespace", "--set", "replicaCount=0", "--kubeconfig", cluster.kubeconfig]
    subprocess.run([str(part) for part in [*command, *arguments]], check=True, capture_output=True)
    crds = [f"crd/{plural}.setpoint.dev" for plural in ("sources", "syncs")]
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=120s", *crds)


def until_attributed(cluster: Cluster) -> None:
    """An admission policy works a moment after it is stored, and says nothing of when: ask until it does."""
    probe = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "probe", "namespace": "default", "labels": {names.LABEL_SYNC: "probe"}},
    }
    ask, asked = ("create", "--dry-run=server", "-o", "json", "-f", "-"), json.dumps(probe)
    until(lambda: names.ANNOTATION_CHANGED_BY in cluster.kubectl(*ask, input=asked), "policy at work", 120)
