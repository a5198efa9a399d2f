"""Our own custom resources as they are stored: keys, models, whom they refer to (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from setpoint.api.reasons import Problem, Reason
from setpoint.api.resources import Source, Sync
from setpoint.objects.identity import SyncKey

Body = dict[str, Any]


def key_of(body: Mapping[str, Any]) -> SyncKey:
    """Return the key of a custom resource."""
    return SyncKey(body["metadata"]["namespace"], body["metadata"]["name"])


def version_of(body: Mapping[str, Any]) -> int:
    """Return the resourceVersion as a number: comparable within one resource type (KEP-5504)."""
    return int(body["metadata"].get("resourceVersion") or 0)


def explained(error: ValidationError) -> Problem:
    """Return what is wrong with a spec, field by field, without the input's values (they may be secret)."""
    parts = [
        f"{'.'.join(str(p) for p in e['loc'])}: {e['msg']}"
        for e in error.errors(include_input=False, include_url=False)
    ]
    return Problem(Reason.InvalidSpec, "; ".join(parts[:5]))


def sync_model(body: Body) -> Sync:
    """Read a Sync; Problem(InvalidSpec) names the field. Unknown spec fields cannot occur: the server prunes them."""
    try:
        return Sync.model_validate({**{k: body[k] for k in ("apiVersion", "kind", "metadata", "spec")}})
    except ValidationError as error:
        raise explained(error) from error


def lets_in(source: Mapping[str, Any], namespace: str) -> bool:
    """Return whether a Source lets in the Syncs of a namespace.

    Its body is not checked first: what is wrong with it is told to nobody else.
    """
    allowed = (source.get("spec") or {}).get("allowedNamespaces")
    return isinstance(allowed, list) and namespace in allowed


def source_model(body: Body) -> Source:
    """Read a Source; Problem(InvalidSpec) names the field."""
    try:
        return Source.model_validate({**{k: body[k] for k in ("apiVersion", "kind", "metadata", "spec")}})
    except ValidationError as error:
        raise explained(error) from error


def source_key(body: Mapping[str, Any]) -> SyncKey:
    """Return the Source that a Sync's body refers to."""
    ref = body.get("spec", {}).get("source") or {}
    return SyncKey(ref.get("namespace") or body["metadata"]["namespace"], ref.get("name", ""))


def dependency_keys(body: Mapping[str, Any]) -> tuple[SyncKey, ...]:
    """Return the Syncs that a Sync's body depends on."""
    home = body["metadata"]["namespace"]
    return tuple(
        SyncKey(d.get("namespace") or home, d["name"]) for d in body.get("spec", {}).get("dependsOn") or []
    )
