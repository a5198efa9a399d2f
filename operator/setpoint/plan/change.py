"""The change of one desired object, and its reason (pure data)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from setpoint.api.reasons import Reason
from setpoint.objects import managed_fields
from setpoint.objects.identity import ObjectId
from setpoint.objects.json_patch import Operation


class Action(StrEnum):
    """What happens to one object."""

    CREATE = "create"
    PATCH = "patch"
    ADOPT = "adopt"
    KEEP = "keep"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Change:
    """The change of one desired object: the action, and what differs."""

    id: ObjectId
    action: Action
    reason: Reason = Reason.Succeeded
    message: str = ""
    patch: tuple[Operation, ...] = ()
    additions: tuple[tuple[managed_fields.Path, Any], ...] = ()
    manager: str | None = None
    was: Any = None
    """The live value at the path of the first operation, where that is a scalar."""
    ours: bool = False
    """Whether what differs was written by us and by nobody since: a newer commit, before a crash."""
    fields: tuple[str, ...] = ()
    """What differs, as paths that a rule of `spec.ignore` may have."""
    beyond: int = 0
    """How many fields differ, where they are too many for a patch, which is empty then."""
    tidies: bool = False
    """Whether nothing differs, and only an entry in managedFields is taken out that a crash of ours left."""
