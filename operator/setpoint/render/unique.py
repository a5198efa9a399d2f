"""Checks that no two objects of a Sync have one identity (shell: a large number is checked in a thread)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

import orjson

from setpoint.objects.documents import Document
from setpoint.objects.identity import ObjectId, identity

FEW: Final = 10
"""Objects that are gone through faster than a thread takes over."""


class TwiceError(Exception):
    """Two objects have one identity; the text says which, and where."""


async def checked(objects: Sequence[Document]) -> int:
    """Return the size of the objects as text. Raises TwiceError if two have one identity."""
    if len(objects) <= FEW:
        return _unique_and_size(objects)
    return await asyncio.to_thread(_unique_and_size, objects)


def _unique_and_size(objects: Iterable[Document]) -> int:
    seen: dict[ObjectId, Document] = {}
    size = 0
    for each in objects:
        oid = identity(each.manifest)
        if (other := seen.setdefault(oid, each)) is not each:
            raise TwiceError(
                f"{_place(each)}: {oid.label()} is already defined at {_place(other)}; remove one of them"
            )
        size += len(orjson.dumps(each.manifest))
    return size


def _place(document: Document) -> str:
    return f"{document.where} (document {document.index})" if document.line else document.where
