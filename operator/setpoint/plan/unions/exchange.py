"""Exchanges one member of a union for another (pure): the JSON Patch that a server-side apply must be preceded by.

An apply leaves alone what nobody owns. So where Git sets one member of a union, and the API server's defaults or the
manager `setpoint-adopted` hold another, both would be there, and that is refused. Taking the old one away alone is of no
use, as defaulting puts it back: the same patch sets what Git sets in that node.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import islice
from typing import Any, TypeVar

from setpoint.api import names
from setpoint.objects import managed_fields
from setpoint.objects.identity import Manifest
from setpoint.objects.json_patch import Operation, child
from setpoint.objects.managed_fields import FieldSet, Path, Step, pointer
from setpoint.plan.ignore import paths
from setpoint.plan.ignore.paths import Tree
from setpoint.plan.ignore.rules import Places, has_ignored
from setpoint.plan.unions.candidates import Candidate, Cause, candidates, named
from setpoint.plan.unions.places import Place, Tries

T = TypeVar("T")
_Operations = list[dict[str, Any]]
MOST = 100
"""Causes that are looked at, and fields that one patch takes away. Each is looked for in its lists, so more would be a way to keep the operator busy."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """The patch, and how the rest of the manifest is tried without it.

    `rest` is the manifest with the nodes that are patched as they are now: its dry run tells what the apply does elsewhere.
    """

    operations: tuple[Operation, ...]
    """The first is the test on the resourceVersion."""
    rest: Manifest
    nodes: tuple[Path, ...]
    takes_back: bool = False
    """Whether it takes away what people added."""

    def at(self, version: str) -> tuple[Operation, ...]:
        """Return the patch for a later version of the object, in which nothing changed that counts."""
        first, *others = self.operations
        return ({**first, "value": version}, *others)

    def predicted(self, rest: Manifest, patched: Manifest) -> Manifest:
        """Return the object as it will be: the dry run of the `rest`, with the nodes as the dry run of the patch has them."""
        return reduce(lambda made, path: _with_node(made, path, patched), self.nodes, rest)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What can be done about a refusal: an exchange, and what is left to others, in words."""

    exchange: Exchange | None = None
    words: str = ""


def verdict(
    live: Mapping[str, Any],
    manifest: Manifest,
    causes: Iterable[Cause],
    former: frozenset[str] | None,
    ignored: Tree | None = None,
) -> Verdict:
    """Return what can be done about a refusal of `manifest` with these causes.

    `former`: the managers whose fields an adoption takes over, beside people's, if this is one; `ignored`: the paths
    that are left to others, and so never taken away.
    """
    free, words = in_the_way(live, manifest, causes, former, ignored)
    return Verdict(_exchange(live, manifest, free) if free else None, words)


def in_the_way(
    live: Mapping[str, Any],
    manifest: Manifest,
    causes: Iterable[Cause],
    former: frozenset[str] | None,
    ignored: Tree | None = None,
) -> tuple[Sequence[Candidate], str]:
    """Return what may be taken away of what a refusal is about, and in words what is left to others."""
    managed = live["metadata"].get("managedFields") or ()
    foreign = [e for e in managed if not _is_ours(e, former)]
    told = tuple(islice(causes, MOST + 1))
    if len(told) > MOST or any(_is_unreadable(e, manifest["apiVersion"]) for e in foreign):
        return (), ""
    root = Place(
        manifest, live, Tries(recorded(managed, manifest), _own(managed), managed_fields.union_of(foreign))
    )
    found = candidates(root, told)
    held = [each for each in found if each.is_foreign]
    free, words = [each for each in found if not each.is_foreign], _held_words(held, foreign)
    if not 0 < len(free) <= MOST:
        return (), words
    spared = _spared(free, manifest, live, ignored)
    words = "; ".join(filter(None, (words, _spared_words(spared))))
    return [each for each in free if each not in spared], words


def _spared(
    found: Sequence[Candidate], manifest: Manifest, live: Mapping[str, Any], ignored: Tree | None
) -> Sequence[Candidate]:
    """Return those that are ignored, or have in them what is."""
    places = Places()
    return [e for e in found if ignored and has_ignored(e.path, ignored, manifest, live, places)]


def _is_ours(entry: Mapping[str, Any], former: frozenset[str] | None) -> bool:
    manager = entry.get("manager", "")
    if entry.get("subresource") == "status":
        return False
    return manager in names.OUR_MANAGERS or (former is not None and managed_fields.is_person(manager, former))


def _is_unreadable(entry: Mapping[str, Any], version: str) -> bool:
    """Return whether somebody owns fields of an object under the names of another version, which cannot be told from free ones."""
    fields = (entry.get("fieldsV1") or {}).keys() - {"f:metadata", "f:status"}
    return bool(fields) and entry.get("apiVersion") != version


def recorded(managed: Iterable[Mapping[str, Any]], manifest: Manifest) -> FieldSet:
    """Return what is recorded at the version that is sent; at others, fields may be called otherwise."""
    return managed_fields.union_of(e for e in managed if e.get("apiVersion") == manifest["apiVersion"])


def _own(managed: Sequence[Mapping[str, Any]]) -> FieldSet:
    own = managed_fields.own_entry(managed) or {}
    return own.get("fieldsV1") or {}


def _held_words(held: Sequence[Candidate], foreign: Sequence[Mapping[str, Any]]) -> str:
    """Return whose fields stand in the way, and what to do; empty if there are none."""
    if not held:
        return ""
    path = held[0].path
    owners = dict.fromkeys(
        str(entry.get("manager", "")) for entry in foreign if _owns(entry.get("fieldsV1") or {}, path)
    )
    who = " and ".join(list(owners)[:3]) or "another manager"
    return (
        f"{named(held)} is not in Git and belongs to {who}, so it stays: "
        "remove it from the object, or write into Git what is to be there"
    )


