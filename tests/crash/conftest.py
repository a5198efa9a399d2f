"""A control plane of its own for operators that are killed: no other operator may work beside them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.crash.killable import KillableOperator
from tests.crash.killer import Killer
from tests.e2e.conftest import World
from tests.kit.api import Api
from tests.kit.chart import install
from tests.kit.cluster.local import LocalCluster
from tests.kit.cluster.operator import SYSTEM
from tests.kit.cluster.processes import interrupt_on_sigterm
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.githttp import GitHttp


@dataclass(frozen=True)
class Range:
    """All that stories share."""

    cluster: LocalCluster
    api: Api
    git: GitHttp
    operator: KillableOperator
    killer: Killer

    def world(self) -> World:
        """A new World."""
        return World(self.cluster, self.api, self.git)


@pytest.fixture(scope="module")
def shooting_range(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Range]:
    """The chart on a cluster, a proxy, a Git server and an operator that may be killed."""
    interrupt_on_sigterm()
    folder: Path = tmp_path_factory.mktemp("crash")
    with LocalCluster() as cluster:
        install(cluster)
        token = cluster.service_account_token(SYSTEM, "setpoint")
        with (
            ApiProxy(cluster) as proxy,
            GitHttp(folder / "git") as git,
            KillableOperator(proxy.kubeconfig(token), folder) as operator,
        ):
            yield Range(cluster, Api(cluster), git, operator, Killer(proxy, operator))
