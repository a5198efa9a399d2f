"""JSON Pointers (RFC 6901): what they point at, and whether two of them overlap (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Operation = Mapping[str, Any]


ABSENT = object()


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


def overlap(left: str, right: str) -> bool:
    """Return whether one pointer is the other, or leads into what it points at."""
    return left == right or left.startswith(right + "/") or right.startswith(left + "/")


def value_at(obj: Any, path: str) -> str | int | float | bool | None:
    """Return the scalar at a JSON Pointer; None if there is none."""
    for token in tokens_of(path):
        obj = child(obj, token)
    return obj if isinstance(obj, str | int | float | bool) else None
