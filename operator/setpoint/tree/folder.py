"""Reads a tree object of git, which lists a folder, and finds names in it without taking all of it apart again (pure).

A folder may have 50,000 names. So it is kept as git stores it, with the places of its entries in the order of their names:
little more than its own bytes, whatever was looked up in it.
"""

from __future__ import annotations

import re
import stat
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import Final

from setpoint.tree.protocol import Entry, EntryKind

_ID: Final = 20
_MODE: Final = re.compile(rb"[0-7]{1,7}")
_KINDS: Final = {
    stat.S_IFDIR: EntryKind.TREE,
    stat.S_IFLNK: EntryKind.LINK,
    stat.S_IFDIR | stat.S_IFLNK: EntryKind.SUBMODULE,
}
_UNUSABLE: Final = (b"", b".", b"..")


class ForgedFolder(ValueError):
    """A tree object that no git writes; the text says why."""


class Folder:
    """A folder by the bytes of its tree object."""

    def __init__(self, raw: bytes) -> None:
        """Raise ForgedFolder for what is cut off, and for a name that leaves the folder or is there twice.

        Were one name two entries, then who lists and who looks up could each take another one.
        """
        places = array("I", _places(raw))
        names = [_name(raw, at) for at in places]
        if any(name in _UNUSABLE or b"/" in name for name in names):
            raise ForgedFolder("a forbidden file name")
        if len(set(names)) != len(names):
            raise ForgedFolder("a file name twice")
        # Who forges a tree can list it in any order.
        self._places = array("I", (at for _, at in sorted(zip(names, places, strict=True))))
        self._raw = raw

    def __len__(self) -> int:
        return len(self._places)

    @property
    def size(self) -> int:
        """How many bytes it takes, about."""
        return len(self._raw) + self._places.itemsize * len(self._places) + 100

    def entry(self, path: str, name: str) -> Entry | None:
        """Return the entry of a name; `path` is that of the folder."""
        try:
            wanted = name.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            return None  # half a character, as YAML may write one
        found = bisect_left(self._places, wanted, key=lambda at: _name(self._raw, at))
        if found == len(self._places) or _name(self._raw, at := self._places[found]) != wanted:
            return None
        return self._entry(path, at)

    def entries(self, path: str) -> Iterator[Entry]:
        """Return all entries in the order of their names' bytes."""
        return (self._entry(path, at) for at in self._places)

    def _entry(self, folder: str, at: int) -> Entry:
        raw, blank = self._raw, self._raw.index(b" ", at)
        end = raw.index(b"\0", blank)
        mode, name = int(raw[at:blank], 8), raw[blank + 1 : end].decode("utf-8", "surrogateescape")
        kind = _KINDS.get(stat.S_IFMT(mode), EntryKind.BLOB)
        executable = kind is EntryKind.BLOB and bool(mode & stat.S_IXUSR)
        oid = raw[end + 1 : end + 1 + _ID].hex()
        return Entry(f"{folder}/{name}" if folder else name, kind, oid, executable)


def _places(raw: bytes) -> Iterator[int]:
    """Return where each entry begins: `mode name`, a zero byte, and the bytes of its id."""
    at = 0
    while at < len(raw):
        yield at
        blank = raw.find(b" ", at)
        end = raw.find(b"\0", blank)
        if not (_MODE.fullmatch(raw, at, max(at, blank)) and blank < end) or end + _ID >= len(raw):
            raise ForgedFolder("an entry that cannot be read")
        at = end + 1 + _ID


def _name(raw: bytes, at: int) -> bytes:
    blank = raw.index(b" ", at)
    return raw[blank + 1 : raw.index(b"\0", blank)]
