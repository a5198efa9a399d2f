"""Selects what is worth an Event, and words it; what did not change is not announced (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from setpoint.api import names
from setpoint.api.reasons import Reason
from setpoint.objects.identity import ObjectId
from setpoint.plan.change import Action, Change
from setpoint.status.outcome import Correction

QUIET = frozenset(
    str(r)
    for r in (
        Reason.SourceNotReady,
        Reason.Progressing,
        Reason.Waiting,
        Reason.Succeeded,
        Reason.DependencyNotReady,
    )
)
"""Reasons that come and go on the way of every rollout."""
CALM = frozenset({str(Reason.Suspended), str(Reason.PruneWaiting)})
MOST_WARNINGS = 5
MOST_NAMES = 5
LONGEST_NAMES = 700
"""Characters of names in one Event, where each name counts."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """One Event: its type (Normal or Warning), reason and message."""

    type: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run did: `revision` is the short one, `total` the objects of the Sync, `took` seconds."""

    home: str
    revision: str
    total: int
    took: float
    corrections: tuple[Correction, ...] = ()
    written: tuple[Change, ...] = ()
    pruned: tuple[ObjectId, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
    """Reason and message of what is said of the manifests of a new commit."""


def announcements(
    deeds: RunSummary, before: Mapping[str, Any] | None, now: Mapping[str, Any]
) -> Iterable[Announcement]:
    """Return the Events of a run; `before` and `now` are the Ready conditions."""
    for c in deeds.corrections:
        yield Announcement("Warning", str(Reason.Drift), drift_words(c, deeds.home))
    corrected = {c.id for c in deeds.corrections}
    written = [w for w in deeds.written if w.id not in corrected]
    if written:
        yield Announcement("Normal", str(Reason.Applied), applied_words(deeds, written))
    if deeds.pruned:
        labels = _named([o.label(deeds.home) for o in deeds.pruned])
        yield Announcement("Normal", str(Reason.Pruned), f"{len(deeds.pruned)} deleted: {labels}")
    yield from _turn(before, now)
    for reason, message in deeds.notes:
        yield Announcement("Warning", reason, message)
    for warning in deeds.warnings[:MOST_WARNINGS]:
        yield Announcement("Warning", "ApiWarning", warning)


def kept_words(kept: Iterable[ObjectId], home: str) -> list[str]:
    """Return what Events say of the objects that stay when a Sync goes by a commit: every name is in one of them."""
    groups: list[list[str]] = []
    for label in (oid.label(home) for oid in kept):
        if not groups or sum(map(len, groups[-1])) + len(label) > LONGEST_NAMES:
            groups.append([])
        groups[-1].append(label)
    why = "a commit dropped the Sync and deletes nothing of these kinds; delete by hand what is not wanted, or let another Sync take it"
    return [f"kept, and owned by no Sync any more: {', '.join(labels)}; {why}" for labels in groups]


def _turn(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> Iterable[Announcement]:
    """Announce a failure when its reason is new, and the recovery from one."""
    reason = now["reason"]
    if now["status"] == "False" and reason not in QUIET and (before is None or before["reason"] != reason):
        yield Announcement("Normal" if reason in CALM else "Warning", reason, now["message"])
    failed = before is not None and before["status"] == "False" and before["reason"] not in QUIET
    if now["status"] == "True" and failed:
        yield Announcement("Normal", str(Reason.Recovered), now["message"])


def drift_words(c: Correction, home: str) -> str:
    """Return who changed what, and what was done about it."""
    who = f" by {c.user}" if c.user else ""
    tool = f" {'as' if c.manager in names.OUR_MANAGERS else 'with'} {c.manager}" if c.manager else ""
    if not c.patch and not c.beyond:
        return f"{c.id.label(home)} was deleted{who}{', created again' if c.corrected else ''}"
    return f"{c.id.label(home)} changed{who}{tool}: {_patch_words(c)}, {'corrected' if c.corrected else 'reported'}"


def _patch_words(c: Correction) -> str:
    if c.beyond:
        return f"{c.beyond:,} fields"
    first = c.patch[0]
    more = f" and {len(c.patch) - 1} more" if len(c.patch) > 1 else ""
    if first["op"] == "replace" and c.was is not None:
        return f"{first['path']} {c.was} -> {first.get('value')}{more}"
    if first["op"] == "remove":
        return f"{first['path']} was added{more}"
    return f"{first['path']} was removed{more}"


def applied_words(deeds: RunSummary, written: Sequence[Change]) -> str:
    """Return what a revision changed."""
    words = {Action.CREATE: "created", Action.PATCH: "patched", Action.ADOPT: "adopted"}
    parts = []
    for action, word in words.items():
        labels = [c.id.label(deeds.home) for c in written if c.action is action]
        if labels:
            parts.append(f"{len(labels)} {word} ({_named(labels)})")
    rest = deeds.total - len(written)
    return f"{deeds.revision}: {', '.join(parts)}, {rest} unchanged in {deeds.took:.1f}s"


def _named(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - MOST_NAMES} more" if len(labels) > MOST_NAMES else ""
    return ", ".join(labels[:MOST_NAMES]) + more