def _spared_words(spared: Sequence[Candidate]) -> str:
    if not spared:
        return ""
    return (
        f"{named(spared)} is not in Git and is left to others by spec.ignore, so it stays: "
        "remove it from the object, or its path from spec.ignore"
    )


def _owns(trie: FieldSet, path: Path) -> bool:
    """Return whether fieldsV1 has a field or anything in it. Only the way to it is gone: lists may be long."""
    for step in path:
        key = f"f:{step.token}" if step.guard is None else _entry_of(trie, step.guard)
        if key not in trie:
            return False
        trie = trie[key]
    return True


def _entry_of(trie: FieldSet, guard: Mapping[str, Any]) -> str:
    return next((k for k in trie if k.startswith("k:") and json.loads(k[2:]) == guard), "")


def _exchange(live: Mapping[str, Any], manifest: Manifest, found: Sequence[Candidate]) -> Exchange:
    places = [each.place for each in found]
    operations = [op for each in found for op in managed_fields.removal(each.path, each.value)]
    return exchange_of(live, manifest, places, [*operations, *(op for p in outer(places) for op in sets(p))])


def exchange_of(
    live: Mapping[str, Any], manifest: Manifest, places: Sequence[Place], operations: _Operations
) -> Exchange:
    """Return an exchange made of these operations, which change these places and no others."""
    version = {
        "op": "test",
        "path": "/metadata/resourceVersion",
        "value": live["metadata"]["resourceVersion"],
    }
    nodes = outer(places)
    rest = reduce(_as_live, nodes, manifest)
    return Exchange(tuple(_once([version, *operations])), rest, tuple(p.path for p in nodes))


def outer(places: Iterable[Place]) -> Sequence[Place]:
    """Return each place once. A node within another one that is patched is patched with it."""
    return outermost({place.at: place for place in places})


def outermost(found: Mapping[tuple[str, ...], T]) -> list[T]:
    """Return what lies in nothing else that is there; the keys are the ways to it."""
    return [each for at, each in found.items() if not any(at[:i] in found for i in range(len(at)))]


def _once(operations: Iterable[Operation]) -> Iterable[Operation]:
    """Leave out tests that were made before: several removals from one element would each ask for its key."""
    seen: set[tuple[str, str]] = set()
    for op in operations:
        key = (op["path"], repr(op.get("value")))
        if op["op"] != "test" or key not in seen:
            yield op
        if op["op"] == "test":
            seen.add(key)


def sets(place: Place) -> _Operations:
    """Return what sets in a live node what Git sets there, and leaves all else as it is."""
    if place.is_object:
        return [op for name in place.git if place.sets(name) for op in _sets_field(place, name)]
    keys = paths.keys_of(place.tries.known)
    if any(entry.startswith("v:") for entry in place.tries.known):
        return []  # a set: others may have values in it, and the apply joins them
    if not keys or not isinstance(place.live, list) or not isinstance(place.git, list):
        return [] if place.git == place.live else [_put(place.path, place.git)]
    return _sets_elements(place, tuple(keys[0]))


def _sets_field(place: Place, name: str) -> _Operations:
    if name in place.live:
        return sets(place.field(name))
    return [_put((*place.path, Step(name)), place.git[name])]


def _sets_elements(place: Place, key: Sequence[str]) -> _Operations:
    live, tries = paths.indexed(place.live, key), paths.tries_of(place.tries.known, key)
    found: _Operations = []
    for element in place.git:
        name = paths.key_of(element, key) if isinstance(element, dict) else None
        values = paths.values_of(name, key)
        if values is None or values not in live:
            found.append(_put((*place.path, Step("-")), element))
            continue
        there, theirs = live[values]
        known: FieldSet = tries.get(values) or {}
        path = (*place.path, Step(str(there), name))
        found += sets(Place(element, theirs, Tries(known, {}, {}), path))
    return found


def _put(path: Path, value: Any) -> dict[str, Any]:
    return {"op": "add", "path": pointer(path), "value": value}


def _as_live(manifest: Manifest, place: Place) -> Manifest:
    """Return the manifest with a node as the live object has it; what is not on the way is shared."""
    made: Manifest = _replaced(manifest, place.at, place.live)
    return made


def _replaced(node: Any, at: Sequence[str], value: Any) -> Any:
    if not at:
        return value
    token, rest = at[0], at[1:]
    if isinstance(node, list):
        index = int(token)
        return [*node[:index], _replaced(node[index], rest, value), *node[index + 1 :]]
    return {**node, token: _replaced(node[token], rest, value)}


def _with_node(made: Any, path: Sequence[Step], patched: Any) -> Any:
    """Return an object with the node at a path as another object has it. Elements are found by their keys."""
    if not path:
        return patched
    token = _token(made, path[0])
    other = child(patched, _token(patched, path[0]))
    if isinstance(made, list):
        index = int(token)
        return [
            *made[:index],
            *(_with_node(e, path[1:], other) for e in made[index : index + 1]),
            *made[index + 1 :],
        ]
    return {**made, token: _with_node(made.get(token), path[1:], other)} if isinstance(made, dict) else other


def _token(node: Any, step: Step) -> str:
    if step.guard is None or not isinstance(node, list):
        return step.token
    return next((str(i) for i, e in enumerate(node) if paths.has_key(e, step.guard)), step.token)
