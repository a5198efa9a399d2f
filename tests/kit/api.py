"""A small client for tests: reads, writes and waits on the real API server, by watches and not by polling."""

from __future__ import annotations

import contextlib
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from tests.kit.cluster.base import Cluster

Json = dict[str, Any]
Items = list[Json]
SECONDS = 180.0
"""For what happens in a second: the operator's own back-off may be a minute by then, and a machine under load is slow."""
BUSY = 429

PLURALS = {
    "Sync": ("apis/setpoint.dev/v1alpha1", "syncs"),
    "Source": ("apis/setpoint.dev/v1alpha1", "sources"),
    "ConfigMap": ("api/v1", "configmaps"),
    "Secret": ("api/v1", "secrets"),
    "Service": ("api/v1", "services"),
    "ServiceAccount": ("api/v1", "serviceaccounts"),
    "PersistentVolumeClaim": ("api/v1", "persistentvolumeclaims"),
    "StorageClass": ("apis/storage.k8s.io/v1", "storageclasses"),
    "Namespace": ("api/v1", "namespaces"),
    "Event": ("api/v1", "events"),
    "Pod": ("api/v1", "pods"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "StatefulSet": ("apis/apps/v1", "statefulsets"),
    "ClusterRoleBinding": ("apis/rbac.authorization.k8s.io/v1", "clusterrolebindings"),
    "ClusterRole": ("apis/rbac.authorization.k8s.io/v1", "clusterroles"),
    "ValidatingWebhookConfiguration": (
        "apis/admissionregistration.k8s.io/v1",
        "validatingwebhookconfigurations",
    ),
    "MutatingWebhookConfiguration": (
        "apis/admissionregistration.k8s.io/v1",
        "mutatingwebhookconfigurations",
    ),
    "RoleBinding": ("apis/rbac.authorization.k8s.io/v1", "rolebindings"),
    "CustomResourceDefinition": ("apis/apiextensions.k8s.io/v1", "customresourcedefinitions"),
    "Certificate": ("apis/cert-manager.io/v1", "certificates"),
    "Issuer": ("apis/cert-manager.io/v1", "issuers"),
    "Widget": ("apis/test.setpoint.dev/v1", "widgets"),
}


class Api:
    """The API server, as an administrator."""

    def __init__(self, cluster: Cluster) -> None:
        self._server, self._token = cluster.server, cluster.admin_token()
        self._tls = ssl.create_default_context(cafile=str(cluster.ca))

    def path(self, kind: str, namespace: str | None = None, name: str | None = None) -> str:
        root, plural = PLURALS[kind]
        where = f"/namespaces/{namespace}" if namespace else ""
        return f"/{root}{where}/{plural}" + (f"/{name}" if name else "")

    def request(
        self, method: str, path: str, body: Any = None, content: str = "application/json", timeout: float = 30
    ) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": content}
        request = urllib.request.Request(self._server + path, data=data, method=method, headers=headers)
        deadline = time.monotonic() + timeout
        while True:
            try:
                return urllib.request.urlopen(request, context=self._tls, timeout=timeout)
            except urllib.error.HTTPError as error:
                # What the server says about a kind for as long as its cache is not ready.
                if error.code != BUSY or time.monotonic() > deadline:
                    raise
                error.close()
                time.sleep(float(error.headers.get("Retry-After", 1)))

    def get(self, kind: str, namespace: str | None, name: str) -> Json:
        """Return an object that must be there."""
        found = self.seek(kind, namespace, name)
        assert found is not None, f"{kind} {name} in {namespace} is not there"
        return found

    def seek(self, kind: str, namespace: str | None, name: str) -> Json | None:
        """Return an object, or None where there is none."""
        try:
            with self.request("GET", self.path(kind, namespace, name)) as answer:
                found: Json = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 404:
                return None
            raise

    def list(self, kind: str, namespace: str | None = None) -> list[Json]:
        with self.request("GET", self.path(kind, namespace)) as answer:
            items: list[Json] = json.load(answer)["items"]
            return items

    def find(self, path: str, *, absent_ok: bool = False) -> Items:
        """Return the items of a list; none, with `absent_ok`, where the kind is not served."""
        try:
            with self.request("GET", path) as answer:
                items: list[Json] = json.load(answer)["items"]
                return items
        except urllib.error.HTTPError as error:
            error.close()
            if absent_ok and error.code == 404:
                return []
            raise

    def create(self, kind: str, namespace: str | None, body: Json) -> Json:
        with self.request("POST", self.path(kind, namespace), body) as answer:
            made: Json = json.load(answer)
            return made

    def merge(
        self, kind: str, namespace: str | None, name: str, body: Json, manager: str = "kubectl-edit"
    ) -> Json:
        path = f"{self.path(kind, namespace, name)}?fieldManager={manager}"
        with self.request("PATCH", path, body, "application/merge-patch+json") as answer:
            made: Json = json.load(answer)
            return made

    def delete(self, kind: str, namespace: str | None, name: str) -> None:
        self.request("DELETE", self.path(kind, namespace, name)).close()

    def discard(self, kind: str, namespace: str | None, name: str) -> None:
        """Delete an object if it is there."""
        try:
            self.delete(kind, namespace, name)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != 404:
                raise

    def until(
        self,
        kind: str,
        namespace: str | None,
        name: str,
        fits: Callable[[Json | None], Any],
        seconds: float = SECONDS,
    ) -> Json:
        """Return the object as soon as it fits; AssertionError with its last state otherwise.

        `fits` is given None where the object is absent; when that fits, what is given is empty.
        """
        return self._until(kind, namespace, f"metadata.name={name}", fits, seconds) or {}

    def since(
        self, kind: str, known: Json, fits: Callable[[Json | None], Any], seconds: float = SECONDS
    ) -> None:
        """Wait as `until` does, but show `fits` every state after the one that is known."""
        meta = known["metadata"]
        namespace, selector = meta.get("namespace"), f"metadata.name={meta['name']}"
        if not self._watched(kind, namespace, selector, known, meta["resourceVersion"], fits, seconds)[0]:
            self.until(kind, namespace, meta["name"], fits, seconds)

    def announced(self, namespace: str, reason: str, about: str) -> Json:
        """Return an Event of this reason about an object, as soon as there is one: they are posted in the background."""
        selector = f"reason={reason},involvedObject.name={about}"
        found = self._until("Event", namespace, selector, lambda o: o is not None, SECONDS)
        assert found is not None
        return found

    def _until(
        self,
        kind: str,
        namespace: str | None,
        selector: str,
        fits: Callable[[Json | None], Any],
        seconds: float,
    ) -> Json | None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            last, version = self._now(kind, namespace, selector)
            if fits(last):
                return last
            found, last = self._watched(kind, namespace, selector, last, version, fits, left)
            if found:
                return last
        shown = {k: v for k, v in (last or {}).get("metadata", {}).items() if k != "managedFields"}
        text = json.dumps({**last, "metadata": shown} if last else None, indent=1)
        raise AssertionError(f"{kind} {selector} in {namespace} never fitted: {text[:6000]}")

    def _now(self, kind: str, namespace: str | None, selector: str) -> tuple[Json | None, str]:
        """Return an object, and the version from which a watch misses nothing."""
        query = urlencode({"fieldSelector": selector})
        with self.request("GET", f"{self.path(kind, namespace)}?{query}") as answer:
            found = json.load(answer)
        whole = {"apiVersion": found["apiVersion"], "kind": kind}
        last = {**whole, **found["items"][0]} if found["items"] else None
        return last, found["metadata"]["resourceVersion"]

    def _watched(
        self,
        kind: str,
        namespace: str | None,
        selector: str,
        last: Json | None,
        version: str,
        fits: Callable[[Json | None], Any],
        left: float,
    ) -> tuple[bool, Json | None]:
        """Follow an object from a version; returns whether it fitted, and its last state."""
        query = {
            "watch": "1",
            "fieldSelector": selector,
            "resourceVersion": version,
            "timeoutSeconds": str(max(1, int(left))),
        }
        path = f"{self.path(kind, namespace)}?{urlencode(query)}"
        with contextlib.suppress(TimeoutError), self.request("GET", path, timeout=left + 2) as stream:
            for line in stream:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    break  # e.g. the version is too old by now: the next round starts from a new one
                last = None if event["type"] == "DELETED" else event["object"]
                if fits(last):
                    return True, last
        return False, last


def condition(obj: Json | None, kind: str = "Ready") -> Json:
    """Return a condition of an object; empty if it has none."""
    found = ((obj or {}).get("status") or {}).get("conditions") or []
    return next((c for c in found if c["type"] == kind), {})


def is_ready(obj: Json | None) -> bool:
    """Return whether an object is Ready at its newest generation."""
    c = condition(obj)
    return c.get("status") == "True" and c.get("observedGeneration") == (obj or {})["metadata"]["generation"]


def says(reason: str, word: str = "") -> Callable[[Json | None], bool]:
    """Return a check that Ready has this reason, and a word in its message."""
    return lambda obj: condition(obj).get("reason") == reason and word in condition(obj).get("message", "")
