"""The interface of a commit's files: a read-only tree, by path.

`git.contents.reader.MirrorTree` reads a commit from a bare mirror without a work tree, `tree.local.LocalTree` a local folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class EntryKind(StrEnum):
    """What a tree entry is (git's four kinds)."""

    TREE = "tree"
    BLOB = "blob"
    LINK = "link"
    SUBMODULE = "submodule"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: `path` from the root with forward slashes ("" is the root), `oid` 40 hex digits of its content."""

    path: str
    kind: EntryKind
    oid: str
    executable: bool = False

    @property
    def name(self) -> str:
        """The last segment of the path."""
        return self.path.rsplit("/", 1)[-1]


class Tree(Protocol):
    """A commit's files. Paths are normalised: no leading slash, no `.` or `..`; the root is the empty string."""

    def entry(self, path: str) -> Entry | None:
        """Return the entry at `path`, or None; a symlink on the way is not followed (None)."""

    def children(self, path: str) -> tuple[Entry, ...]:
        """Return the entries of the folder at `path`, sorted by name."""

    def read(self, path: str) -> bytes:
        """Return the bytes of the blob (or the target of the link) at `path`."""
