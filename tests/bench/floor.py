"""The floor: the same objects from a bare client at concurrency 32, and one status-sized write for each Sync."""

from __future__ import annotations

import asyncio
import time

from tests.bench import workload
from tests.bench.client import Client, Json, together


def healthy(deployment: Json) -> bool:
    """Whether the Deployment controller has caught up with it."""
    status = deployment.get("status") or {}
    conditions = {c["type"]: c["status"] for c in status.get("conditions") or ()}
    seen = status.get("observedGeneration") == deployment["metadata"]["generation"]
    return seen and conditions.get("Available") == "True"


async def measure(client: Client, count: int) -> float:
    """Seconds until every Deployment is healthy. The Syncs are there before; no operator runs."""
    names = [workload.name_of(n) for n in range(count)]
    await together(client.apply(workload.sync(name)) for name in names)
    began = time.monotonic()
    deployments = client.path("Deployment", workload.TARGET)
    done = asyncio.create_task(client.until_all(deployments, names, healthy))
    await together(_install(client, name) for name in names)
    await done
    return time.monotonic() - began


async def _install(client: Client, name: str) -> None:
    stamped = {"setpoint.dev/owner": f"{workload.HOME}/{name} apps/Deployment/{workload.TARGET}/{name}"}
    for obj in workload.objects(name):
        meta = {**obj["metadata"], "namespace": workload.TARGET, "annotations": stamped}
        await client.apply({**obj, "metadata": meta}, "setpoint")
    operations = [{"op": "add", "path": "/status", "value": workload.status(name)}]
    path = f"{client.path('Sync', workload.HOME, name)}/status?fieldManager=setpoint"
    await client.send("PATCH", path, operations, "application/json-patch+json")
