"""Pytest fixtures around clusters; `tests/conftest.py` registers them."""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import Iterator

import pytest
from tests.kit.ci import ROOT_IN_CI
from tests.kit.cluster import provide, versions
from tests.kit.cluster.base import Cluster
from tests.kit.cluster.local import LocalCluster
from tests.kit.cluster.node import unavailable
from tests.kit.cluster.processes import interrupt_on_sigterm

_NUMBERS = itertools.count()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that needs what the Kubernetes under test lacks."""
    for mark in item.iter_markers("needs"):
        for feature in mark.args:
            if reason := versions.lacking(feature):
                pytest.skip(reason)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The cluster that all tests of a session share: use a `namespace` of your own in it."""
    interrupt_on_sigterm()
    if as_node():
        require_node()
    with provide() as started:
        yield started


@pytest.fixture(scope="session")
def kwok_cluster() -> Iterator[Cluster]:
    """Shared as well; here pods become Ready and Jobs complete, whatever their image."""
    interrupt_on_sigterm()
    if os.environ.get("SETPOINT_TEST_CLUSTER") == "kubeconfig":
        pytest.skip("needs a fake node, which a cluster from $KUBECONFIG is not given")
    with provide(kwok=True) as started:
        yield started


@pytest.fixture(scope="session")
def node_cluster() -> Iterator[LocalCluster]:
    """Shared as well; here containers run, on a real node, of images that `load` gave it. Mark tests with `node`."""
    interrupt_on_sigterm()
    require_node()
    with LocalCluster(node=True) as started:
        yield started


def as_node() -> bool:
    """Whether the cluster that tests share is to have a real node."""
    return os.environ.get("SETPOINT_TEST_CLUSTER") == "node"


def require_node() -> None:
    """Skip the test where no node can run; in CI, as root, that is a failure."""
    if os.environ.get("SETPOINT_TEST_CLUSTER") == "kubeconfig":
        pytest.skip("needs a node of this machine, and a cluster from $KUBECONFIG is asked for")
    if reason := unavailable():
        if ROOT_IN_CI:
            pytest.fail(f"CI as root must be able to run a node: {reason}")
        pytest.skip(reason)


def own_cluster() -> Iterator[LocalCluster]:
    """A control plane that no other tests share: they may stop its parts, and start them again for the next."""
    interrupt_on_sigterm()
    with LocalCluster() as started:
        yield started


local_cluster = pytest.fixture(scope="module", name="local_cluster")(own_cluster)


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A new namespace of the shared cluster, deleted after the test (without waiting for its end)."""
    name = f"test-{next(_NUMBERS)}-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false", "--ignore-not-found")
