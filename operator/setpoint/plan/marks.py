"""JSON Patches for the marks on objects whose Sync ends (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from setpoint.api import names

Operations = list[dict[str, Any]]
_DROPPED = f"/metadata/annotations/{names.ANNOTATION_DROPPED_BY.replace('/', '~1')}"
_OWNER = f"/metadata/annotations/{names.ANNOTATION_OWNER.replace('/', '~1')}"
_LABEL = f"/metadata/labels/{names.LABEL_SYNC.replace('/', '~1')}"


def is_dropped(body: Mapping[str, Any]) -> bool:
    """Return whether a Sync says that a commit dropped it, whoever wrote that: then more is kept, and never less."""
    return names.ANNOTATION_DROPPED_BY in (body["metadata"].get("annotations") or {})


def marking(body: Mapping[str, Any], by: str | None) -> Operations:
    """Return the patch after which a Sync says that a commit of `by` dropped it (None: that none did); empty if it does."""
    meta = body["metadata"]
    annotations = meta.get("annotations") or {}
    if annotations.get(names.ANNOTATION_DROPPED_BY) == by:
        return []
    test = {"op": "test", "path": "/metadata/resourceVersion", "value": meta["resourceVersion"]}
    if by is None:
        return [test, {"op": "remove", "path": _DROPPED}]
    whole: Operations = [] if annotations else [{"op": "add", "path": "/metadata/annotations", "value": {}}]
    return [test, *whole, {"op": "add", "path": _DROPPED, "value": by}]


def unowned(obj: Mapping[str, Any]) -> Operations:
    """Return the patch that takes our label and the owner annotation off exactly this object."""
    meta = obj["metadata"]
    label, owner = (
        (meta.get("labels") or {}).get(names.LABEL_SYNC),
        meta["annotations"][names.ANNOTATION_OWNER],
    )
    rest: Operations = []
    if label is not None:
        rest = [{"op": "test", "path": _LABEL, "value": label}, {"op": "remove", "path": _LABEL}]
    return [
        {"op": "test", "path": "/metadata/uid", "value": meta["uid"]},
        {"op": "test", "path": _OWNER, "value": owner},
        {"op": "remove", "path": _OWNER},
        *rest,
    ]
