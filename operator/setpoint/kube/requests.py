"""Builds the HTTP request for each verb of the Kubernetes API (pure).

In: a kind, an object or its name. Out: a `Request` that `transport` sends. Paths and parameters are those
of the Kubernetes API concepts page; server-side apply is KEP-555.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

import orjson

from setpoint.api import names
from setpoint.objects.kinds import Kind

_JSON = "application/json"
_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `target` is path and query, already quoted; `verb` is for metrics.

    `user` is whom to impersonate. `repeatable`: sending it twice is the same as sending it once. `secret`: the
    answer may quote Secret values.
    """

    verb: str
    method: str
    target: str
    body: bytes | None = None
    content_type: str = _JSON
    accept: str = _JSON
    user: str | None = None
    repeatable: bool = True
    secret: bool = False


_RESOURCE = re.compile(r"/(?:api/v1|apis/(?P<group>[^/]+)/[^/]+)/(?:namespaces/[^/]+/)?(?P<plural>[^/?]+)")


def resource_of(target: str) -> str:
    """Return what a request is about, as RBAC and a CRD name it (`deployments.apps`), or "" for what is no resource."""
    found = _RESOURCE.match(target)
    if found is None:
        return ""
    return f"{found['plural']}.{found['group']}" if found["group"] else found["plural"]


def read(kind: Kind, namespace: str | None, name: str, user: str | None) -> Request:
    """Read one object."""
    return Request("get", "GET", kind.path(namespace, name), user=user, secret=_is_secret(kind))


def apply(
    kind: Kind,
    manifest: Mapping[str, Any],
    user: str | None,
    *,
    field_validation: str,
    force: bool,
    dry_run: bool,
) -> Request:
    """Server-side apply; the body is JSON, which is YAML too."""
    meta = manifest["metadata"]
    query = {
        "fieldManager": names.FIELD_MANAGER,
        "force": str(force).lower(),
        "fieldValidation": field_validation,
    }
    return Request(
        "dry-run" if dry_run else "apply",
        "PATCH",
        _target(kind.path(meta.get("namespace"), meta["name"]), query, dry_run=dry_run),
        orjson.dumps(manifest),
        "application/apply-patch+yaml",
        user=user,
        secret=_is_secret(kind),
    )


def patch(
    kind: Kind,
    namespace: str | None,
    name: str,
    operations: Sequence[Mapping[str, Any]],
    user: str | None,
    *,
    subresource: str | None,
    dry_run: bool,
) -> Request:
    """JSON Patch (RFC 6902)."""
    return Request(
        "patch",
        "PATCH",
        _target(
            kind.path(namespace, name, subresource), {"fieldManager": names.FIELD_MANAGER}, dry_run=dry_run
        ),
        orjson.dumps(operations),
        "application/json-patch+json",
        user=user,
        repeatable=False,
        secret=_is_secret(kind),
    )


def create(kind: Kind, manifest: Mapping[str, Any], user: str | None) -> Request:
    """Create an object."""
    path = kind.path(manifest["metadata"].get("namespace"))
    return Request(
        "create",
        "POST",
        _target(path, {"fieldManager": names.FIELD_MANAGER}),
        orjson.dumps(manifest),
        user=user,
        repeatable=False,
        secret=_is_secret(kind),
    )


def delete(
    kind: Kind,
    namespace: str | None,
    name: str,
    user: str | None,
    *,
    uid: str,
    version: str,
    propagation: str,
) -> Request:
    """Delete the object with that uid, and no other of the same name; with a version, only as it was then."""
    options = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "preconditions": {"uid": uid, **({"resourceVersion": version} if version else {})},
        "propagationPolicy": propagation,
    }
    return Request(
        "delete",
        "DELETE",
        kind.path(namespace, name),
        orjson.dumps(options),
        user=user,
        secret=_is_secret(kind),
    )


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a kind to list or to watch (`name`: one alone), and whether their metadata is enough."""

    kind: Kind
    namespace: str | None = None
    label_selector: str | None = None
    metadata_only: bool = False
    name: str | None = None


def page(what: Selection, user: str | None, *, limit: int, token: str | None) -> Request:
    """Read one page of a list; no limit (0) means all of it at once."""
    query = {"limit": str(limit)} if limit else {}
    if token:
        query["continue"] = token
    return Request(
        "list",
        "GET",
        _target(what.kind.path(what.namespace), query | _selector(what)),
        accept=_METADATA_LIST if what.metadata_only else _JSON,
        user=user,
        secret=_is_secret(what.kind),
    )


def watch(what: Selection, *, resource_version: str, seconds: int) -> Request:
    """Watch what happens after a version, for so many seconds."""
    query = {
        "watch": "1",
        "allowWatchBookmarks": "true",
        "resourceVersion": resource_version,
        "timeoutSeconds": str(seconds),
    }
    return Request(
        "watch",
        "GET",
        _target(what.kind.path(what.namespace), query | _selector(what)),
        accept=_METADATA if what.metadata_only else _JSON,
        secret=_is_secret(what.kind),
    )


def _selector(what: Selection) -> dict[str, str]:
    labels = {"labelSelector": what.label_selector} if what.label_selector else {}
    # RBAC's resourceNames let a list or watch pass that selects by this field.
    return {**labels, "fieldSelector": f"metadata.name={what.name}"} if what.name else labels


def _target(path: str, query: Mapping[str, str], *, dry_run: bool = False) -> str:
    query = {**query, "dryRun": "All"} if dry_run else query
    return f"{path}?{_encoded(tuple(query.items()))}" if query else path


@lru_cache(maxsize=64)
def _encoded(query: tuple[tuple[str, str], ...]) -> str:
    """Encode a query; those of writes are always the same."""
    return urlencode(query)


def _is_secret(kind: Kind) -> bool:
    return kind.kind == "Secret"
