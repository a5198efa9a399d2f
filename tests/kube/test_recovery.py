"""A lost inventory is found again by the marks on objects."""

from __future__ import annotations

import asyncio
import secrets

import pytest
from tests.kube.objects import config_map, crd, gone, kind, served

from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError
from setpoint.objects.identity import ObjectId, SyncKey
from setpoint.plan.desired import OwnershipMarks, stamped
from setpoint.store.recovery import owned

pytestmark = pytest.mark.cluster


async def test_a_kind_that_went_since_discovery_hinders_nothing(api: Cluster, namespace: str) -> None:
    """Its objects went with it."""
    definitions = kind(api, "apiextensions.k8s.io/v1", "CustomResourceDefinition")
    group, key = f"t{secrets.token_hex(4)}.example.org", SyncKey(namespace, "app")
    label = secrets.token_hex(8)
    await api.apply(definitions, crd(group, "things", "Thing"))
    try:
        thing = await served(api, f"{group}/v1")
        ours, other = (ObjectId("", "ConfigMap", namespace, name) for name in ("a", "copy"))
        mark = OwnershipMarks(key, label)
        await api.apply(kind(api, "v1", "ConfigMap"), stamped(config_map(namespace, "a"), ours, mark))
        # A copy carries the marks of what it was copied from.
        await api.apply(kind(api, "v1", "ConfigMap"), stamped(config_map(namespace, "copy"), ours, mark))
        await gone(api, definitions, None, f"things.{group}")
        async with asyncio.timeout(60):
            while True:
                try:
                    await api.list(thing)
                except ApiError as error:
                    if error.status == 404:
                        break
                await asyncio.sleep(0.1)
        assert api.kind(f"{group}/v1", "Thing") is not None, "as known from before"
        assert await owned(api, key, label) == {ours: "v1"}
        assert other not in await owned(api, key, label)
    finally:
        await gone(api, definitions, None, f"things.{group}")
