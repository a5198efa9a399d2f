"""The API server for the sweep, as an administrator: which kinds there are, and what it would answer."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from tests.compat.catalog import NAMESPACE, Json, Kind, kind_of
from tests.compat.schema import Schemas
from tests.kit.cluster.base import Cluster

APPLY = "application/apply-patch+yaml"
PATCH = "application/json-patch+json"
BUSY = 429


@dataclass(frozen=True, slots=True)
class Served:
    """A kind as discovery has it."""

    kind: Kind
    plural: str
    namespaced: bool
    verbs: frozenset[str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server said: the object, or the refusal."""

    status: int
    body: Json

    @property
    def is_accepted(self) -> bool:
        """Whether it did, or would do, what was asked."""
        return self.status < 300


class Server:
    """Requests on connections that stay open, one for each thread."""

    def __init__(self, cluster: Cluster) -> None:
        where = urlsplit(cluster.server)
        self._host, self._port = str(where.hostname), where.port
        self._tls = ssl.create_default_context(cafile=str(cluster.ca))
        self._token = cluster.admin_token()
        self._local = threading.local()
        self._open: list[http.client.HTTPSConnection] = []
        self.served = self._discover()

    def close(self) -> None:
        """Close all connections."""
        for each in self._open:
            each.close()

    def send(self, method: str, path: str, body: Any = None, content: str = "application/json") -> Answer:
        """Send a request; a connection that the server closed meanwhile is opened again."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": content}
        data = json.dumps(body) if body is not None else None
        try:
            return self._sent(method, path, data, headers)
        except (http.client.HTTPException, ConnectionError):
            self._connection().close()
            return self._sent(method, path, data, headers)

    def path(self, manifest: Json, *, new: bool = False) -> str:
        """Return the path of an object, or of the list in which it is made anew."""
        served, meta = self.served[kind_of(manifest)], manifest["metadata"]
        root = "apis" if served.kind.group else "api"
        where = f"/namespaces/{meta.get('namespace', NAMESPACE)}" if served.namespaced else ""
        name = "" if new else f"/{quote(meta['name'])}"
        return f"/{root}/{served.kind.api_version}{where}/{served.plural}{name}"

    def get(self, manifest: Json) -> Json | None:
        """Return an object as it is, or None where there is none."""
        answer = self.send("GET", self.path(manifest))
        return answer.body if answer.is_accepted else None

    def applied(self, manifest: Json, *, dry_run: bool = True) -> Answer:
        """Apply a manifest as the operator does."""
        query = "?fieldManager=setpoint&force=true" + ("&dryRun=All" if dry_run else "")
        return self.send("PATCH", self.path(manifest) + query, manifest, APPLY)

    def is_valid(self, manifest: Json) -> bool:
        """Return whether such an object could be made, were there not one already."""
        answer = self.send(
            "POST", self.path(manifest, new=True) + "?dryRun=All&fieldValidation=Strict", manifest
        )
        return answer.is_accepted or answer.body.get("reason") == "AlreadyExists"

    def edited(self, manifest: Json, operations: list[Json]) -> Answer:
        """Patch an object by hand."""
        return self.send("PATCH", self.path(manifest) + "?fieldManager=kubectl-edit", operations, PATCH)

    def schemas(self) -> Schemas:
        """Return the schemas of all kinds."""
        index = self.send("GET", "/openapi/v3").body["paths"]
        documents = {}
        for version in {kind.api_version for kind in self.served}:
            root = f"apis/{version}" if "/" in version else f"api/{version}"
            documents[version] = self.send("GET", index[root]["serverRelativeURL"]).body
        return Schemas(documents)

    def version(self) -> str:
        """Return the version of the server."""
        return str(self.send("GET", "/version").body["gitVersion"])

    def _discover(self) -> Mapping[Kind, Served]:
        versions = ["v1"]
        groups = self.send("GET", "/apis").body["groups"]
        kept = (g for g in groups if not g["name"].endswith(("setpoint.dev", "example.org")))
        versions += [g["preferredVersion"]["groupVersion"] for g in kept]
        found = {}
        for version in versions:
            root = "apis" if "/" in version else "api"
            for each in self.send("GET", f"/{root}/{version}").body["resources"]:
                if "/" not in each["name"]:
                    kind = Kind(version, each["kind"])
                    found[kind] = Served(kind, each["name"], each["namespaced"], frozenset(each["verbs"]))
        return found

    def _connection(self) -> http.client.HTTPSConnection:
        found: http.client.HTTPSConnection | None = getattr(self._local, "connection", None)
        if found is None:
            found = http.client.HTTPSConnection(self._host, self._port, context=self._tls, timeout=60)
            self._local.connection = found
            self._open.append(found)
        return found

    def _sent(self, method: str, path: str, data: str | None, headers: Mapping[str, str]) -> Answer:
        connection = self._connection()
        connection.request(method, path, data, headers)
        response = connection.getresponse()
        return Answer(response.status, json.loads(response.read()))
