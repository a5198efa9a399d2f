"""A cluster for the chart alone: what it installs is cluster-wide, and other tests must not meet it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.kit.cluster import binaries, provide
from tests.kit.cluster.base import Cluster

CHART = Path(__file__).resolve().parents[2] / "charts" / "setpoint"
RELEASE, NAMESPACE = "setpoint", "setpoint-system"
SERVER = "1.36.0"

Objects = list[dict[str, Any]]


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Helm:
    """The real Helm, with files of its own in `folder`; `kubeconfig` is none where no cluster is needed."""

    folder: Path
    kubeconfig: Path | None = None

    def run(self, *arguments: str) -> Result:
        home = {f"HELM_{name}_HOME": str(self.folder / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        done = subprocess.run(
            [str(binaries.ensure("helm")["helm"]), *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **home, "KUBECONFIG": str(self.kubeconfig or os.devnull)},
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def ok(self, *arguments: str) -> str:
        result = self.run(*arguments)
        assert result.code == 0, result.err
        return result.out

    def template(self, *arguments: str) -> Objects:
        """What the chart makes of these values, without a cluster."""
        text = self.ok(
            "template", RELEASE, str(CHART), "--namespace", NAMESPACE, "--kube-version", SERVER, *arguments
        )
        return [document for document in yaml.safe_load_all(text) if document]

    def install(self, *arguments: str) -> str:
        return self.ok(
            "upgrade",
            "--install",
            RELEASE,
            str(CHART),
            "--namespace",
            NAMESPACE,
            "--create-namespace",
            *arguments,
        )


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm(tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def own_cluster() -> Iterator[Cluster]:
    if os.environ.get("SETPOINT_TEST_CLUSTER") == "kubeconfig":
        pytest.skip("installs and removes CRDs, which is not for a cluster that belongs to somebody")
    with provide() as started:
        yield started


def remove(cluster: Cluster, helm: Helm) -> None:
    """Take away all that the chart makes, the CRDs too; a namespace goes with everything that is in it."""
    helm.run("uninstall", RELEASE, "--namespace", NAMESPACE, "--ignore-not-found")
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")
    cluster.kubectl("delete", "crd", "--ignore-not-found", "sources.setpoint.dev", "syncs.setpoint.dev")


@pytest.fixture
def release(own_cluster: Cluster, tmp_path: Path) -> Iterator[Helm]:
    """Helm, with a cluster in which nothing of the chart is, before and after."""
    own = Helm(tmp_path, own_cluster.kubeconfig)
    yield own
    remove(own_cluster, own)


@pytest.fixture(scope="module")
def installed(own_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Helm]:
    """Helm, with the chart installed by default values, for all tests of a module."""
    own = Helm(tmp_path_factory.mktemp("helm"), own_cluster.kubeconfig)
    own.install()
    own_cluster.kubectl(
        "wait",
        "--timeout=120s",
        "--for=condition=Established",
        "crd/sources.setpoint.dev",
        "crd/syncs.setpoint.dev",
    )
    yield own
    remove(own_cluster, own)


@pytest.fixture(scope="module")
def with_crds(own_cluster: Cluster, installed: Helm) -> Cluster:
    """The cluster with the CRDs that the chart installed."""
    assert installed.kubeconfig == own_cluster.kubeconfig
    return own_cluster


def parsed(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found
