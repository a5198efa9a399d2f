"""Chooses the objects of a target that a run must look at (pure: decides over memory and the watch).

An object costs a request only if it is missing, changed in Git, touched by somebody, or due at the interval.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from setpoint.api.reasons import Problem
from setpoint.objects import managed_fields
from setpoint.objects.identity import ObjectId, SyncKey, digest
from setpoint.objects.observed import Observed
from setpoint.plan.change import Change
from setpoint.plan.desired import Desired, Ref
from setpoint.plan.order import brought_kinds


@dataclass(frozen=True, slots=True)
class Baseline:
    """What we wrote, and who owned what afterwards: as long as both hold, nobody touched our fields."""

    digest: str
    ownership: managed_fields.Ownership
    changed_by: str | None
    version: int
    """The resourceVersion at which this held."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an object could not be checked or written: its manifest (by digest), and how the live one was before the check."""

    digest: str
    state: object
    problem: Problem


_SUBRESOURCES = re.compile(r"/spec/versions(/[0-9]+(/subresources(/.*)?)?)?$")


Lookup = Callable[[ObjectId], Observed | None]
Reported = TypeVar("Reported")


class Remembered(Protocol):
    """What a choice needs of what is remembered of a Sync."""

    @property
    def baselines(self) -> Mapping[ObjectId, Baseline]:
        """What was written of each object."""

    @property
    def failed(self) -> Mapping[ObjectId, Failure]:
        """What a person must fix."""

    @property
    def reported(self) -> Mapping[ObjectId, Any]:
        """What was seen with `drift: Report`."""

    def fights_back(self, oid: ObjectId, now: float) -> float | None:
        """Return the seconds to back off from an object, or None."""


@dataclass(frozen=True, slots=True)
class DriftView:
    """The basis of a choice: the owner of the objects, their label, what is live, and what is remembered."""

    key: SyncKey
    label: str
    look: Lookup
    memory: Remembered
    over: Container[ObjectId] = frozenset()
    """What is done, as it ended by itself."""

    def needs(self, ref: Ref) -> bool:
        """Return whether an object must be looked at: missing, changed in Git, or touched by somebody."""
        if ref.id in self.over:
            return False
        seen, base = self.look(ref.id), self.memory.baselines.get(ref.id)
        if seen is None or base is None or base.digest != ref.digest:
            return True
        if seen.touched > base.version:
            return True
        return seen.ownership != base.ownership or seen.owner != self.key or seen.sync_label != self.label

    def held(self, ref: Ref) -> bool:
        """Return whether this very state was written before, so that any difference is drift."""
        base = self.memory.baselines.get(ref.id)
        return base is not None and base.digest == ref.digest


@dataclass(frozen=True, slots=True)
class Choice:
    """The objects to look at, those that failed before and did not change, deferred ones, and those to leave alone for a while."""

    todo: tuple[Ref, ...] = ()
    stuck: Mapping[ObjectId, Problem] = field(default_factory=dict)
    deferred: Mapping[ObjectId, str] = field(default_factory=dict)
    backed_off: Mapping[ObjectId, float] = field(default_factory=dict)


def choose(
    view: DriftView,
    refs: Sequence[Ref],
    contested: Iterable[ObjectId],
    now: float,
    *,
    due: bool,
    abort: bool,
    refused: Mapping[ObjectId, Problem] = MappingProxyType({}),
) -> Choice:
    """Choose among the objects of a target.

    `refused`: what failed in this run already. `due`: all are looked at, as the safety net asks. `abort`: nothing new is written beside an object that is
    rejected. `now` is in seconds of the clock that `Account.corrected` was given.
    """
    others, stuck = frozenset(contested), {**_stuck(view, refs), **refused}
    todo: list[Ref] = []
    deferred: dict[ObjectId, str] = {}
    backed_off: dict[ObjectId, float] = {}
    for ref in refs:
        left = ref.id in others or ref.id in stuck or ref.id in view.over
        if left or not (due or view.needs(ref)):
            continue
        if stuck and abort and not view.held(ref):
            deferred[ref.id] = "is not written while another object is rejected"
        elif not due and (back := view.memory.fights_back(ref.id, now)) is not None:
            backed_off[ref.id] = back
        else:
            todo.append(ref)
    return Choice(tuple(todo), stuck, deferred, backed_off)


def drifted(
    view: DriftView,
    refs: Iterable[Ref],
    others: Container[ObjectId],
    newer: Container[ObjectId] | None,
    *,
    whole: bool,
) -> set[ObjectId]:
    """Choose what of an older state is to be put back, while the newer one is not reached.

    `others`: what is contested, lent or another's. `newer`: what the newer state has, if that is known: an object
    it lacks is corrected but not made again, as it may be us who deleted it before a crash. `whole`: the older
    state was applied completely, and is held even if a restart took the baselines with it.
    """
    found: set[ObjectId] = set()
    for ref in refs:
        dropped = newer is not None and ref.id not in newer and view.look(ref.id) is None
        known = view.held(ref) or (whole and ref.id not in view.memory.baselines)
        if known and not dropped and ref.id not in others and view.needs(ref):
            found.add(ref.id)
    return found


