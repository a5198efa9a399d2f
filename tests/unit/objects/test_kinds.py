"""Discovery documents of both forms, and what becomes of an API group whose server is away."""

from __future__ import annotations

from typing import Any

import pytest

from setpoint.objects.kinds import Catalog, Kind, from_aggregated, from_legacy, is_aggregated, legacy_versions

CORE = {
    "kind": "APIGroupDiscoveryList",
    "items": [
        {
            "metadata": {"name": None},
            "versions": [
                {
                    "version": "v1",
                    "freshness": "Current",
                    "resources": [
                        {
                            "resource": "pods",
                            "responseKind": {"group": "", "version": "v1", "kind": "Pod"},
                            "scope": "Namespaced",
                            "verbs": ["get", "list", "delete"],
                            "subresources": [{"subresource": "status"}],
                        },
                        {
                            "resource": "nodes",
                            "responseKind": {"group": "", "version": "v1", "kind": "Node"},
                            "scope": "Cluster",
                            "verbs": ["get"],
                        },
                        {"resource": "bare", "scope": "Cluster", "subresources": [{"subresource": "x"}]},
                    ],
                }
            ],
        }
    ],
}


def group(name: str, *versions: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": "APIGroupDiscoveryList",
        "items": [{"metadata": {"name": name}, "versions": list(versions)}],
    }


def version(name: str, kind: str | None, freshness: str = "Current") -> dict[str, Any]:
    resource = {
        "resource": f"{kind}s".lower(),
        "responseKind": {"kind": kind},
        "scope": "Namespaced",
        "verbs": ["list"],
    }
    return {"version": name, "freshness": freshness} | ({"resources": [resource]} if kind else {})


def test_the_aggregated_form() -> None:
    catalog = from_aggregated(
        (CORE, group("apps", version("v1", "Deployment"), version("v1beta1", "Deployment")))
    )
    pod, node = catalog.kind("v1", "Pod"), catalog.kind("v1", "Node")
    assert pod == Kind("", "v1", "Pod", "pods", True, frozenset({"get", "list", "delete"}), has_status=True)
    assert node is not None
    assert not node.namespaced
    assert not node.has_status
    assert len(catalog.kinds) == 4
    assert catalog.broken == frozenset()


def test_the_version_that_the_server_prefers_comes_first() -> None:
    catalog = from_aggregated((CORE, group("x", version("v2", "Thing"), version("v1", "Thing"))))
    preferred = catalog.preferred("x", "Thing")
    assert preferred is not None
    assert preferred.version == "v2"
    exact = catalog.kind("x/v1", "Thing")
    assert exact is not None
    assert exact.version == "v1"
    assert catalog.kind("x/v3", "Thing") is None


@pytest.mark.parametrize("broken", [version("v1", None), version("v1", "Metric", "Stale")])
def test_a_broken_version_is_noted_and_its_kinds_are_remembered(broken: dict[str, Any]) -> None:
    before = from_aggregated((CORE, group("metrics", version("v1", "Metric"))))
    after = from_aggregated((CORE, group("metrics", broken))).after(before)
    assert after.broken == {("metrics", "v1")}
    assert after.kind("metrics/v1", "Metric") == before.kind("metrics/v1", "Metric")
    assert len(after.kinds) == len(before.kinds)


def test_a_group_that_is_really_gone_is_forgotten() -> None:
    before = from_aggregated((CORE, group("metrics", version("v1", "Metric"))))
    assert from_aggregated((CORE,)).after(before).kind("metrics/v1", "Metric") is None


def test_equal_catalogs_are_equal() -> None:
    assert from_aggregated((CORE,)) == from_aggregated((CORE,))
    assert from_aggregated((CORE,)) != Catalog()


def test_the_legacy_form() -> None:
    core = {"kind": "APIVersions", "versions": ["v1"]}
    groups = {
        "kind": "APIGroupList",
        "groups": [
            {
                "name": "apps",
                "versions": [{"version": "v1beta1"}, {"version": "v1"}],
                "preferredVersion": {"version": "v1"},
            },
            {"name": "metrics", "versions": [{"version": "v1"}], "preferredVersion": {"version": "v1"}},
        ],
    }
    assert not is_aggregated(core)
    pairs = legacy_versions(core, groups)
    assert pairs == [("", "v1"), ("apps", "v1"), ("apps", "v1beta1"), ("metrics", "v1")]
    deployments = {
        "resources": [
            {"name": "deployments", "kind": "Deployment", "namespaced": True, "verbs": ["get"]},
            {"name": "deployments/scale", "kind": "Scale", "namespaced": True, "verbs": ["get"]},
            {"name": "deployments/status", "kind": "Deployment", "namespaced": True, "verbs": ["get"]},
            {"name": "revisions", "kind": "Revision", "namespaced": True, "verbs": ["get"]},
        ]
    }
    catalog = from_legacy(dict(zip(pairs, [{"resources": []}, deployments, deployments, None], strict=True)))
    preferred = catalog.preferred("apps", "Deployment")
    assert preferred is not None
    assert preferred.api_version == "apps/v1"
    assert len(catalog.kinds) == 4
    assert {k.kind: k.has_status for k in catalog.kinds} == {"Deployment": True, "Revision": False}
    assert catalog.broken == {("metrics", "v1")}


@pytest.mark.parametrize(
    ("namespace", "name", "subresource", "path"),
    [
        (None, None, None, "/apis/apps/v1/deployments"),
        ("a", None, None, "/apis/apps/v1/namespaces/a/deployments"),
        ("a", "b", None, "/apis/apps/v1/namespaces/a/deployments/b"),
        ("a", "b", "scale", "/apis/apps/v1/namespaces/a/deployments/b/scale"),
        ("a", "x/../y", None, "/apis/apps/v1/namespaces/a/deployments/x%2F..%2Fy"),
    ],
)
def test_paths(namespace: str | None, name: str | None, subresource: str | None, path: str) -> None:
    kind = Kind("apps", "v1", "Deployment", "deployments", True, frozenset())
    assert kind.path(namespace, name, subresource) == path


def test_cluster_scoped_paths_ignore_a_namespace() -> None:
    role = Kind("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", False, frozenset())
    assert role.path("a", "system:x") == "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Ax"
    assert Kind("", "v1", "Node", "nodes", False, frozenset()).path(name="n") == "/api/v1/nodes/n"
