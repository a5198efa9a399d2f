"""A node with the image in it, and the chart installed there with its own values, but for a longer lease."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from image.build import Built
from tests.chart.conftest import Helm
from tests.e2e.conftest import World
from tests.kit.api import Api, Json
from tests.kit.cluster import images
from tests.kit.cluster.local import LocalCluster
from tests.kit.cluster.operator import SYSTEM
from tests.kit.servers.githttp import GitHttp

NAME = "registry.invalid/shop/web"
# On a busy machine the chart's 10 s are lost now and then: the operator ends, as it should, and is restarted.
LEASE = "30s"
TAKEOVER = 180.0
"""Seconds within which another surely leads, and has done what waited for that."""
# As process 1 it would ignore the signal to end, and each of its pods would take the 30 s of grace.
COMMAND = ("sh", "-c", "trap exit TERM; httpd -f -p 8080 -h /www & wait")


@dataclass(frozen=True)
class Site:
    """A cluster with a node, Helm for it, and a client."""

    cluster: LocalCluster
    helm: Helm
    api: Api

    def install(self, *values: str) -> None:
        """Install the chart, or upgrade it; an operator that stands still for some seconds keeps its lease."""
        self.helm.install(f"--set=leaderElection.leaseDuration={LEASE}", *values)


@pytest.fixture(scope="module")
def site(
    node_cluster: LocalCluster, image: Built, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """No chart yet; afterwards none any more, though its CRDs stay."""
    folder = tmp_path_factory.mktemp("site")
    node_cluster.load(image.archive.path)
    for tag in ("1", "2"):
        files = {"www/index.html": f"version {tag}\n"}
        node_cluster.load(images.busybox(folder / f"web-{tag}.tar", f"{NAME}:{tag}", COMMAND, files).path)
    made = Site(node_cluster, Helm(folder, node_cluster.kubeconfig), Api(node_cluster))
    yield made
    made.helm.run("uninstall", "setpoint", "--namespace", SYSTEM, "--ignore-not-found", "--wait")


@pytest.fixture(scope="module")
def git(node_cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitHttp]:
    with GitHttp(tmp_path_factory.mktemp("git"), host=node_cluster.host) as server:
        yield server


def web(tag: str, replicas: int = 1, memory: str = "1Mi") -> str:
    """Return the manifest of a Deployment that serves a page; of the tags, only 1 and 2 exist."""
    probe = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
    container = {"name": "web", "image": f"{NAME}:{tag}", "readinessProbe": probe}
    container |= {"resources": {"requests": {"memory": memory}}}
    pod = {"containers": [container], "terminationGracePeriodSeconds": 1}
    spec: Json = {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}}
    spec["template"] = {"metadata": {"labels": {"app": "web"}}, "spec": pod}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}
    return json.dumps(body)


@pytest.fixture
def world(site: Site, git: GitHttp) -> Iterator[World]:
    """A namespace with a repository; the operator must run at the end of the test."""
    made = World(site.cluster, site.api, git)
    yield made
    made.remove()
