"""Replaces values of Secrets by a keyed hash, so that none reaches a status, an Event or a log (pure)."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from typing import Any

from setpoint.objects.identity import ObjectId
from setpoint.objects.json_patch import Operation
from setpoint.plan.change import Change

MOST_OPERATIONS = 20
LONGEST_VALUE = 512


def masked(value: Any, key: bytes) -> Any:
    """Return what stands for a secret value: the same value gives the same text under one key, and tells nothing else."""
    if isinstance(value, dict):
        return {k: masked(v, key) for k, v in value.items()}
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
    return f"hmac:{hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:16]}"


def shown(operations: Sequence[Operation], oid: ObjectId, key: bytes) -> tuple[Operation, ...]:
    """Return the patch as it may be shown: Secret values masked, long values cut, at most 20 operations."""
    secret = oid.kind == "Secret" and not oid.group
    return tuple(_operation(op, key if secret else None) for op in operations[:MOST_OPERATIONS])


def shown_patch(change: Change, key: bytes) -> tuple[Operation, ...]:
    """Return a change's patch as it may be shown."""
    return shown(change.patch, change.id, key)


def shown_value(value: Any, change: Change, key: bytes) -> Any:
    """Return a value of an object as it may be shown: that of a Secret only as a hash."""
    if value is None or not change.patch:
        return None
    operation = {"op": "replace", "path": change.patch[0]["path"], "value": value}
    return shown([operation], change.id, key)[0]["value"]


def _operation(op: Operation, key: bytes | None) -> Operation:
    if "value" not in op:
        return op
    path: str = op["path"]
    secret = key is not None and not path.startswith(("/metadata", "/type", "/immutable"))
    if secret and key is not None:
        return {**op, "value": masked(op["value"], key)}
    if len(json.dumps(op["value"])) > LONGEST_VALUE:
        return {**op, "value": f"({len(json.dumps(op['value']))} characters)"}
    return op
