"""Checks that no two objects of a Sync have one identity (shell: a large number is checked in a thread)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from setpoint.objects.documents import Document, json_size, json_text
from setpoint.objects.identity import ObjectId, identity

FEW: Final = 10
"""Objects that are gone through faster than a thread takes over."""


class TwiceError(Exception):
    """Two different objects have one identity; the text says which, and where."""


@dataclass(frozen=True, slots=True)
class Unique:
    """Objects of which no two have one identity, their size as text, and in words which documents said the same twice."""

    objects: tuple[Document, ...]
    size: int
    twice: tuple[str, ...] = ()


async def checked(objects: Sequence[Document]) -> Unique:
    """Return each object once. Raises TwiceError if two that differ have one identity."""
    if len(objects) <= FEW:
        return _unique(objects)
    return await asyncio.to_thread(_unique, objects)


def _unique(objects: Iterable[Document]) -> Unique:
    seen: dict[ObjectId, Document] = {}
    twice: list[str] = []
    size = 0
    for each in objects:
        oid = identity(each.manifest)
        if (other := seen.setdefault(oid, each)) is each:
            size += json_size(each.manifest)
        elif _text(each) == _text(other):
            twice.append(f"{_place(each)}: {oid.label()} is said at {_place(other)} already, word for word")
        else:
            raise TwiceError(
                f"{_place(each)}: {oid.label()} is already defined at {_place(other)}; remove one of them"
            )
    return Unique(tuple(seen.values()), size, tuple(twice))


def _text(document: Document) -> str:
    # Not `==`, by which true is 1.
    return json_text(document.manifest, ordered=True)


def _place(document: Document) -> str:
    return f"{document.where} (document {document.index})" if document.line else document.where
