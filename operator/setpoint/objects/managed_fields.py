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
from typing import Any

from setpoint.api import names
from setpoint.objects.json_patch import escaped

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
    """Our own entry (digest of its fields, and time) and those of people; equal means that nobody touched our fields.

    `ours` also tells that a JSON Patch of ours left an entry, as a crash may leave it.
    """

    ours: str
    time: str
    people: tuple[Person, ...]


def is_person(manager: str, extra: frozenset[str] = frozenset()) -> bool:
    """Return whether a field manager is a person's: kubectl in all its verbs, and those named in a setting."""
    return manager == "kubectl" or manager.startswith("kubectl-") or manager in extra


def own_entry(managed: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return our own server-side apply entry of a managedFields list."""
    return next(
        (
            e
            for e in managed
            if e.get("manager") == names.FIELD_MANAGER
            and e.get("operation") == "Apply"
            and not e.get("subresource")
        ),
        None,
    )


def patched_entry(managed: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the entry that a JSON Patch of ours has left, if it owns more than metadata.

    What it owns stays when it leaves Git, so it is taken out as soon as the apply that comes after it is through.
    """
    return next(
        (
            e
            for e in managed
            if e.get("manager") == names.FIELD_MANAGER
            and e.get("operation") == "Update"
            and not e.get("subresource")
            and (e.get("fieldsV1") or {}).keys() - {"f:metadata"}
        ),
        None,
    )


def without_patched(managed: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the JSON Patch that takes out what `patched_entry` found; empty if there is none.

    It tests the entry and no resourceVersion: a controller that writes the status meanwhile is no obstacle.
    """
    entry = patched_entry(managed)
    if entry is None:
        return []
    path = f"/metadata/managedFields/{next(i for i, e in enumerate(managed) if e is entry)}"
    rest = {k: v for k, v in entry["fieldsV1"].items() if k == "f:metadata"}
    last = (
        {"op": "replace", "path": f"{path}/fieldsV1", "value": rest}
        if rest
        else {"op": "remove", "path": path}
    )
    return [{"op": "test", "path": path, "value": entry}, last]


def person_entries(
    managed: Iterable[Mapping[str, Any]], extra: frozenset[str] = frozenset()
) -> list[Mapping[str, Any]]:
    """Return the entries of people, but not of what they wrote through a subresource.

    That is an operation, or `status`, and no configuration. `kubectl scale` takes `replicas` out of the entry that had
    it (`setpoint-adopted`, on an adopted object) and makes one of its own, with subresource `scale`; where it was nobody's,
    or becomes 0, there is none. The number stays unless Git sets one: then the field has left our own entry.
    """
    return [e for e in managed if is_person(e.get("manager", ""), extra) and not e.get("subresource")]


def ownership(managed: Sequence[Mapping[str, Any]], extra: frozenset[str] = frozenset()) -> Ownership:
    """Reduce managedFields to what tells of drift (see `notes/apply.md`, a drift test that costs nothing)."""
    own, patched = own_entry(managed), patched_entry(managed)
    people = [
        Person(e["manager"], e.get("time", ""), _digest(e.get("fieldsV1")))
        for e in person_entries(managed, extra)
    ]
    ours = (e.get("fieldsV1") for e in (own, patched) if e is not None)
    return Ownership(
        "+".join(map(_digest, ours)),
        own.get("time", "") if own else "",
        tuple(sorted(people, key=lambda p: (p.manager, p.time, p.digest))),
    )


def may_be_last(managed: Sequence[Mapping[str, Any]], owned: Ownership) -> bool:
    """Return whether the last write may be a person's: times have whole seconds, so several entries may be the newest."""
    newest = max((e.get("time") or "" for e in managed), default="")
    return any(person.time == newest for person in owned.people)


def _digest(trie: Any) -> str:
    text = json.dumps(trie or {}, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


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
    for key, child in foreign.items():
        if key == ".":
            continue
        found = _resolve(node, key)
        if found is None:
            continue  # owned on paper, gone from the object
        step, value = found
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


def _resolve(node: Any, key: str) -> tuple[Step, Any] | None:
    sort, _, rest = key.partition(":")
    if sort == "f":
        return (Step(rest), node[rest]) if isinstance(node, dict) and rest in node else None
    if not isinstance(node, list):
        return None
    if sort == "k":
        wanted = json.loads(rest)
        for index, item in enumerate(node):
            if isinstance(item, dict) and _keys_match(item, wanted):
                return Step(str(index), wanted), item
        return None
    if sort == "v":
        wanted = json.loads(rest)
        return next(((Step(str(i)), item) for i, item in enumerate(node) if item == wanted), None)
    index = int(rest)
    return (Step(str(index)), node[index]) if index < len(node) else None


def _keys_match(item: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    # A defaulted key (`protocol: TCP`) is in the live object too, so plain equality is enough.
    return all(item.get(k) == v for k, v in wanted.items())


KEPT_ANNOTATIONS = frozenset(
    {
        names.ANNOTATION_CHANGED_BY,
        names.ANNOTATION_CHANGED_FROM,
        names.ANNOTATION_LAST_APPLIED,
        names.ANNOTATION_RESTARTED_AT,
    }
)


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


def adopted(
    managed: Sequence[Mapping[str, Any]], ours: FieldSet, takeover: frozenset[str]
) -> list[dict[str, Any]] | None:
    """Rewrite managedFields for an adoption: what people and former owners set is kept, and never mistaken for drift.

    What Git sets too is taken out of their entries (else it would stay after Git drops it), and so is what lies inside
    of a node that Git sets (else the node could neither go nor become another one); the rest moves to manager
    `setpoint-adopted`, which no rule ever removes. None if there is nothing to rewrite.
    """
    kept: FieldSet = {}
    result: list[dict[str, Any]] = []
    for entry in managed:
        if entry.get("subresource") == "status" or not is_person(entry.get("manager", ""), takeover):
            result.append(dict(entry))
        else:
            kept = union(kept, entry.get("fieldsV1") or {})
    if len(result) == len(managed):
        return None
    rest = _beside(kept, ours)
    if rest:
        first = next(e for e in managed if is_person(e.get("manager", ""), takeover))
        result.append(
            {
                "manager": names.ADOPTED_MANAGER,
                "operation": "Update",
                "apiVersion": first["apiVersion"],
                "time": first.get("time"),
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
    for key, child in trie.items():
        if key == ".":
            continue
        found = _resolve(node, key)
        if found is None:
            continue
        here = (*path, found[0])
        if not child or set(child) == {"."}:
            yield pointer(here)
        else:
            yield from _pointers(found[1], child, here)
