"""Takes back what people added, where the API server refuses Git for it (pure): the JSON Patch to precede the apply.

What people add is removed after an apply. But who changes the port of a Service by hand has taken an element of a list away
and put in another: an apply would leave both, and that is refused, for a Service of two ports needs names. So the additions go
first, and the same patch sets what Git sets in the nodes that they are in.

What one node may have can depend on another: with `hostNetwork` a port of a container is the node's. Then the patch is
accepted, and the rest of Git is refused beside what it would take away. So the last try is one patch that sets all that Git
sets in the top-level fields that the additions are in.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from setpoint.objects import managed_fields
from setpoint.objects.identity import Manifest
from setpoint.objects.json_patch import Elements
from setpoint.objects.managed_fields import FieldSet, Path, Step
from setpoint.plan.ignore import paths
from setpoint.plan.unions.candidates import Candidate
from setpoint.plan.unions.exchange import MOST, Exchange, exchange_of, outer, outermost, recorded, sets
from setpoint.plan.unions.places import Finder, Place, Tries

Addition = tuple[Path, Any]


def sent_fields(live: Mapping[str, Any], manifest: Manifest) -> FieldSet:
    """Return what Git sets as fieldsV1 has it; elements of lists by the keys that managedFields know."""
    return _fields(manifest, recorded(live["metadata"].get("managedFields") or (), manifest))


def undo(
    live: Mapping[str, Any],
    manifest: Manifest,
    additions: Sequence[Addition],
    beside: Sequence[Candidate] = (),
    *,
    whole: bool = False,
) -> Exchange | None:
    """Return the patch that takes the additions away; None if there are none, or more than anybody makes by hand.

    `beside`: what else stands in the way of Git, as for an exchange: a person's member of a union is a change of both sorts.
    `whole`: it sets all of the top-level fields, not only of the nodes that the additions are in.
    """
    if not 0 < len(additions) <= MOST:
        return None
    known = recorded(live["metadata"].get("managedFields") or (), manifest)
    root, finder = Place(manifest, live, Tries(known, {}, {})), Finder()
    every = [*additions, *((each.path, each.value) for each in beside)]
    found = outermost({tuple(s.token for s in path): (path, value) for path, value in every})
    ways = ((path[:1] if whole else path[:-1]) for path, _ in found)
    nodes = [node for way in ways if (node := _node(finder, root, way)).path]
    # Elements are appended before any is removed: so indexes stay right, from the back on.
    operations = [op for node in outer(nodes) for op in sets(node)]
    for path, value in managed_fields.last_first(found):
        operations += managed_fields.removal(path, value)
    return replace(exchange_of(live, manifest, nodes, operations), takes_back=True)


def _fields(git: Any, known: FieldSet) -> FieldSet:
    if isinstance(git, dict):
        return {
            f"f:{name}": _fields(value, known.get(f"f:{name}") or {})
            for name, value in git.items()
            if value is not None
        }
    return dict(_elements(git, known)) if isinstance(git, list) else {}


def _elements(git: Sequence[Any], known: FieldSet) -> Iterator[tuple[str, FieldSet]]:
    """Return those elements of a list that managedFields know, too: what nobody owns is nobody's addition."""
    keys = paths.keys_of(known)
    elements = Elements([paths.completed(e, keys[0]) for e in git] if keys else git)
    for entry, fields in known.items():
        sort, _, text = entry.partition(":")
        if sort == "v" and elements.equal(json.loads(text)) is not None:
            yield entry, {}
        if sort == "k" and (index := elements.keyed(json.loads(text))) is not None:
            yield entry, {".": {}, **_fields(elements.items[index], fields)}


def _node(finder: Finder, root: Place, path: Sequence[Step]) -> Place:
    """Return the deepest place on the way that both Git and the live object have."""
    place = root
    for step in path:
        below = _below(finder, place, step)
        if below is None:
            break
        place = below
    return place


def _below(finder: Finder, place: Place, step: Step) -> Place | None:
    if place.is_object:
        return place.field(step.token) if place.sets(step.token) and step.token in place.live else None
    if step.guard is None or not isinstance(place.git, list):
        return None
    found = (p for p in finder.elements(place) if p is not None and p.path[-1].token == step.token)
    return next(found, None)
