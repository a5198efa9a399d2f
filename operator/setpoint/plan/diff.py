"""Finds the differences between an object and its dry run, and who wrote them (pure).

Patches are RFC 6902, from live to predicted, without the server's bookkeeping.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import jsonpatch

from setpoint.api import names
from setpoint.api.budgets import DEFAULTS, setting
from setpoint.api.sync import IgnoreRule
from setpoint.objects import managed_fields
from setpoint.objects.identity import Manifest
from setpoint.objects.json_patch import Operation, Pointers
from setpoint.plan.desired import Desired
from setpoint.plan.ignore.rules import Places, ignored_paths, is_ignored

BOOKKEEPING = frozenset(
    {
        "managedFields",
        "resourceVersion",
        "generation",
        "uid",
        "creationTimestamp",
        "selfLink",
        "deletionTimestamp",
    }
)
STAMPS = frozenset({names.ANNOTATION_CHANGED_BY, names.ANNOTATION_CHANGED_FROM})


_NOTHING = object()


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs: the JSON Patch, empty if nothing does, or how many fields do, if they are `beyond` the budget of a patch.

    `parts`: the fields of the first level that they lie in.
    """

    patch: tuple[Operation, ...] = ()
    beyond: int = 0
    parts: frozenset[str] = frozenset()


def has_plain_status(d: Desired, predicted: Mapping[str, Any]) -> bool:
    """Return whether `status` is a field like any other, because the kind has no such subresource.

    The server has just told if Git sets one: what an apply may not set it does not own. Otherwise discovery knows,
    which may be older than a change of the CRD.
    """
    if d.manifest.get("status") is not None:
        own = managed_fields.own_entry(predicted["metadata"].get("managedFields") or ()) or {}
        return "f:status" in (own.get("fieldsV1") or {})
    return d.kind is not None and not d.kind.has_status


def comparable(obj: Mapping[str, Any], *, plain_status: bool = False) -> Manifest:
    """Return what a person would compare: no bookkeeping of the server's, no marks, no status that is a subresource."""
    meta = {k: v for k, v in obj["metadata"].items() if k not in BOOKKEEPING}
    if annotations := meta.get("annotations"):
        rest = {k: v for k, v in annotations.items() if k not in STAMPS}
        meta = (
            {**meta, "annotations": rest} if rest else {k: v for k, v in meta.items() if k != "annotations"}
        )
    left_out = ("metadata",) if plain_status else ("metadata", "status")
    return {**{k: v for k, v in obj.items() if k not in left_out}, "metadata": meta}


def difference(
    live: Mapping[str, Any],
    predicted: Mapping[str, Any],
    *,
    plain_status: bool = False,
    most: int = DEFAULTS.max_diff,
) -> Difference:
    """Return the JSON Patch from live to predicted, or the number of fields that differ if they are more than `most`.

    `==` first (a make_patch of equal objects costs 100 times more), and no `move`s between unrelated paths. What is equal
    is left out before, as a patch takes 25 microseconds for each field.
    """
    left, right = (comparable(obj, plain_status=plain_status) for obj in (live, predicted))
    if left == right:
        return Difference()
    left, right, fields = _narrowed(left, right)
    parts = frozenset(left.keys() | right.keys())
    if fields > most:
        return Difference(beyond=fields, parts=parts)
    patch = jsonpatch.JsonPatch.from_diff(left, right, optimization=False).patch
    return Difference(tuple(patch), parts=parts)


def _narrowed(left: Manifest, right: Manifest) -> tuple[Manifest, Manifest, int]:
    """Return what of two mappings differs, and how many fields do. Lists stay whole, as a patch counts in them."""
    ours: dict[str, Any] = {}
    theirs: dict[str, Any] = {}
    fields = 0
    for name, value in left.items():
        other = right.get(name, _NOTHING)
        if isinstance(value, dict) and isinstance(other, dict):
            value, other, found = _narrowed(value, other)  # noqa: PLW2901 - what is left of both
        else:
            found = _count(value, other)
        if found:
            fields += found
            ours[name] = value
            if other is not _NOTHING:
                theirs[name] = other
    added = {name: value for name, value in right.items() if name not in left}
    return ours, {**theirs, **added}, fields + len(added)


