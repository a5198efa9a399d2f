"""Ignore rules: which objects they are for, and what of an object they leave to others (pure).

An index in a path counts in Git's manifest. What is carried comes from the live element with the same key.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

from setpoint.api.sync import IgnoreRule
from setpoint.objects import managed_fields
from setpoint.objects.identity import Manifest, ObjectId
from setpoint.objects.json_patch import ABSENT, Elements, child
from setpoint.plan.ignore import contracts, paths
from setpoint.plan.ignore.carry import Place, carried
from setpoint.plan.ignore.paths import WHOLE, Tree


@dataclass(frozen=True, slots=True)
class Carried:
    """The manifest to send, and of which ignored paths Git's value is sent for want of knowing better, and why."""

    manifest: Manifest
    doubts: tuple[str, ...] = ()


def matches(rule: IgnoreRule, oid: ObjectId) -> bool:
    """Return whether an ignore rule is for this object."""
    t = rule.target
    wanted = ((t.group, oid.group), (t.kind, oid.kind), (t.name, oid.name), (t.namespace, oid.namespace))
    return all(w is None or w == actual for w, actual in wanted)


def ignored_paths(rules: Sequence[IgnoreRule], oid: ObjectId, manifest: Mapping[str, Any]) -> Tree | None:
    """Return the paths that rules, and contracts of Kubernetes, have others own of this object; None if there are none."""
    return _tree(_by_rules(rules, oid), contracts.owned_paths(oid, manifest))


def paths_of_rules(rules: Sequence[IgnoreRule], oid: ObjectId) -> Tree | None:
    """Return the paths that rules alone have others own of this object; None if there are none."""
    return _tree(_by_rules(rules, oid))


def depends_on_live(rules: Sequence[IgnoreRule], oid: ObjectId, manifest: Mapping[str, Any]) -> bool:
    """Return whether what is sent of this object depends on the live one."""
    return any(matches(r, oid) for r in rules) or bool(contracts.set_paths(oid, manifest))


def _by_rules(rules: Sequence[IgnoreRule], oid: ObjectId) -> Sequence[str]:
    return [path for rule in rules if matches(rule, oid) for path in rule.paths]


def _tree(*found: Sequence[str]) -> Tree | None:
    return paths.tree_of(path for each in found for path in each) if any(found) else None


def with_ignored(
    manifest: Manifest,
    live: Mapping[str, Any] | None,
    rules: Sequence[IgnoreRule],
    oid: ObjectId,
    predicted: Mapping[str, Any] | None = None,
) -> Carried:
    """Return the manifest to send: ignored paths carry the live value (Git's where there is no live object).

    Leaving the path out instead would give the field up, and the server would reset it (`notes/apply.md`). Where
    doubts are left, `predicted`, what the server would make of the manifest that came out, has the keys and defaults.
    What a controller owns by contract is carried only if Git sets it: otherwise nobody is to take it from the controller.
    """
    tree = _tree(_by_rules(rules, oid), contracts.set_paths(oid, manifest))
    if live is None:
        return Carried(contracts.at_creation(oid, manifest))
    if tree is None:
        return Carried(manifest)
    place = Place(manifest, live, _recorded(live, manifest["apiVersion"]))
    if predicted is not None:
        own = managed_fields.own_entry(predicted["metadata"].get("managedFields") or ()) or {}
        place = Place(manifest, live, own.get("fieldsV1") or {}, predicted)
    made = carried(place, tree)
    return Carried(made.value, made.doubts)


def _recorded(live: Mapping[str, Any], version: str) -> managed_fields.FieldSet:
    """Return what managedFields tells of all fields at the version that is sent; at others, they may be called otherwise."""
    entries = (live.get("metadata") or {}).get("managedFields") or ()
    tries = (e.get("fieldsV1") or {} for e in entries if e.get("apiVersion") == version)
    return reduce(managed_fields.union, tries, {})


@dataclass(frozen=True, slots=True)
class _Keyed:
    """The places of the elements of one list: by their keys, and by those fields of a key that they spell out."""

    whole: Mapping[paths.Values, tuple[int, Any]]
    parts: Mapping[frozenset[str], Mapping[paths.Values, int]]

    def place(self, key: paths.Key) -> int | None:
        if (found := self.whole.get(paths.values_of(key, key) or ())) is not None:
            return found[0]
        some = (table.get(paths.values_of(key, names) or ()) for names, table in self.parts.items())
        return min((place for place in some if place is not None), default=None)


class Places:
    """Finds elements of Git's lists. Each list is gone through once, however many elements of one object are looked for."""

    def __init__(self) -> None:
        self._keyed: dict[tuple[int, frozenset[str]], _Keyed] = {}
        self._plain: dict[int, Elements] = {}

    def index(self, git: Any, step: managed_fields.Step, theirs: Any) -> int | None:
        """Return the place of a live element: of the one with its key, or without keys of the one that is equal."""
        elements = git if isinstance(git, list) else []
        if step.guard is None:
            return self._plain.setdefault(id(git), Elements(elements)).equal(theirs)
        at = (id(git), frozenset(step.guard))
        if at not in self._keyed:
            self._keyed[at] = _keyed(elements, step.guard)
        return self._keyed[at].place(step.guard)


def _keyed(elements: Sequence[Any], names: Collection[str]) -> _Keyed:
    keys = [paths.key_of(e, names) if isinstance(e, dict) else None for e in elements]
    parts: dict[frozenset[str], dict[paths.Values, int]] = {}
    for place, (element, key) in enumerate(zip(elements, keys, strict=True)):
        if isinstance(element, dict) and key is None:
            given = frozenset(name for name in names if element.get(name) is not None)
            if (values := paths.values_of(element, given)) is not None:
                parts.setdefault(given, {}).setdefault(values, place)
    return _Keyed(paths.indexed(keys, names), parts)


def is_ignored(
    path: managed_fields.Path, tree: Tree, git: Any, live: Any, places: Places | None = None
) -> bool:
    """Return whether a path of a live object lies at or under an ignored one; `git` is the manifest.

    `places` is kept for other paths of the same object, so that lists are not gone through for each of them.
    """
    found = _below(path, tree, git, live, places)
    return found is not None and found[0] == WHOLE


def has_ignored(
    path: managed_fields.Path, tree: Tree, git: Any, live: Any, places: Places | None = None
) -> bool:
    """Return whether something of a live object that is at a path is ignored: all of it, or a part; as `is_ignored`."""
    found = _below(path, tree, git, live, places)
    return found is not None and _leads_somewhere(*found)


def _leads_somewhere(tree: Tree, node: Any) -> bool:
    """Return whether a path leads to something. Git has no such node: an index in it may mean any element."""
    if tree == WHOLE or isinstance(node, list):
        return tree == WHOLE or bool(node)
    below = ((rest, child(node, token)) for token, rest in tree.items())
    return any(found is not ABSENT and _leads_somewhere(rest, found) for rest, found in below)


def _below(
    path: managed_fields.Path, tree: Tree, git: Any, live: Any, places: Places | None
) -> tuple[Tree, Any] | None:
    """Return what is ignored of the live node at a path, with that node; None if nothing is."""
    known = Places() if places is None else places
    for step in path:
        if tree == WHOLE:
            break
        theirs = child(live, step.token)
        if isinstance(live, list):
            index = known.index(git, step, theirs)
            found = paths.chooser(tree).chosen(index, theirs)
            if not found:
                return None
            tree, git = paths.joined(found), git[index] if index is not None else ABSENT
        elif step.token in tree:
            tree, git = tree[step.token], child(git, step.token)
        else:
            return None
        live = theirs
    return tree, live
