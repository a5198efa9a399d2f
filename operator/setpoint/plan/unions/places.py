"""Places in an object (pure): what Git, the live object and managedFields have at one, and how to get to it.

A refusal names places in the object that the API server would have made. Of a list with keys that object has the
elements of Git and those live ones that somebody else owns, in an order that is worked out here again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from setpoint.objects.managed_fields import FieldSet, Path, Step
from setpoint.plan.ignore import paths
from setpoint.plan.ignore.paths import Values

_TOKEN = re.compile(r"\[([^\]]*)\]|([^.\[\]]+)")
LONGEST_FIELD = 1000


def tokens_of_field(field: str) -> tuple[str, ...]:
    """Return the tokens of a field as the API server names it (`spec.ports[0].port`); none for one that is too long."""
    if len(field) > LONGEST_FIELD:
        return ()
    return tuple(inside or name for inside, name in _TOKEN.findall(field))


@dataclass(frozen=True, slots=True)
class Tries:
    """What managedFields records below one place: of anybody, of ourselves, and of those whose fields stay."""

    known: FieldSet
    own: FieldSet
    foreign: FieldSet

    def below(self, key: str) -> Tries:
        """Return what is recorded below an entry of fieldsV1."""
        nothing: FieldSet = {}
        return Tries(*(trie.get(key, nothing) for trie in (self.known, self.own, self.foreign)))


@dataclass(frozen=True, slots=True)
class Place:
    """A node that Git sets and the live object has; `path` leads to the live one, `at` to Git's."""

    git: Any
    live: Any
    tries: Tries
    path: Path = ()
    at: tuple[str, ...] = ()
    parent: Place | None = None

    @property
    def is_object(self) -> bool:
        """Whether it is an object, in Git and live."""
        return isinstance(self.git, dict) and isinstance(self.live, dict)

    def sets(self, name: str) -> bool:
        """Return whether Git sets a field of this object; null sets nothing."""
        return self.git.get(name) is not None

    def field(self, name: str) -> Place:
        """Return the place of a field that both have."""
        return Place(
            self.git[name],
            self.live[name],
            self.tries.below(f"f:{name}"),
            (*self.path, Step(name)),
            (*self.at, name),
            self,
        )

    def unset(self) -> Iterator[str]:
        """Return the fields of the live object that Git does not set."""
        return (name for name in self.live if not self.sets(name))

    def is_foreign(self, name: str) -> bool:
        """Return whether somebody whose fields stay owns a field, or anything in it."""
        return f"f:{name}" in self.tries.foreign


class Finder:
    """Finds places in one object. The order of each list is worked out once, however many places are in it."""

    def __init__(self) -> None:
        self._lists: dict[tuple[str, ...], tuple[Place | None, ...]] = {}

    def find(self, place: Place, tokens: Sequence[str]) -> tuple[Place, tuple[str, ...]]:
        """Return the deepest place that both have on the way to a field, and the tokens that are left."""
        for depth, token in enumerate(tokens):
            below = self._child(place, token)
            if below is None:
                return place, tuple(tokens[depth:])
            place = below
        return place, ()

    def _child(self, place: Place, token: str) -> Place | None:
        if place.is_object:
            return place.field(token) if place.sets(token) and token in place.live else None
        index = paths.index_of(token)
        if index is None or not (isinstance(place.git, list) and isinstance(place.live, list)):
            return None
        elements = self.elements(place)
        return elements[index] if index < len(elements) else None

    def elements(self, place: Place) -> tuple[Place | None, ...]:
        """Return the elements of a list with keys as the server would order them; None for one that not both have."""
        if place.at not in self._lists:
            self._lists[place.at] = _elements(place)
        return self._lists[place.at]


def _elements(place: Place) -> tuple[Place | None, ...]:
    keys = paths.keys_of(place.tries.known)
    if not keys:
        return ()
    names = tuple(keys[0])
    complete = (paths.completed(e, names) for e in place.git)
    ours, theirs = paths.indexed(complete, names), paths.indexed(place.live, names)
    tries = _ElementTries(place.tries, names)
    kept = [values for values in theirs if values in ours or not tries.goes(values)]
    return tuple(
        _element(place, ours[v], theirs[v], tries.of(v), names) if v in ours and v in theirs else None
        for v in _ordered(list(ours), kept)
    )


class _ElementTries:
    """What is recorded of the elements of one list, each looked up by its key."""

    def __init__(self, tries: Tries, names: Sequence[str]) -> None:
        self._known, self._own, self._foreign = (
            paths.tries_of(trie, names) for trie in (tries.known, tries.own, tries.foreign)
        )

    def of(self, values: Values) -> Tries:
        return Tries(*(found.get(values, {}) for found in (self._known, self._own, self._foreign)))

    def goes(self, values: Values) -> bool:
        """Return whether an element that Git has no more goes by the apply: it was ours and nobody else's."""
        return values in self._own and self._known.get(values) == self._own[values]


def _element(
    place: Place, ours: tuple[int, Any], theirs: tuple[int, Any], tries: Tries, names: Sequence[str]
) -> Place:
    (index, git), (there, live) = ours, theirs
    key = {name: live[name] for name in names if name in live}
    return Place(git, live, tries, (*place.path, Step(str(there), key)), (*place.at, str(index)), place)


def _ordered(ours: Sequence[Values], theirs: Sequence[Values]) -> Iterator[Values]:
    """Return keys in the order in which server-side apply merges two lists (structured-merge-diff).

    What only the live list has comes where it stands there; what both have, when it is its turn in Git's order.
    """
    in_git, in_live = frozenset(ours), frozenset(theirs)
    shared = [values for values in ours if values in in_live]
    mine = turn = 0
    for values in theirs:
        if values not in in_git:
            yield values
        elif turn < len(shared) and shared[turn] == values:
            while ours[mine] != values:
                yield ours[mine]
                mine += 1
            yield values
            mine, turn = mine + 1, turn + 1
    yield from ours[mine:]


def changes(git: Mapping[str, Any], live: Mapping[str, Any]) -> bool:
    """Return whether Git sets a field of an object otherwise than it is, objects within not counted."""
    return any(
        value is not None and (name not in live or (not isinstance(value, dict) and value != live[name]))
        for name, value in git.items()
    )
