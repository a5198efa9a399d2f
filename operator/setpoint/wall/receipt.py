"""Checks an object that crosses the seam: enough that whoever handles it can rely on its form (pure).

What else is wrong with an object is for the API server to say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

MAX_DEPTH: Final = 128
"""Levels of maps and lists that an object may have."""
NUMBERS: Final = range(-(2**63), 2**64)
"""Integers that JSON libraries hold: 64 bits, with a sign or without."""


def breach(manifest: object) -> str | None:
    """Return what keeps an object from being taken, in words that go after its name; None if nothing does."""
    return _form(manifest) or _content(manifest)


def _form(manifest: object) -> str | None:
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


def _content(manifest: object) -> str | None:
    """Go down level by level: one that is too deep must not exhaust the stack of whoever looks."""
    level: list[Any] = [manifest]
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for value in level:
            if isinstance(value, Mapping):
                below.extend(value.values())
            elif isinstance(value, list):
                below.extend(value)
            elif type(value) is int and value not in NUMBERS:
                return "has an integer beyond 64 bits"
        if not below:
            return None
        level = below
    return f"has more than {MAX_DEPTH} levels of nesting"