def _count(left: Any, right: Any) -> int:
    """Return how many fields differ in two values; elements of lists are compared by position."""
    if isinstance(left, dict) and isinstance(right, dict):
        return sum(
            _count(left.get(name, _NOTHING), right.get(name, _NOTHING)) for name in left.keys() | right.keys()
        )
    if isinstance(left, list) and isinstance(right, list):
        return sum(_count(*pair) for pair in zip_longest(left, right, fillvalue=_NOTHING))
    return int(left != right or type(left) is not type(right))


def foreign_additions(
    live: Mapping[str, Any],
    d: Desired,
    rules: Sequence[IgnoreRule],
    people: frozenset[str],
    sent: managed_fields.FieldSet | None = None,
) -> tuple[tuple[managed_fields.Path, Any], ...]:
    """Find what people added to an object of ours: (path, value), ignored paths and operations left out.

    The object is the answer to an apply, as it is or as it is predicted. Of any other one `sent` says what Git sets,
    whoever owns that now.
    """
    managed = live["metadata"].get("managedFields") or []
    persons = managed_fields.person_entries(managed, people)
    if not persons:
        return ()
    others: managed_fields.FieldSet = sent or {}
    theirs: managed_fields.FieldSet = {}
    for entry in managed:
        trie = entry.get("fieldsV1") or {}
        if entry in persons:
            theirs = managed_fields.union(theirs, trie)
        else:
            others = managed_fields.union(others, trie)
    ignored, plain = ignored_paths(rules, d.id, d.manifest), has_plain_status(d, live)
    found, places = managed_fields.additions(live, theirs, others), Places()
    return tuple(
        (p, v)
        for p, v in found
        if not managed_fields.is_kept(p, plain_status=plain)
        and not (ignored and is_ignored(p, ignored, d.manifest, live, places))
    )


def culprit(
    live: Mapping[str, Any], patch: Iterable[Operation], additions: Iterable[tuple[managed_fields.Path, Any]]
) -> str | None:
    """Name the field manager that last wrote any of the differing paths; None if no trace is left.

    A removed field leaves no trace in managedFields, so there is nobody to name then.
    """
    paths = [op["path"] for op in patch] + [managed_fields.pointer(p) for p, _ in additions]
    best: tuple[str, str] | None = None
    for entry in live["metadata"].get("managedFields") or []:
        if managed_fields.is_own(entry) or managed_fields.is_adopted(entry):
            continue
        owned = Pointers(managed_fields.pointers(live, entry.get("fieldsV1") or {}))
        if any(map(owned.overlap, paths)):
            best = max(best or ("", ""), (entry.get("time", ""), entry.get("manager", "")))
    return best[1] if best else None


def last_writer(live: Mapping[str, Any], parts: Iterable[str]) -> str | None:
    """Name the field manager, not us, that last wrote anything in some fields of the first level; None if there is none.

    For where so much differs that nobody goes through it all.
    """
    wanted = {f"f:{part}" for part in parts}
    entries = [
        entry
        for entry in live["metadata"].get("managedFields") or []
        if not managed_fields.is_own(entry) and not managed_fields.is_adopted(entry)
    ]
    found = [
        (e.get("time", ""), e.get("manager", ""))
        for e in entries
        if not wanted.isdisjoint(e.get("fieldsV1") or {})
    ]
    return max(found)[1] if found else None


def written_by_us(live: Mapping[str, Any], patch: Sequence[Operation]) -> bool:
    """Return whether we own every differing field that is there: whoever else had written one would own it now.

    A field that is missing leaves no trace, so a patch that only adds is not taken for our own work; nor is anything if
    the last note of the attribution policy is that of a write under our name.
    """
    if managed_fields.is_under_our_name(live["metadata"].get("annotations") or {}):
        return False
    entry = managed_fields.own_entry(live["metadata"].get("managedFields") or ())
    there = [op["path"] for op in patch if op["op"] != "add"]
    if entry is None or not there:
        return False
    owned = Pointers(managed_fields.pointers(live, entry.get("fieldsV1") or {}))
    return all(map(owned.overlap, there)) and culprit(live, patch, ()) is None


def describe_many(fields: int, most: int) -> str:
    """Return a short description of a change of too many fields for a patch."""
    return f"differs in {fields:,} fields, more than the {most:,} of {setting('max_diff')} that are shown one by one"


def describe(patch: Sequence[Operation]) -> str:
    """Return a short description of what a patch changes."""
    paths = [op["path"] for op in patch]
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return f"differs at {', '.join(paths[:3])}{more}" if paths else ""
