"""Checks an object that crosses the seam: enough that whoever handles it can rely on its form (pure).

What else is wrong with an object is for the API server to say.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

MAX_DEPTH: Final = 128
"""Levels of maps and lists that an object may have."""
NUMBERS: Final = range(-(2**63), 2**64)
"""Integers that JSON libraries hold: 64 bits, with a sign or without."""
CONTAINERS: Final = frozenset((dict, list))


def breach(manifest: object, depth: int = MAX_DEPTH) -> str | None:
    """Return what keeps an object from being taken, in words that go after its name; None if nothing does."""
    return breach_of_head(manifest) or breach_of_depth(manifest, depth) or breach_of_numbers(manifest)


def breach_of_head(manifest: object) -> str | None:
    """Return what keeps a value from being an object of Kubernetes at all, in such words; None if nothing does."""
    if not isinstance(manifest, dict):
        return "is no map"
    for name in ("apiVersion", "kind"):
        if not _is_text(manifest.get(name)):
            return f"has no {name} that is a text"
    meta = manifest.get("metadata")
    if not isinstance(meta, dict):
        return "has no metadata that is a map"
    return None if _is_text(meta.get("name")) else "has no metadata.name that is a text"


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def breach_of_depth(value: Any, depth: int = MAX_DEPTH) -> str | None:
    """Return that JSON has more levels than these, in such words; None if it does not.

    It goes down level by level: what is too deep must not exhaust the stack of whoever looks.
    """
    level = [value] if type(value) in CONTAINERS else []
    for _ in range(depth):
        if not level:
            return None
        level = [each for each in _below(level) if type(each) in CONTAINERS]
    return f"has more than {depth} levels of nesting" if level else None


def values_of(value: Any, depth: int = MAX_DEPTH) -> int | None:
    """Return how many values JSON has, names of fields included; None if it has more levels than these."""
    level, count = [value], 1
    for _ in range(depth + 1):
        level = [each for each in level if type(each) in CONTAINERS]
        if not level:
            return count
        count += sum(len(each) for each in level if type(each) is dict)
        level = _below(level)
        count += len(level)
    return None


def breach_of_numbers(value: Any) -> str | None:
    """Return that JSON has an integer which JSON libraries do not hold, in such words; None if it does not."""
    level = [value]
    while level:
        if any(type(each) is int and each not in NUMBERS for each in level):
            return "has an integer beyond 64 bits"
        level = _below(each for each in level if type(each) in CONTAINERS)
    return None


def _below(level: Iterable[Any]) -> list[Any]:
    below: list[Any] = []
    for each in level:
        below += each.values() if type(each) is dict else each
    return below
