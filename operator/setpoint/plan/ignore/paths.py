"""Paths to fields as people write them (pure): JSON Pointers in which `[name=app]` names an element of a list.

A plain index would mean another element as soon as one is put in front. Where the API gives the elements of a list
keys, managedFields has them, written out with their defaults.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from setpoint.objects.json_patch import tokens_of
from setpoint.objects.managed_fields import FieldSet

Tree = Mapping[str, "Tree"]
"""Paths by their tokens; an empty one is the end of a path, and so the whole node."""
Key = Mapping[str, Any]
"""The key fields of one element of a list, with their values."""
WHOLE: Tree = {}
KEY_DEFAULTS: Mapping[str, Any] = {"protocol": "TCP"}
"""Of all keys that Kubernetes' own kinds have, the only one that may be left out."""

_FIELD = r'([^=,"\[\]]+)=("(?:[^"\\]|\\["\\])*"|[^,"\[\]]+)'
_SELECTOR = re.compile(rf"\[{_FIELD}(?:,{_FIELD})*\]")
_FIELDS = re.compile(_FIELD)


@dataclass(frozen=True, slots=True)
class Selector:
    """Values of fields by which elements of a list are chosen; True for those that are quoted, and so texts."""

    fields: tuple[tuple[str, str, bool], ...]

    def fits(self, element: Any) -> bool:
        """Return whether an element has all of these values."""
        return isinstance(element, dict) and all(
            name in element and _is(element[name], wanted, quoted=quoted)
            for name, wanted, quoted in self.fields
        )


def _is(value: Any, wanted: str, *, quoted: bool) -> bool:
    if isinstance(value, str):
        return value == wanted
    return not quoted and not isinstance(value, dict | list) and json.dumps(value) == wanted


@lru_cache(4096)
def selector_of(token: str) -> Selector | None:
    """Return the selector that an (unescaped) token is, or None."""
    if _SELECTOR.fullmatch(token) is None:
        return None
    return Selector(tuple(_field(*found) for found in _FIELDS.findall(token)))


def _field(name: str, text: str) -> tuple[str, str, bool]:
    if text.startswith('"'):
        return name, re.sub(r"\\(.)", r"\1", text[1:-1]), True
    return name, text, False


def index_of(token: str) -> int | None:
    """Return the index that a token is, as RFC 6901 writes it, or None."""
    return int(token) if re.fullmatch("0|[1-9][0-9]*", token) else None


def tree_of(paths: Iterable[str]) -> Tree:
    """Return paths as one tree; a path covers those below it."""
    return joined(_chain(tokens_of(path)) for path in paths)


def _chain(tokens: Sequence[str]) -> Tree:
    return {tokens[0]: _chain(tokens[1:])} if tokens else WHOLE


def joined(trees: Iterable[Tree]) -> Tree:
    """Return several trees as one; WHOLE if one of them is."""
    found: dict[str, Tree] = {}
    for tree in trees:
        if not tree:
            return WHOLE
        for token, below in tree.items():
            found[token] = joined((found[token], below)) if token in found else below
    return found


def pointers(tree: Tree, at: Sequence[str] = ()) -> Iterator[str]:
    """Return the paths of a tree, escaped, that lies at these tokens."""
    if not tree:
        yield "".join("/" + token.replace("~", "~0").replace("/", "~1") for token in at)
    for token, below in tree.items():
        yield from pointers(below, (*at, token))


@dataclass(frozen=True, slots=True)
class Chooser:
    """What a tree says of the elements of one list; its tokens are read once, and not for each element."""

    by_index: Tree
    by_fields: tuple[tuple[Selector, Tree], ...]

    def chosen(self, index: int | None, element: Any) -> list[Tree]:
        """Return what is said of one element; `index` is its place in Git's list, if it has one."""
        found = [below for selector, below in self.by_fields if selector.fits(element)]
        counted = self.by_index.get(str(index))
        return found if counted is None else [counted, *found]


def chooser(tree: Tree) -> Chooser:
    """Return what a tree says of the elements of a list."""
    by_fields = ((selector_of(token), below) for token, below in tree.items())
    return Chooser(
        {token: below for token, below in tree.items() if index_of(token) is not None},
        tuple((selector, below) for selector, below in by_fields if selector is not None),
    )


def fitting(token: str, element: Any) -> bool:
    """Return whether a token is a selector that an element fits."""
    selector = selector_of(token)
    return selector is not None and selector.fits(element)


def keys_of(trie: FieldSet | None) -> tuple[Key, ...] | None:
    """Return the keys of a list's elements that a trie knows of; () for a list without keys, None if it tells nothing."""
    if trie is None:
        return None
    keys = tuple(json.loads(entry[2:]) for entry in trie if entry.startswith("k:"))
    return keys if len({frozenset(key) for key in keys}) < 2 else None


def key_of(element: Mapping[str, Any], names: Collection[str], rest: Sequence[Key] = ()) -> Key | None:
    """Return the key of an element of Git's, which may leave out fields that have a default; None if it is not known.

    `rest`: what the server made of keys that Git does not spell out.
    """
    given = {name: element[name] for name in names if element.get(name) is not None}
    missing = frozenset(names) - given.keys()
    if missing <= KEY_DEFAULTS.keys():
        return {**{name: KEY_DEFAULTS[name] for name in missing}, **given}
    found = [key for key in rest if has_key(key, given)]
    return found[0] if len(found) == 1 else None


def completed(element: Any, names: Collection[str]) -> Any:
    """Return an element of Git's with its whole key; None if that is not known."""
    key = key_of(element, names) if isinstance(element, dict) else None
    return {**element, **key} if key else None


def not_spelled_out(elements: Iterable[Any], keys: Sequence[Key]) -> tuple[Key, ...]:
    """Return those keys that no element of Git's has in full."""
    spelled = {values_of(key_of(e, keys[0]), keys[0]) for e in elements if isinstance(e, dict)}
    return tuple(key for key in keys if values_of(key, key) not in spelled)


def has_key(element: Any, key: Key) -> bool:
    """Return whether an element has these values."""
    return isinstance(element, dict) and all(element.get(name) == value for name, value in key.items())


Values = tuple[Any, ...]
"""The values of a key, by the names of its fields."""


def values_of(element: Any, names: Iterable[str]) -> Values | None:
    """Return the values by which an element is found; None if it has none that a key may have."""
    if not isinstance(element, Mapping):
        return None
    values = tuple(element.get(name) for name in sorted(names))
    return None if any(isinstance(value, dict | list) for value in values) else values


def indexed(elements: Iterable[Any], names: Collection[str]) -> dict[Values, tuple[int, Any]]:
    """Return the elements of a list, with their places, by their keys; of several with one key the first.

    A list may have thousands of elements, so none is looked for by going through it.
    """
    found: dict[Values, tuple[int, Any]] = {}
    for place, element in enumerate(elements):
        if (values := values_of(element, names)) is not None:
            found.setdefault(values, (place, element))
    return found


def tries_of(trie: FieldSet | None, names: Collection[str]) -> dict[Values, FieldSet]:
    """Return what a trie knows of the elements of a list, by their keys."""
    keyed = ((json.loads(entry[2:]), t) for entry, t in (trie or {}).items() if entry.startswith("k:"))
    return {values: t for key, t in keyed if (values := values_of(key, names)) is not None}
