"""A cluster that these tests may break, and an operator that reaches it through proxies."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.conftest import World, api, git, installed, proxy
from tests.faults.operators import Operator
from tests.kit.api import Api
from tests.kit.cluster.fixtures import own_cluster
from tests.kit.cluster.local import LocalCluster
from tests.kit.cluster.operator import SYSTEM
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.githttp import GitHttp
from tests.kit.servers.tcpproxy import TcpProxy

__all__ = ["api", "git", "installed", "proxy"]


# Parts of it are stopped here.
cluster = pytest.fixture(scope="session", name="cluster")(own_cluster)


@pytest.fixture(scope="module")
def variables() -> dict[str, str]:
    """What a module adds to the operator's environment."""
    return {}


@pytest.fixture(scope="module")
def login(installed: LocalCluster, proxy: ApiProxy) -> Path:
    """How the operator of a module is let in: by a kubeconfig with a token of the chart's ServiceAccount."""
    return proxy.kubeconfig(installed.service_account_token(SYSTEM, "setpoint"))


@pytest.fixture(scope="module")
def operator(
    login: Path, variables: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operator]:
    """The operator of a module; it must survive all that is done to it."""
    folder = tmp_path_factory.mktemp("operator")
    with Operator(login, folder, **variables) as started:
        yield started
    sys.stderr.write(f"\noperator log: {started.log}\n")


@pytest.fixture
def wire(git: GitHttp) -> Iterator[TcpProxy]:
    """Between the operator and the Git server."""
    with TcpProxy(git.port) as between:
        yield between


@pytest.fixture
def world(
    installed: LocalCluster,
    api: Api,
    git: GitHttp,
    operator: Operator,
) -> Iterator[World]:
    """A namespace with a repository, and the operator at work, as it must be afterwards."""
    made = World(installed, api, git)
    yield made
    assert operator.pid is not None, f"the operator ended: {operator.log.read_text()[-3000:]}"
    made.remove()
