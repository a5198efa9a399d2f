"""Small manifests for tests."""

from __future__ import annotations

from typing import Any

from setpoint.api import names
from setpoint.kube.client import Cluster
from setpoint.objects.kinds import Kind

Json = dict[str, Any]


def kind(api: Cluster, api_version: str, name: str) -> Kind:
    """A kind that the cluster must have."""
    found = api.kind(api_version, name)
    assert found is not None, f"no kind {api_version} {name}"
    return found


def config_map(namespace: str, name: str, label: str | None = None, **data: str) -> Json:
    """A ConfigMap, with our label if given."""
    labels = {"labels": {names.LABEL_SYNC: label}} if label else {}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": namespace, "name": name, **labels},
        "data": data,
    }


def deployment(namespace: str, name: str, label: str | None = None, **spec: Any) -> Json:
    """A Deployment without replicas."""
    labels = {"labels": {names.LABEL_SYNC: label}} if label else {}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"namespace": namespace, "name": name, **labels},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "example.org/x:1"}]},
            },
            **spec,
        },
    }


def crd(group: str, plural: str, kind_name: str) -> Json:
    """A CRD of a namespaced kind that takes any spec."""
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {
                "plural": plural,
                "singular": plural[:-1],
                "kind": kind_name,
                "listKind": f"{kind_name}List",
            },
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
            ],
        },
    }


async def gone(api: Cluster, of: Kind, namespace: str | None, name: str) -> None:
    """Delete an object if it is there."""
    if found := await api.get(of, namespace, name):
        await api.delete(of, namespace, name, uid=found["metadata"]["uid"])
