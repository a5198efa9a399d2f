"""A real API server gives the extra to those who may impersonate it, and our client does without where it may not."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import Any

import pytest
from tests.kit.cluster.base import Cluster as Environment
from tests.kit.servers.apiproxy import ApiProxy
from tests.kube.objects import kind

from setpoint.api import names
from setpoint.codegen import rbac
from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError

pytestmark = pytest.mark.cluster
RBAC = "rbac.authorization.k8s.io"


async def grant(api: Cluster, namespace: str, name: str, rules: list[dict[str, Any]]) -> None:
    """Let the ServiceAccount `operator` do this in the whole cluster."""
    role = {"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}
    subject = {"kind": "ServiceAccount", "name": "operator", "namespace": namespace}
    reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": name}
    binding = {**role, "kind": "ClusterRoleBinding", "roleRef": reference, "subjects": [subject]}
    del binding["rules"]
    for manifest in (role, binding):
        await api.create(kind(api, f"{RBAC}/v1", str(manifest["kind"])), manifest)


def rules_of(role: rbac.Role, group: str) -> list[dict[str, Any]]:
    return [
        {"apiGroups": list(r.groups), "resources": list(r.resources), "verbs": list(r.verbs)}
        for r in role.rules
        if group in r.groups and "impersonate" in r.verbs
    ]


async def extra(connection: Cluster, user: str) -> object:
    """Return what the API server is told of us beside the user's name."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {}}
    made = await connection.create(
        kind(connection, "authentication.k8s.io/v1", "SelfSubjectReview"), review, user=user
    )
    told = made["status"]["userInfo"]
    assert told["username"] == user
    return (told.get("extra") or {}).get(names.OPERATOR_EXTRA)


async def test_a_request_proves_whose_it_is_where_it_may(
    api: Cluster,
    api_proxy: ApiProxy,
    cluster: Environment,
    namespace: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount"}
    for name in ("operator", "deployer"):
        meta = {"name": name, "namespace": namespace}
        await api.create(kind(api, "v1", "ServiceAccount"), {**account, "metadata": meta})
    user = f"system:serviceaccount:{namespace}:deployer"
    assert await extra(api, user) == [names.FIELD_MANAGER]
    await grant(api, namespace, f"{namespace}-older", rules_of(rbac.IMPERSONATE, ""))
    counts: Counter[tuple[str, int]] = Counter()
    connection = await Cluster.connect(
        str(api_proxy.kubeconfig(cluster.service_account_token(namespace, "operator"))),
        user_agent="setpoint-tests",
        count=lambda v, c: counts.update([(v, c)]),
    )
    try:
        await connection.discover()
        async with asyncio.timeout(30):  # the authorizer learns of the binding from its own watch
            while True:
                try:
                    assert await extra(connection, user) is None
                    break
                except ApiError as error:
                    assert "serviceaccounts" in error.message  # noqa: PT017 - no answer yet
                    await asyncio.sleep(0.05)
        with caplog.at_level(logging.WARNING):
            before = counts.total()
            # Of those at once, and of all that come after, none is refused again.
            await asyncio.gather(*(extra(connection, user) for _ in range(5)))
            assert counts.total() == before + 5
        assert [r.levelname for r in caplog.records if "userextras" in r.message] == ["WARNING"]
        # The right is given, and found out about without a restart.
        await grant(api, namespace, f"{namespace}-newer", rules_of(rbac.CLUSTER, "authentication.k8s.io"))
        monkeypatch.setattr("setpoint.kube.proof.WITHOUT_SECONDS", 0.0)
        connection._transport._proof._without_until = 0.0
        async with asyncio.timeout(30):
            while await extra(connection, user) != [names.FIELD_MANAGER]:
                await asyncio.sleep(0.05)
    finally:
        await connection.close()
