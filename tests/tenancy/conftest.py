"""Two kinds of tenants of one operator: who owns something, and who wants to know, take or hold up what is not theirs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from tests.e2e.conftest import World, api, git, installed, proxy
from tests.faults.operators import Operator
from tests.kit.api import Api, Json
from tests.kit.cluster.fixtures import own_cluster
from tests.kit.cluster.local import LocalCluster
from tests.kit.cluster.operator import SYSTEM
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.githttp import GitHttp

__all__ = ["api", "git", "installed", "proxy"]

RBAC = "rbac.authorization.k8s.io"


class Tenant(World):
    """A namespace for Syncs and one for objects, whose account `deployer` may write in the latter alone."""

    def account(self, name: str, role: str | None) -> None:
        super().account(name, None)
        if role:
            self.admit(self.target)

    def admit(self, namespace: str) -> None:
        """Let the account write in a namespace."""
        body = {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": f"{self.namespace}-deployer"},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "admin"},
            "subjects": [{"kind": "ServiceAccount", "namespace": self.namespace, "name": "deployer"}],
        }
        self.api.create("RoleBinding", namespace, body)

    def may_make_namespaces(self) -> None:
        """Let the account create Namespaces, as where teams help themselves; what is in them is another matter."""
        name = f"{self.namespace}-namespaces"
        rules = [
            {
                "apiGroups": [""],
                "resources": ["namespaces"],
                "verbs": ["get", "list", "create", "patch", "delete"],
            }
        ]
        head: Json = {"apiVersion": f"{RBAC}/v1", "metadata": {"name": name}}
        self.api.create("ClusterRole", None, {**head, "kind": "ClusterRole", "rules": rules})
        subjects = [{"kind": "ServiceAccount", "namespace": self.namespace, "name": "deployer"}]
        role = {"apiGroup": RBAC, "kind": "ClusterRole", "name": name}
        binding = {**head, "kind": "ClusterRoleBinding", "roleRef": role, "subjects": subjects}
        self.api.create("ClusterRoleBinding", None, binding)

    def sync(self, name: str = "app", **spec: Any) -> None:
        super().sync(name, **{"path": name, **spec})

    def told(self) -> str:
        """All that this tenant can read of the operator: its Syncs and its Events."""
        found = [*self.api.list("Sync", self.namespace), *self.api.list("Event", self.namespace)]
        return json.dumps([{**o, "metadata": {**o["metadata"], "managedFields": None}} for o in found])


# An operator of its own works in it.
cluster = pytest.fixture(scope="session", name="cluster")(own_cluster)


@pytest.fixture(scope="module")
def operator(
    installed: LocalCluster, proxy: ApiProxy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Operator]:
    login = proxy.kubeconfig(installed.service_account_token(SYSTEM, "setpoint"))
    with Operator(login, tmp_path_factory.mktemp("operator")) as started:
        yield started
    sys.stderr.write(f"\noperator log: {started.log}\n")


def _tenant(installed: LocalCluster, api: Api, git: GitHttp, operator: Operator) -> Iterator[Tenant]:
    """A new tenant with a Source."""
    assert operator.running
    made = Tenant(installed, api, git)
    made.repo.commit({"README": "nothing yet"}, "First")
    made.source()
    yield made
    made.remove()


# Who must not notice anything.
owner = pytest.fixture(scope="module", name="owner")(_tenant)
# Who may write nothing of the owner's, and tries everything.
stranger = pytest.fixture(scope="module", name="stranger")(_tenant)
