"""What an identity may write, as a real API server answers, and how many questions that takes."""

from __future__ import annotations

import asyncio

import pytest
from tests.kit.servers.apiproxy import ApiProxy
from tests.kube.objects import kind

from setpoint.apply.rights import writable
from setpoint.kube.client import Cluster
from setpoint.objects.identity import ObjectId

pytestmark = pytest.mark.cluster
RBAC = "rbac.authorization.k8s.io"


async def allow(api: Cluster, namespace: str, account: str, *names: str) -> None:
    """Let an account patch ConfigMaps of these names."""
    rules = [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch"], "resourceNames": list(names)}
    ]
    meta = {"namespace": namespace, "name": account}
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    role = {"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": meta, "rules": rules}
    reference = {"apiGroup": RBAC, "kind": "Role", "name": account}
    binding = {**role, "kind": "RoleBinding", "roleRef": reference, "subjects": [subject]}
    del binding["rules"]
    for manifest in (role, binding):
        await api.create(kind(api, f"{RBAC}/v1", str(manifest["kind"])), manifest)


async def test_what_a_role_names_is_found_with_few_questions(
    proxied: Cluster, api_proxy: ApiProxy, namespace: str
) -> None:
    maps = [ObjectId("", "ConfigMap", namespace, f"c{i}") for i in range(40)]
    roles = [ObjectId(RBAC, "ClusterRole", "", f"r{i}") for i in range(40)]
    await allow(proxied, namespace, "named", "c3", "c5", "another")
    user = f"system:serviceaccount:{namespace}:named"
    async with asyncio.timeout(30):  # the authorizer learns of the binding from its own watch
        while not (found := await writable(proxied, user, [*maps, *roles])):
            await asyncio.sleep(0.05)
    assert found == {maps[3], maps[5]}
    api_proxy.clear()
    assert await writable(proxied, user, [*maps, *roles]) == found
    asked = [r.path.rpartition("/")[2] for r in api_proxy.writes]
    assert sorted(asked) == ["selfsubjectaccessreviews"] * 4 + ["selfsubjectrulesreviews"] * 2
