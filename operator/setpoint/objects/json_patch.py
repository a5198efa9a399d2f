"""JSON Pointers (RFC 6901): what they point at, and whether some of them overlap (pure).

An object may have tens of thousands of fields, and a list as many elements, so none is compared with each of others.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Operation = Mapping[str, Any]


ABSENT = object()
MOST_KEYS = 4
"""Sets of key fields by which elements of one list are looked for."""


def tokens_of(path: str) -> list[str]:
    """Return the tokens of a pointer, unescaped."""
    return [t.replace("~1", "/").replace("~0", "~") for t in path.split("/")[1:]]


def escaped(token: str) -> str:
    """Return a token as it stands in a pointer."""
    return token.replace("~", "~0").replace("/", "~1")


def child(node: Any, token: str) -> Any:
    """Return what a token leads to in an object or a list; ABSENT if nothing."""
    if isinstance(node, dict):
        return node.get(token, ABSENT)
    if isinstance(node, list) and token.isdigit() and int(token) < len(node):
        return node[int(token)]
    return ABSENT


class Pointers:
    """A set of pointers, to be asked which others overlap with it."""

    def __init__(self, pointers: Iterable[str]) -> None:
        self._tree: dict[str | None, Any] = {}
        for path in pointers:
            node = self._tree
            for token in path.split("/"):
                node = node.setdefault(token, {})
            node[None] = {}

    def overlap(self, path: str) -> bool:
        """Return whether a pointer is one of these, leads into what one points at, or one leads into what it points at."""
        node = self._tree
        for token in path.split("/"):
            if None in node:
                return True
            if token not in node:
                return False
            node = node[token]
        return True


class Elements:
    """Finds elements of a list by values of their fields, or by themselves; of several that are alike the first."""

    def __init__(self, items: Sequence[Any]) -> None:
        self.items = items
        self._keyed: dict[tuple[str, ...], dict[Any, int]] = {}
        self._equal: dict[Any, int] | None = None

    def keyed(self, key: Mapping[str, Any]) -> int | None:
        """Return the place of the element with these values.

        The API gives a list one set of key fields. Whoever writes down others by hand, each another one, finds none.
        """
        names = tuple(sorted(key))
        if names not in self._keyed:
            if len(self._keyed) >= MOST_KEYS:
                return None
            known = self._keyed[names] = {}
            for index, item in enumerate(self.items):
                if isinstance(item, dict):
                    known.setdefault(tuple(_plain(item.get(name)) for name in names), index)
        return self._keyed[names].get(tuple(_plain(key[name]) for name in names))

    def equal(self, value: Any) -> int | None:
        """Return the place of the element that is equal."""
        if self._equal is None:
            self._equal = {}
            for index, item in enumerate(self.items):
                self._equal.setdefault(_plain(item), index)
        return self._equal.get(_plain(value))


def _plain(value: Any) -> Any:
    """Return what stands for a value in a table."""
    return ("", json.dumps(value, sort_keys=True)) if isinstance(value, dict | list) else value


def value_at(obj: Any, path: str) -> str | int | float | bool | None:
    """Return the scalar at a JSON Pointer; None if there is none."""
    for token in tokens_of(path):
        obj = child(obj, token)
    return obj if isinstance(obj, str | int | float | bool) else None
