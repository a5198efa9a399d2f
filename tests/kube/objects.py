"""Small manifests for tests, and waiting until the API server knows what is new."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from setpoint.api import names
from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError
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


async def until_accepted(send: Callable[[], Awaitable[object]], *passing: int) -> None:
    """Send until the answer is none of these statuses: the API server learns of rights and kinds by watches of its own."""
    async with asyncio.timeout(20):
        while True:
            try:
                await send()
            except ApiError as error:
                if error.status not in passing:
                    raise
                await asyncio.sleep(0.1)
            else:
                return


async def served(api: Cluster, api_version: str) -> Kind:
    """Wait until the kind Thing is served; returns it."""
    async with asyncio.timeout(60):
        while True:
            await api.discover()
            found = api.kind(api_version, "Thing")
            try:
                if found is not None:
                    await api.list(found)
                    return found
            except ApiError as error:
                if error.status not in (404, 429, 503):
                    raise
            await asyncio.sleep(0.1)
