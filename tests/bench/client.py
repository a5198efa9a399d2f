"""A bare asynchronous client of the API server: what the bench does itself, and what the floor is measured with."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
import orjson
from tests.kit.cluster.base import Cluster

Json = dict[str, Any]
T = TypeVar("T")
PLURALS = {
    "Namespace": "/api/v1/namespaces",
    "ServiceAccount": "/api/v1/{}/serviceaccounts",
    "Service": "/api/v1/{}/services",
    "ConfigMap": "/api/v1/{}/configmaps",
    "Ingress": "/apis/networking.k8s.io/v1/{}/ingresses",
    "Deployment": "/apis/apps/v1/{}/deployments",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/{}/rolebindings",
    "FlowSchema": "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas",
    "ValidatingAdmissionPolicy": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
    "Source": "/apis/setpoint.dev/v1alpha1/{}/sources",
    "Sync": "/apis/setpoint.dev/v1alpha1/{}/syncs",
}


class ClientError(RuntimeError):
    """The API server refused a request of the bench."""


class Client:
    """One connection pool, at most `concurrency` requests at a time (watches aside); a context manager."""

    def __init__(self, cluster: Cluster, concurrency: int = 32) -> None:
        self._server = cluster.server
        self._slots = asyncio.Semaphore(concurrency)
        tls = ssl.create_default_context(cafile=str(cluster.ca))
        headers = {"Authorization": f"Bearer {cluster.admin_token()}", "Accept-Encoding": "identity"}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=tls),
            timeout=aiohttp.ClientTimeout(total=None),
            headers=headers,
            auto_decompress=False,
            read_bufsize=1 << 22,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    @staticmethod
    def path(kind: str, namespace: str = "", name: str = "") -> str:
        """The path of a kind, or of one object."""
        base = PLURALS[kind].replace("/{}", f"/namespaces/{namespace}" if namespace else "")
        return f"{base}/{name}" if name else base

    async def send(
        self, method: str, path: str, body: Any = None, content: str = "application/json"
    ) -> bytes:
        """One request; the body of the answer. Raises ClientError."""
        data = orjson.dumps(body) if body is not None else None
        async with (
            self._slots,
            self._session.request(
                method, self._server + path, data=data, headers={"Content-Type": content}
            ) as answer,
        ):
            text = await answer.read()
            if answer.status >= 300:
                raise ClientError(f"{method} {path}: {answer.status} {text[:500]!r}")
            return text

    async def apply(self, obj: Json, manager: str = "bench") -> Json:
        """Server-side apply."""
        meta = obj["metadata"]
        path = self.path(obj["kind"], meta.get("namespace", ""), meta["name"])
        text = await self.send(
            "PATCH", f"{path}?fieldManager={manager}&force=true", obj, "application/apply-patch+yaml"
        )
        return dict(orjson.loads(text))

    async def merge(self, path: str, body: Json, manager: str = "kubectl-edit") -> Json:
        """Merge patch, as a person's kubectl sends it."""
        text = await self.send(
            "PATCH", f"{path}?fieldManager={manager}", body, "application/merge-patch+json"
        )
        return dict(orjson.loads(text))

    async def edit(self, path: str, body: Json) -> None:
        """Strategic merge patch, as `kubectl edit` sends it."""
        await self.send(
            "PATCH", f"{path}?fieldManager=kubectl-edit", body, "application/strategic-merge-patch+json"
        )

    async def get(self, path: str) -> Json:
        """One object or list."""
        return dict(orjson.loads(await self.send("GET", path)))

    async def metrics(self) -> str:
        """The API server's own metrics."""
        return (await self.send("GET", "/metrics")).decode()

    async def watch(self, path: str, version: str | None = None) -> AsyncGenerator[tuple[str, Json], None]:
        """What is there (unless a version is given), and then what happens."""
        if version is None:
            found = await self.get(path)
            version = found["metadata"]["resourceVersion"]
            for item in found["items"]:
                yield "ADDED", item
        url = f"{self._server}{path}?watch=1&resourceVersion={version}"
        async with self._session.get(url) as answer:
            while line := await answer.content.readuntil():
                event = orjson.loads(line)
                if event["type"] == "ERROR":
                    raise ClientError(f"watch {path}: {event['object']}")
                yield event["type"], event["object"]

    async def until_all(self, path: str, names: Iterable[str], fits: Callable[[Json], bool]) -> None:
        """Return when each of these objects has fitted once."""
        left = set(names)
        async for kind, obj in self.watch(path):
            if kind != "DELETED" and obj["metadata"]["name"] in left and fits(obj):
                left.discard(obj["metadata"]["name"])
                if not left:
                    return


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All at once; the client's slots are the limit."""
    return list(await asyncio.gather(*work))
