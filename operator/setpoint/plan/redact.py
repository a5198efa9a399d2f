"""Replaces values of Secrets by a keyed hash, so that none reaches a status, an Event or a log (pure)."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from setpoint.objects.identity import ObjectId
from setpoint.objects.json_patch import Operation, escaped
from setpoint.plan.change import Change

MOST_OPERATIONS = 20
MOST_VALUES = 20
LONGEST_VALUE = 512
_SHOWN_PARTS = ("/metadata/", "/type/", "/immutable/")
"""What of a Secret holds no secret value."""


@dataclass(frozen=True, slots=True)
class Mask:
    """Hides the values of one Secret under a key.

    What a value becomes depends on its object and path: the same value stands there as before, and equal values of
    two places are not seen to be equal.
    """

    key: bytes
    oid: ObjectId

    def over(self, value: Any, path: str) -> Any:
        """Return what stands for a secret value at a path (a JSON Pointer); the names of keys stay."""
        if not isinstance(value, dict):
            return self._hashed(value, path)
        if len(value) > MOST_VALUES:
            return f"({len(value)} values)"
        return {k: self.over(v, f"{path}/{escaped(k)}") for k, v in value.items()}

    def _hashed(self, value: Any, path: str) -> str:
        # As JSON no two places are written alike, whatever their names hold, and no two values.
        whole = ["value", self.oid.kind, self.oid.namespace, self.oid.name, path, value]
        text = json.dumps(whole, sort_keys=True).encode()
        return f"hmac:{hmac.new(self.key, text, hashlib.sha256).hexdigest()[:16]}"


def shown(operations: Sequence[Operation], oid: ObjectId, key: bytes) -> tuple[Operation, ...]:
    """Return the patch as it may be shown: Secret values masked, long values cut, at most 20 operations."""
    mask = Mask(key, oid) if oid.kind == "Secret" and not oid.group else None
    return tuple(_operation(op, mask) for op in operations[:MOST_OPERATIONS])


def shown_patch(change: Change, key: bytes) -> tuple[Operation, ...]:
    """Return a change's patch as it may be shown."""
    return shown(change.patch, change.id, key)


def shown_value(value: Any, change: Change, key: bytes) -> Any:
    """Return a value of an object as it may be shown: that of a Secret only as a hash."""
    if value is None or not change.patch:
        return None
    operation = {"op": "replace", "path": change.patch[0]["path"], "value": value}
    return shown([operation], change.id, key)[0]["value"]


def _operation(op: Operation, mask: Mask | None) -> Operation:
    if "value" not in op:
        return op
    path: str = op["path"]
    if mask is not None and not f"{path}/".startswith(_SHOWN_PARTS):
        return {**op, "value": mask.over(op["value"], path)}
    if len(json.dumps(op["value"])) > LONGEST_VALUE:
        return {**op, "value": f"({len(json.dumps(op['value']))} characters)"}
    return op
