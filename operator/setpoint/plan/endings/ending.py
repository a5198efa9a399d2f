"""How far an object is that ends by itself, and how a status holds that (pure)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from setpoint.api.formats import rfc3339
from setpoint.health.verdict import Verdict, degraded, healthy
from setpoint.objects.identity import Json, ObjectId

MOST_GROUPS = 200
"""10,000 objects must fit into a status, so times are only as exact as so many groups allow."""
_UNITS = (1, 60, 3600, 86400, 0)
LONGEST_WORDS = 120
DIGITS = 10
RESULT_UNKNOWN = "ResultUnknown"


class State(StrEnum):
    """How an object ended, as far as it was seen."""

    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Ending:
    """How far one object is at one manifest."""

    api_version: str
    digest: str
    state: State
    due: int | None = None
    """While it is there: before this time (seconds since 1970) it does not end by itself."""
    gone: bool = False
    """Whether it came to its own end, so that it is done."""
    words: str = ""
    """Why it failed."""

    def is_of(self, digest: str) -> bool:
        """Return whether it is about the manifest of this digest."""
        return self.digest == digest[:DIGITS]

    @property
    def verdict(self) -> Verdict:
        """The health of one that is done."""
        if self.state is State.FAILED:
            why = f": {self.words}" if self.words else ""
            return degraded("Failed", f"failed and is gone, and is not run again{why}")
        if self.state is State.UNKNOWN:
            return healthy(RESULT_UNKNOWN, "completed, with an unknown result: its end was not seen")
        return healthy("Completed", "completed")


def grouped(endings: Mapping[ObjectId, Ending]) -> list[Json]:
    """Group endings by all that they have in common, sorted; with too many groups, times are rounded down."""
    groups: list[Json] = []
    for unit in _UNITS:
        groups = _groups(endings, unit)
        if len(groups) <= MOST_GROUPS:
            break
    return groups


def _groups(endings: Mapping[ObjectId, Ending], unit: int) -> list[Json]:
    found: dict[tuple[Any, ...], dict[str, str]] = {}
    for oid, e in sorted(endings.items()):
        due = None if e.due is None or unit == 0 else e.due // unit * unit
        words = e.words[:LONGEST_WORDS] if unit else ""
        key = (e.api_version, oid.kind, oid.namespace, str(e.state), e.gone, due or 0, words)
        found.setdefault(key, {})[oid.name] = e.digest
    return [_group(*key, digests=found[key]) for key in sorted(found)]


def _group(
    version: str,
    kind: str,
    namespace: str,
    state: str,
    gone: bool,
    due: int,
    words: str,
    *,
    digests: Mapping[str, str],
) -> Json:
    return {
        "apiVersion": version,
        "kind": kind,
        **({"namespace": namespace} if namespace else {}),
        "state": state,
        **({"gone": True} if gone else {}),
        **({"due": rfc3339(datetime.fromtimestamp(due, UTC))} if due else {}),
        **({"message": words} if words else {}),
        "digests": dict(digests),
    }


def ungrouped(groups: Iterable[Mapping[str, Any]]) -> dict[ObjectId, Ending]:
    """Read the endings of a status back; a group that cannot be read is left out, as if it had never been noted."""
    found: dict[ObjectId, Ending] = {}
    for g in groups:
        # People may edit a status: it must not keep the Sync from running.
        with contextlib.suppress(AttributeError, KeyError, OverflowError, TypeError, ValueError):
            found |= _members(g)
    return found


def _members(g: Mapping[str, Any]) -> dict[ObjectId, Ending]:
    version, state = g["apiVersion"], State(g["state"])
    due = int(datetime.fromisoformat(g["due"]).timestamp()) if g.get("due") else None
    one = Ending(version, "", state, due, bool(g.get("gone")), str(g.get("message") or ""))
    group, place = version.rpartition("/")[0], g.get("namespace") or ""
    digests = (g.get("digests") or {}).items()
    return {ObjectId(group, g["kind"], place, n): replace(one, digest=d) for n, d in digests}
