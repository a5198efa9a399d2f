"""Reads managedFields: who owns which fields of an object (pure).

The format is fieldsV1 of structured-merge-diff (KEP-555): a trie whose keys are `f:<name>` (a field),
`k:<json>` (a list element by its keys), `v:<json>` (a set element), `i:<n>` (an index) and `.` (the
node itself). People write through `kubectl`, which names a manager per verb.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import orjson

from setpoint.api import names
from setpoint.objects.json_patch import Elements, escaped

FieldSet = dict[str, Any]
"""A fieldsV1 trie; `{}` is a leaf."""


@dataclass(frozen=True, slots=True)
class Person:
    """What a person's manager owns of an object, by digest, and when it last wrote (RFC 3339)."""

    manager: str
    time: str
    digest: str


@dataclass(frozen=True, slots=True)
class Ownership:
    """Our own entry (digest of its fields, and time) and those of people; equal means that nobody touched our fields."""

    ours: str
    time: str
    people: tuple[Person, ...]


def is_person(manager: str, extra: frozenset[str] = frozenset()) -> bool:
    """Return whether a field manager is a person's: kubectl in all its verbs, and those named in a setting."""
    return manager == "kubectl" or manager.startswith("kubectl-") or manager in extra


def own_entry(managed: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return our own server-side apply entry of a managedFields list."""
    return next((e for e in managed if is_own(e)), None)


def is_adopted(entry: Mapping[str, Any]) -> bool:
    """Return whether an entry is our record of what an object had when it was adopted (see `adopted`).

    Whoever writes under that name makes an entry of his own, or, by an apply, one that has a time.
    """
    return (
        entry.get("manager") == names.ADOPTED_MANAGER
        and entry.get("operation") == "Apply"
        and not entry.get("subresource")
        and not entry.get("time")
    )


def is_own(entry: Mapping[str, Any]) -> bool:
    """Return whether an entry is of our server-side applies. A person may have applied under our name: no entry tells."""
    return (
        entry.get("manager") == names.FIELD_MANAGER
        and entry.get("operation") == "Apply"
        and not entry.get("subresource")
    )


KEPT_ANNOTATIONS = frozenset(
    {
        names.ANNOTATION_CHANGED_BY,
        names.ANNOTATION_CHANGED_FROM,
        names.ANNOTATION_LAST_APPLIED,
        names.ANNOTATION_RESTARTED_AT,
    }
)
_MARKS = KEPT_ANNOTATIONS | names.PEOPLES_ANNOTATIONS | {names.ANNOTATION_DROPPED_BY}


def _split(fields: FieldSet) -> tuple[FieldSet, FieldSet]:
    """Divide what an entry under our name owns into marks, which we patch or anybody may set, and the rest."""
    meta: FieldSet = fields.get("f:metadata") or {}
    marks: FieldSet = {k: meta[k] for k in ("f:finalizers", "f:ownerReferences") if k in meta}
    notes = {k: v for k, v in (meta.get("f:annotations") or {}).items() if k[2:] in _MARKS}
    if notes:
        marks["f:annotations"] = notes
    bare: FieldSet = {"f:metadata": {**marks, "f:annotations": {".": {}, **notes}}}
    return {"f:metadata": marks} if marks else {}, subtract(fields, bare)


def strays(managed: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the entries under our names that no apply and no adoption of ours has made.

    A person borrowed the name, which anybody may do; or it is what a JSON Patch of ours left at a crash. What they own
    would stay when it is not in Git, so it is treated as a person's. Marks are no reason.
    """
    return [e for e in managed if _is_stray(e)]


def _is_stray(entry: Mapping[str, Any]) -> bool:
    if entry.get("manager") not in names.OUR_MANAGERS:
        return False
    if entry.get("subresource") == "status" or is_own(entry) or is_adopted(entry):
        return False
    return bool(_split(entry.get("fieldsV1") or {})[1])


def without_strays(managed: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the JSON Patch that takes out what `strays` found, but for marks; empty if there is nothing.

    It tests the entries and no resourceVersion: a controller that writes the status meanwhile is no obstacle.
    """
    tests: list[dict[str, Any]] = []
    changes: list[dict[str, Any]] = []
    for index, entry in reversed(list(enumerate(managed))):
        if _is_stray(entry):
            path = f"/metadata/managedFields/{index}"
            marks, _ = _split(entry.get("fieldsV1") or {})
            tests.append({"op": "test", "path": path, "value": entry})
            changes.append(
                {"op": "replace", "path": f"{path}/fieldsV1", "value": marks}
                if marks
                else {"op": "remove", "path": path}
            )
    return [*tests, *changes]


def is_persons(entry: Mapping[str, Any], extra: frozenset[str] = frozenset()) -> bool:
    """Return whether what an entry owns was set by a person, but not `status`, which is no configuration."""
    if entry.get("subresource") == "status":
        return False
    return is_person(entry.get("manager", ""), extra) or _is_stray(entry)


def person_entries(
    managed: Iterable[Mapping[str, Any]], extra: frozenset[str] = frozenset()
) -> list[Mapping[str, Any]]:
    """Return the entries of people, but not of what they wrote through a subresource.

    That is an operation, or `status`, and no configuration. `kubectl scale` takes `replicas` out of the entry that had
    it (`setpoint-adopted`, on an adopted object) and makes one of its own, with subresource `scale`; where it was nobody's,
    or becomes 0, there is none. The number stays unless Git sets one: then the field has left our own entry.
    Who borrows our name gets no such leave.
    """
    return [e for e in managed if is_persons(e, extra) and (_is_stray(e) or not e.get("subresource"))]


def is_under_our_name(annotations: Mapping[str, str]) -> bool:
    """Return whether the last write that the attribution policy noted was somebody else's under our name."""
    return annotations.get(names.ANNOTATION_CHANGED_FROM, "").endswith(names.UNDER_OUR_NAME)


def ownership(
    managed: Sequence[Mapping[str, Any]],
    extra: frozenset[str] = frozenset(),
    annotations: Mapping[str, str] | None = None,
) -> Ownership:
    """Reduce managedFields to what tells of drift (see `notes/apply.md`, a drift test that costs nothing).

    An apply under our name leaves the entry that ours would leave, within a second even with its time. So what the
    attribution policy notes of it among the annotations counts too.
    """
    own = own_entry(managed)
    people = [
        Person(e["manager"], e.get("time", ""), _digest(e.get("fieldsV1")))
        for e in person_entries(managed, extra)
    ]
    if annotations and is_under_our_name(annotations):
        people.append(Person(names.FIELD_MANAGER, "", annotations[names.ANNOTATION_CHANGED_FROM]))
    return Ownership(
        _digest(own.get("fieldsV1")) if own is not None else "",
        own.get("time", "") if own else "",
        tuple(sorted(people, key=lambda p: (p.manager, p.time, p.digest))),
    )


def may_be_last(managed: Sequence[Mapping[str, Any]], owned: Ownership) -> bool:
    """Return whether the last write may be a person's: times have whole seconds, so several entries may be the newest."""
    newest = max((e.get("time") or "" for e in managed), default="")
    return any(person.time == newest for person in owned.people)


def _digest(trie: Any) -> str:
    return hashlib.blake2b(_canonical(trie or {}), digest_size=12).hexdigest()


def _canonical(trie: Any) -> bytes:
    """Return a trie as JSON with sorted keys: by the fast library where both write the same, as statuses hold the digests."""
    try:
        text = orjson.dumps(trie, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # nested deeper than it goes
        text = b""
    return (
        text if text and text.isascii() else json.dumps(trie, sort_keys=True, separators=(",", ":")).encode()
    )


def subtract(left: FieldSet, right: FieldSet) -> FieldSet:
    """Return the leaves of `left` that are not in `right`; emptied branches go too."""
    result: FieldSet = {}
    for key, child in left.items():
        if key not in right:
            result[key] = child
        elif child and (rest := subtract(child, right[key])):
            result[key] = rest
    return result


def union(left: FieldSet, right: FieldSet) -> FieldSet:
    """Return what is in either."""
    result = dict(left)
    for key, child in right.items():
        result[key] = union(result[key], child) if key in result else child
    return result


def union_of(entries: Iterable[Mapping[str, Any]]) -> FieldSet:
    """Return what any of the entries owns."""
    nothing: FieldSet = {}
    return reduce(union, (e.get("fieldsV1") or {} for e in entries), nothing)


@dataclass(frozen=True, slots=True)
class Step:
    """One resolved step: the JSON Pointer token, and for a list element the key fields that prove it is the one."""

    token: str
    guard: Mapping[str, Any] | None = None


Path = tuple[Step, ...]


def pointer(path: Iterable[Step]) -> str:
    """Return the JSON Pointer (RFC 6901) of a resolved path."""
    return "".join(f"/{escaped(s.token)}" for s in path)


def additions(obj: Mapping[str, Any], foreign: FieldSet, others: FieldSet) -> list[tuple[Path, Any]]:
    """Find what `foreign` fields put into `obj` and nobody else owns: (path, value) of the highest nodes.

    `others` is the union of all other managers' fields: what they own too is not an addition. A node
    that `foreign` made itself (`.`) and in which nobody else owns anything goes as a whole.
    """
    return list(_walk(obj, foreign, others, ()))


def _walk(node: Any, foreign: FieldSet, others: FieldSet, path: Path) -> Iterable[tuple[Path, Any]]:
    for key, child, step, value in _below(node, foreign):
        theirs = others.get(key)
        here = (*path, step)
        if (
            theirs is None
            and key != "f:annotations"
            and (not child or "." in child or not isinstance(value, dict | list))
        ):
            yield here, value
        elif child:
            yield from _walk(value, child, theirs or {}, here)


def _below(node: Any, trie: FieldSet) -> Iterable[tuple[str, FieldSet, Step, Any]]:
    """Return what a trie owns right below a node, each with the step to it; what is owned on paper may be gone from the object."""
    elements = Elements(node if isinstance(node, list) else ())
    for key, child in trie.items():
        sort, _, rest = key.partition(":")
        if sort == "f" and isinstance(node, dict) and rest in node:
            yield key, child, Step(rest), node[rest]
        elif sort in ("k", "v", "i") and elements.items:
            wanted = json.loads(rest)
            index = (
                elements.keyed(wanted) if sort == "k" else elements.equal(wanted) if sort == "v" else wanted
            )
            if index is not None and 0 <= index < len(node):
                yield key, child, Step(str(index), wanted if sort == "k" else None), node[index]


def is_kept(path: Path, *, plain_status: bool = False) -> bool:
    """Return whether an addition by a person stays: bookkeeping, operations, and what is theirs to ask of us.

    `plain_status`: `status` is no subresource, and so a field like any other.
    `deployment.kubernetes.io/revision` and the like are not here: controllers' fields are never looked at.
    """
    tokens = [s.token for s in path]
    if tokens == ["metadata", "annotations"] or not tokens:
        return False
    if tokens[:2] in (["metadata", "finalizers"], ["metadata", "ownerReferences"]):
        return True
    if tokens[0] == "status" and not plain_status:
        return True
    if tokens[:-1] == ["metadata", "annotations"] and tokens[-1] in names.PEOPLES_ANNOTATIONS:
        return True
    return len(tokens) >= 2 and tokens[-2] == "annotations" and tokens[-1] in KEPT_ANNOTATIONS


def removal(path: Path, value: Any) -> list[dict[str, Any]]:
    """Return the JSON Patch that removes one addition, guarded by tests of the value and of list elements' keys."""
    tests: list[dict[str, Any]] = []
    for depth, step in enumerate(path):
        for key, wanted in (step.guard or {}).items():
            where = pointer((*path[: depth + 1], Step(key)))
            tests.append({"op": "test", "path": where, "value": wanted})
    where = pointer(path)
    return [*tests, {"op": "test", "path": where, "value": value}, {"op": "remove", "path": where}]


def last_first(found: Iterable[tuple[Path, Any]]) -> list[tuple[Path, Any]]:
    """Return additions in the order of their removal: elements of one list from the back, so that other indexes stay right."""
    return sorted(found, key=lambda each: [-int(s.token) if s.token.isdigit() else 0 for s in each[0]])


def adopted(
    managed: Sequence[Mapping[str, Any]], ours: FieldSet, takeover: frozenset[str]
) -> list[dict[str, Any]] | None:
    """Rewrite managedFields for an adoption: what people and former owners set is kept, and never mistaken for drift.

    What Git sets too is taken out of their entries (else it would stay after Git drops it), and so is what lies inside
    of a node that Git sets (else the node could neither go nor become another one); the rest moves to manager
    `setpoint-adopted`, which no rule ever removes. None if there is nothing to rewrite.
    """
    theirs = [e for e in managed if is_persons(e, takeover)]
    if not theirs:
        return None
    first = theirs[0]
    # There is one such record in an object: what was adopted before belongs to it.
    theirs += [e for e in managed if is_adopted(e) and e.get("apiVersion") == first["apiVersion"]]
    result = [dict(e) for e in managed if not (is_persons(e, takeover) or is_adopted(e))]
    rest = _beside(union_of(theirs), ours)
    if rest:
        result.append(
            {
                "manager": names.ADOPTED_MANAGER,
                "operation": "Apply",
                "apiVersion": first["apiVersion"],
                "fieldsType": "FieldsV1",
                "fieldsV1": rest,
            }
        )
    return result


_MAPS = frozenset(
    f"f:{name}"
    for name in (
        *("labels", "annotations", "data", "binaryData", "matchLabels", "nodeSelector"),
        *("limits", "requests", "hard", "capacity", "parameters", "volumeAttributes"),
    )
)
"""Objects whose entries are independent of each other: one that Git does not set lies beside those that it sets."""


def _beside(theirs: FieldSet, ours: FieldSet, *, top: bool = True) -> FieldSet:
    """Return what of `theirs` lies in no node that both they and Git made: an object, or an element of a list."""
    result: FieldSet = {}
    for key, fields in theirs.items():
        if key not in ours:
            rest = fields if key != "." else None
        else:
            goes = not fields or not ours[key] or (not top and _is_one(key, fields))
            rest = None if goes else _beside(fields, ours[key], top=False) or None
        if rest is not None:
            result[key] = rest
    return result


def _is_one(key: str, fields: FieldSet) -> bool:
    """Return whether what is in a node belongs together, and whoever owns these fields of it made the node."""
    if key.startswith("k:"):
        return True
    return "." in fields and key not in _MAPS and not any(k.startswith(("k:", "v:")) for k in fields)


def pointers(obj: Mapping[str, Any], trie: FieldSet) -> set[str]:
    """Return the JSON Pointers of all leaves that `trie` owns in `obj`."""
    return set(_pointers(obj, trie, ()))


def _pointers(node: Any, trie: FieldSet, path: Path) -> Iterable[str]:
    for _, child, step, value in _below(node, trie):
        here = (*path, step)
        if not child or set(child) == {"."}:
            yield pointer(here)
        else:
            yield from _pointers(value, child, here)
