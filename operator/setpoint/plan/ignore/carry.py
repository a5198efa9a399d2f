"""Carries live values into a manifest (pure): from which live node each comes, and where nobody can tell.

Elements of a list are paired by their keys, wherever they stand. Each function returns what became of one node.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from setpoint.objects.json_patch import ABSENT, child
from setpoint.objects.managed_fields import FieldSet
from setpoint.plan.ignore import paths
from setpoint.plan.ignore.paths import WHOLE, Key, Tree

UNKNOWN = "nobody knows the keys of the list"
CHANGED = (
    "its list has no keys and differs elsewhere, too, so Git's value is sent; name the element by a field of its own "
    "([name=app]), or ignore the whole list"
)
SEVERAL = "several elements have these fields, so Git's value is sent; name more of them"


@dataclass(frozen=True, slots=True)
class Place:
    """A node of Git's, its live counterpart, what is recorded of it, and what the server made of it if that is known."""

    git: Any
    live: Any
    trie: FieldSet | None
    predicted: Any = None
    at: tuple[str, ...] = ()

    @property
    def is_final(self) -> bool:
        """Whether the server was asked already."""
        return self.predicted is not None

    def field(self, name: str) -> Place:
        """Return the place of a field, which Git and the live object have."""
        predicted = child(self.predicted, name) if self.is_final else None
        trie = (self.trie or {}).get(f"f:{name}")
        return Place(self.git[name], self.live[name], trie, predicted, (*self.at, name))

    def elements(self) -> Sequence[Any]:
        """Return the elements of the list that the server made, if it was asked."""
        return self.predicted if isinstance(self.predicted, list) else ()


_Pick = tuple[int, Any, Tree]
"""Which element of Git's list, the live one that it is carried from, and what of it."""


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a node."""

    value: Any
    doubts: tuple[str, ...] = ()


def carried(place: Place, tree: Tree) -> Made:
    """Return a node of Git's with what a tree of paths has others own of it."""
    if tree == WHOLE:
        return Made(place.live)
    if isinstance(place.git, list) and isinstance(place.live, list):
        keys = paths.keys_of(place.trie)
        return _by_key(place, tree, keys) if keys else _without_keys(place, tree, known=keys is not None)
    if isinstance(place.git, dict) and isinstance(place.live, dict):
        return _in_object(place, tree)
    return Made(place.git)


def _in_object(place: Place, tree: Tree) -> Made:
    """Carry fields of an object; what the live one lacks is left out, but a node on the way there is made as Git says."""
    made, doubts = dict(place.git), list[str]()
    for name, below in tree.items():
        if below == WHOLE and name not in place.live:
            made.pop(name, None)
        elif below == WHOLE:
            made[name] = place.live[name]
        elif name in place.git and name in place.live:
            found = carried(place.field(name), below)
            made[name] = found.value
            doubts += found.doubts
    return Made(made, tuple(doubts))


def _by_key(place: Place, tree: Tree, keys: Sequence[Key]) -> Made:
    """Carry from live elements to Git's that have the same key."""
    made, doubts, names = list(place.git), list[str](), keys[0].keys()
    rest = paths.not_spelled_out(place.git, keys) if place.is_final else ()
    live, predicted = paths.indexed(place.live, names), paths.indexed(place.elements(), names)
    tries, chooser = paths.tries_of(place.trie, names), paths.chooser(tree)
    for index, element in enumerate(place.git):
        if not isinstance(element, dict):
            continue  # for the server to refuse
        key = paths.key_of(element, keys[0], rest)
        if key is None:
            doubts += _of_element(
                place, tree, index, f"set {' and '.join(sorted(keys[0]))} of the element in Git"
            )
            continue
        wanted, values = chooser.chosen(index, {**element, **key}), paths.values_of(key, names)
        if wanted and values is not None and values in live:
            server = predicted.get(values, (0, ABSENT))[1] if place.is_final else None
            at = (*place.at, str(index))
            below = Place(element, live[values][1], tries.get(values), server, at)
            found = carried(below, paths.joined(wanted))
            made[index] = found.value
            doubts += found.doubts
    return Made(made, tuple(doubts))


def _without_keys(place: Place, tree: Tree, *, known: bool) -> Made:
    """Carry in a list whose elements have no keys.

    An element that a path names by its fields is carried from the only live one that has them. An index is believed
    if nothing but what is ignored differs, for then no element was put in or taken out.
    """
    git, live = place.git, place.live
    chooser = paths.chooser(tree)
    if not live or not any(chooser.chosen(i, e) for i, e in enumerate(git)):
        return Made(git)
    if not known and not place.is_final:
        return Made(git, _doubts(place, tree, UNKNOWN))
    named, unclear = _named(place, tree)
    counted = [(i, live[i], t) for i, t in _counted(tree, len(git)) if i < len(live)]
    if not _counted(tree, len(git)):
        return Made(_put(place, git, named), unclear)
    server = place.predicted if isinstance(place.predicted, list) else git
    if len(git) == len(live) == len(server) and _put(place, server, [*named, *counted]) == live:
        return Made(_put(place, git, [*named, *counted]), unclear)
    moved = {t: below for t, below in tree.items() if paths.index_of(t) is not None}
    return Made(_put(place, git, named), (*unclear, *_doubts(place, moved, CHANGED)))


def _named(place: Place, tree: Tree) -> tuple[list[_Pick], tuple[str, ...]]:
    """Pair elements by the fields that paths name, where one of Git's and one live one have them."""
    picks, doubts = list[_Pick](), list[str]()
    for token, below in tree.items():
        ours = [i for i, e in enumerate(place.git) if paths.fitting(token, e)]
        theirs = [e for e in place.live if paths.fitting(token, e)]
        if len(ours) == len(theirs) == 1:
            picks.append((ours[0], theirs[0], below))
        elif ours and theirs:
            doubts += _doubts(place, {token: below}, SEVERAL)
    return picks, tuple(doubts)


def _counted(tree: Tree, length: int) -> list[tuple[int, Tree]]:
    found = ((paths.index_of(token), below) for token, below in tree.items())
    return [(i, below) for i, below in found if i is not None and i < length]


def _put(place: Place, elements: Sequence[Any], picks: Sequence[_Pick]) -> list[Any]:
    """Return elements with what is carried to some of them. Below, all is one value: there is nothing to ask."""
    made = list(elements)
    for index, live, tree in picks:
        made[index] = carried(Place(made[index], live, {}, ABSENT), tree).value
    return made


def _of_element(place: Place, tree: Tree, index: int, why: str) -> tuple[str, ...]:
    """Return doubts about an element whose key is not known: any selector may mean it."""
    meant = {t: b for t, b in tree.items() if paths.index_of(t) in (index, None)}
    return _doubts(place, {t: b for t, b in meant.items() if t == str(index) or paths.selector_of(t)}, why)


def _doubts(place: Place, tree: Tree, why: str) -> tuple[str, ...]:
    return tuple(f"{path} is ignored, but {why}" for path in paths.pointers(tree, place.at) if tree)
