"""Decides for one object: create, patch, adopt or keep, and why (pure).

Live is compared with the server's own prediction (a dry run of server-side apply), so defaults and admission
are never drift. Whose an object is: `adoption`; what differs: `diff`; what goes: `prune`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

from setpoint.api.budgets import DEFAULTS
from setpoint.api.reasons import Reason
from setpoint.api.sync import IgnoreRule
from setpoint.objects import managed_fields
from setpoint.objects.identity import SyncKey
from setpoint.objects.json_patch import value_at
from setpoint.plan.adoption import is_ours
from setpoint.plan.change import Action, Change
from setpoint.plan.desired import Desired
from setpoint.plan.diff import (
    Difference,
    comparable,
    culprit,
    describe,
    describe_many,
    difference,
    foreign_additions,
    has_plain_status,
    last_writer,
    written_by_us,
)
from setpoint.plan.ignore import naming


def decide(
    d: Desired,
    live: Mapping[str, Any] | None,
    predicted: Mapping[str, Any],
    me: SyncKey,
    rules: Sequence[IgnoreRule],
    people: frozenset[str],
    *,
    handed: bool = False,
    most: int = DEFAULTS.max_diff,
) -> Change:
    """Return the change that one object needs, from its live state (None: absent) and the server's prediction.

    `handed`: another Sync hands it over, or it lost our mark, so that what people added to it is drift, and not theirs
    to keep. `most`: how many fields may differ for each of them to be told.
    """
    if live is None:
        return Change(d.id, Action.CREATE, Reason.Missing, "is not in the cluster")
    plain = has_plain_status(d, predicted)
    found = difference(live, predicted, plain_status=plain, most=most)
    patch = found.patch
    if not is_ours(live, d.id, me) and not handed:
        return Change(
            d.id, Action.ADOPT, Reason.Adopted, "existed and is adopted", patch, beyond=found.beyond
        )
    additions = foreign_additions(predicted, d, rules, people)
    if found.beyond or len(patch) + len(additions) > most:
        return _beyond(d, live, found, additions, most)
    if not patch and not additions and managed_fields.own_entry(_entries(live)):
        if not managed_fields.strays(_entries(live)):
            return Change(d.id, Action.KEEP)
        return Change(d.id, Action.PATCH, Reason.OutOfSync, "was left half-way", tidies=True)
    shown = (*patch, *({"op": "remove", "path": managed_fields.pointer(p)} for p, _ in additions))
    return Change(
        d.id,
        Action.PATCH,
        Reason.OutOfSync,
        describe(shown),
        shown,
        additions,
        culprit(live, patch, additions),
        value_at(live, shown[0]["path"]) if shown else None,
        bool(patch) and not additions and written_by_us(live, patch),
        _fields(live, predicted, [path for path, _ in additions], plain=plain),
    )


def _beyond(
    d: Desired,
    live: Mapping[str, Any],
    found: Difference,
    additions: tuple[tuple[managed_fields.Path, Any], ...],
    most: int,
) -> Change:
    """Return the change of an object in which too much differs for a patch: how much, and who wrote there last."""
    parts = {*found.parts, *(path[0].token for path, _ in additions)}
    fields = (found.beyond or len(found.patch)) + len(additions)
    manager = last_writer(live, parts)
    return Change(
        d.id,
        Action.PATCH,
        Reason.OutOfSync,
        describe_many(fields, most),
        additions=additions,
        manager=manager,
        # Nobody else has a field there, so what differs is ours.
        ours=manager is None
        and not additions
        and written_by_us(live, [{"op": "replace", "path": f"/{p}"} for p in parts]),
        beyond=fields,
    )


def _fields(
    live: Mapping[str, Any],
    predicted: Mapping[str, Any],
    additions: Sequence[managed_fields.Path],
    *,
    plain: bool,
) -> tuple[str, ...]:
    """Return what differs, in paths that a rule may have; `plain`: whether `status` is a field like any other."""
    nothing: managed_fields.FieldSet = {}
    tries = (e.get("fieldsV1") or {} for obj in (live, predicted) for e in _entries(obj))
    known = reduce(managed_fields.union, tries, nothing)
    found = naming.differing(
        comparable(live, plain_status=plain), comparable(predicted, plain_status=plain), known
    )
    return tuple(dict.fromkeys((*found, *(naming.added(path, predicted) for path in additions))))


def _entries(obj: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return obj["metadata"].get("managedFields") or ()