def _stuck(view: DriftView, refs: Sequence[Ref]) -> dict[ObjectId, Problem]:
    """Return what failed in this very state for a reason that only a person can change."""
    found = [(r, f) for r in refs if (f := view.memory.failed.get(r.id)) and not f.problem.transient]
    return {
        r.id: f.problem for r, f in found if (f.digest, f.state) == (r.digest, written_of(view.look(r.id)))
    }


def written_of(seen: Observed | None) -> object:
    """Return a token that changes when a writer of its fields touched an object, or it was deleted or created again."""
    return (seen.uid, seen.ownership, seen.touched) if seen else None


def meant_otherwise(
    written: Iterable[Change], chosen: Iterable[Desired], refs: Iterable[Ref]
) -> frozenset[ObjectId]:
    """Return the objects whose CRD was just changed in what is a subresource, so that their `status` means something else.

    None of them changed, in Git or in the cluster, so nothing else tells that it must be looked at.
    """
    changed = {c.id for c in written if c.beyond or any(_SUBRESOURCES.match(op["path"]) for op in c.patch)}
    kinds = brought_kinds(d for d in chosen if d.id in changed)
    return frozenset(r.id for r in refs if (r.id.group, r.id.kind) in kinds)


def unreported(memory: Remembered, todo: Sequence[Ref], look: Lookup) -> tuple[Ref, ...]:
    """With `drift: Report`, return what was not reported yet or has moved since."""
    return tuple(
        r for r in todo if (old := memory.reported.get(r.id)) is None or old[0] != state_of(look(r.id))
    )


def still_reported(reported: Mapping[ObjectId, Reported], todo: Sequence[Ref]) -> Mapping[ObjectId, Reported]:
    """With `drift: Report`, return of what was reported that which drifts still."""
    needed = {r.id for r in todo}
    return {oid: report for oid, report in reported.items() if oid in needed}


def state_of(seen: Observed | None) -> tuple[Any, ...] | None:
    """Return what tells one state of a drifted object from the next: times in managedFields have whole seconds."""
    return (seen.ownership, seen.changed_by, seen.touched) if seen else None


def judged(seen: Observed | None, live: Mapping[str, Any] | None) -> Observed | None:
    """Return what is seen of an object, if a judgement of `live` holds for it too; None if it is newer."""
    if seen is None or live is None:
        return None
    return seen if seen.resource_version <= int(live["metadata"]["resourceVersion"]) else None


def is_news(
    old: tuple[tuple[Any, ...] | None, Change, Any] | None, state: tuple[Any, ...] | None, change: Change
) -> bool:
    """Return whether drift was not reported yet: who may have written again, and left it as it was, makes no news."""
    if old is None or old[1] != change:
        return True
    return old[0] is not None and state is not None and old[0][:2] != state[:2]


def restore_baselines(refs: Sequence[Ref], look: Lookup, ownership: str) -> dict[ObjectId, Baseline]:
    """After a restart: give the live objects as baselines if their digest is the stored one, else nothing."""
    seen = {r.id: o for r in refs if (o := look(r.id)) is not None}
    if len(seen) != len(refs) or ownership_digest(seen.values()) != ownership:
        return {}
    return {r.id: baseline_of(r.digest, seen[r.id]) for r in refs}


def baseline_of(written: str, seen: Observed) -> Baseline:
    """Return the baseline of an object that is as the manifest with this digest says."""
    return Baseline(written, seen.ownership, seen.changed_by, seen.resource_version)


def changed_since_applied(inventory: Iterable[ObjectId], look: Lookup, ownership: str, home: str) -> str:
    """After a restart without manifests: return what is not as it was when all was well; "" if nothing.

    `ownership` is the stored digest, `home` the Sync's namespace.
    """
    oids = sorted(inventory)
    seen = [o for oid in oids if (o := look(oid)) is not None]
    if len(seen) < len(oids):
        there = {o.id for o in seen}
        return f"{next(o for o in oids if o not in there).label(home)} is missing"
    return "" if ownership_digest(seen) == ownership else f"one of {len(oids)} objects was changed"


def ownership_digest(seen: Iterable[Observed]) -> str:
    """Return one digest over who owns what of all objects: the same after a restart unless somebody wrote."""
    rows = sorted([*_row(o.id), o.ownership.ours, o.ownership.time, _people(o)] for o in seen)
    return digest(rows)


def _people(seen: Observed) -> list[list[str]]:
    return [[p.manager, p.time, p.digest] for p in seen.ownership.people]


def _row(oid: ObjectId) -> list[str]:
    return [oid.group, oid.kind, oid.namespace, oid.name]
