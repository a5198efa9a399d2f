"""The verdict on an object's health, and safe access to objects of any shape (pure).

Every reader of an object's fields goes through `mapping`, `items`, `text` and `number`: the API server guarantees
the shape of `metadata`, and of nothing else in a custom resource.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

LIMIT = 300
"""Characters that a message may have at most: it shares one line of `kubectl get`."""

Object = Mapping[str, Any]


class Health(StrEnum):
    """How an object is, in the words that Argo CD made common."""

    Healthy = "Healthy"
    Progressing = "Progressing"
    Degraded = "Degraded"
    Suspended = "Suspended"
    Missing = "Missing"
    Unknown = "Unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reason` is CamelCase, `message` one short line for a person (at most `LIMIT` characters)."""

    health: Health
    reason: str
    message: str


def verdict(health: Health, reason: str, message: str = "") -> Verdict:
    """Make a verdict of an object's own words: one line, bounded; a reason that is none becomes the health."""
    return Verdict(health, one_word(reason) or health.value, one_line(message))


def healthy(reason: str, message: str = "") -> Verdict:
    """Return that all is well."""
    return verdict(Health.Healthy, reason, message)


def progressing(reason: str, message: str) -> Verdict:
    """Return that the object is on its way."""
    return verdict(Health.Progressing, reason, message)


def degraded(reason: str, message: str) -> Verdict:
    """Return that the object has failed, or fails again and again."""
    return verdict(Health.Degraded, reason, message)


def suspended(reason: str, message: str) -> Verdict:
    """Return that somebody told the object to wait."""
    return verdict(Health.Suspended, reason, message)


def one_line(message: str, limit: int = LIMIT) -> str:
    """Fold white space and control characters, and cut at `limit` characters with an ellipsis."""
    # 8 times the limit bounds the work on a message of megabytes, yet leaves room for runs of blanks.
    head = message[: limit * 8]
    if not head.isprintable():
        head = "".join(c if c.isprintable() else " " for c in head)
    folded = " ".join(head.split())
    return folded if len(folded) <= limit else folded[: limit - 1].rstrip() + "…"


def one_word(reason: str) -> str:
    """Keep what the API conventions allow in a reason; words are joined in CamelCase."""
    if reason.isalnum() and reason.isascii():
        return reason[:1].upper() + reason[1:80]
    parts = "".join(c if c.isalnum() and c.isascii() else " " for c in reason[:200]).split()
    return "".join(part[:1].upper() + part[1:] for part in parts)[:80]


def mapping(value: Any, *path: str) -> Object:
    """Follow `path` of keys through mappings; whatever is no mapping there counts as empty."""
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}


def items(value: Any, key: str) -> Iterator[Object]:
    """Return the mappings in the list at `key`, skipping anything else."""
    found = value.get(key) if isinstance(value, Mapping) else None
    return (item for item in (found if isinstance(found, list | tuple) else ()) if isinstance(item, Mapping))


def text(value: Any, key: str) -> str:
    """Return the string at `key`, or the empty string."""
    found = value.get(key) if isinstance(value, Mapping) else None
    return found if isinstance(found, str) else ""


def number(value: Any, key: str, default: int = 0) -> int:
    """Return the integer at `key`, or `default`: Kubernetes omits zeros."""
    found = value.get(key) if isinstance(value, Mapping) else None
    return found if isinstance(found, int) and not isinstance(found, bool) else default


def group_kind(obj: Any) -> tuple[str, str]:
    """Return API group ("" is core) and kind."""
    return text(obj, "apiVersion").rpartition("/")[0], text(obj, "kind")


@dataclass(frozen=True, slots=True)
class Condition:
    """One entry of `status.conditions` (API conventions, "Typical status properties")."""

    type: str
    status: str
    """True, False, Unknown, or whatever the controller wrote; a boolean is taken for its word."""
    reason: str
    message: str
    severity: str
    """Error, Warning, Info (Cluster API, Knative), or empty."""
    observed: int | None
    """The generation it speaks of, if it says so."""

    @property
    def words(self) -> str:
        """What it says to a person."""
        return self.message or self.reason or f"{self.type} is {self.status}"


def conditions(holder: Any, key: str = "conditions") -> tuple[Condition, ...]:
    """Read the conditions at `key` of `holder`, in their order."""
    return tuple(map(_condition, items(holder, key)))


def condition(holder: Any, kind: str) -> Condition | None:
    """Return the last condition of type `kind`, or None."""
    found = [item for item in items(holder, "conditions") if item.get("type") == kind]
    return _condition(found[-1]) if found else None


def _condition(item: Object) -> Condition:
    return Condition(
        type=text(item, "type"),
        status=str(item.get("status", "")),
        reason=text(item, "reason"),
        message=text(item, "message"),
        severity=text(item, "severity"),
        observed=number(item, "observedGeneration", -1) if "observedGeneration" in item else None,
    )
