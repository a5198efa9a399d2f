"""Records what a look at a commit depended on, and whether another commit changes it (pure).

Two commits are compared once for all Syncs. Equal ids mean equal content, so only what differs is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from setpoint.tree.protocol import Entry, EntryKind, Tree

SUBMODULES = ".gitmodules"


@dataclass(frozen=True, slots=True)
class ReadSet:
    """What was looked at: `paths` (found or not, with all folders above them), and `folders` that count as a whole."""

    paths: frozenset[str]
    folders: frozenset[str]


@dataclass(frozen=True, slots=True)
class TreeDiff:
    """What differs between two commits.

    `paths`: entries that came, went, or are of other content or kind; a folder that stays one is none of them.
    `above`: these with all folders above them.
    """

    paths: frozenset[str] = frozenset()
    above: frozenset[str] = frozenset()

    def touch(self, read_set: ReadSet) -> bool:
        """Return whether a look with this footprint could find anything else now."""
        looked = not self.paths.isdisjoint(read_set.paths)
        return looked or not self.above.isdisjoint(read_set.folders)


NOTHING = TreeDiff()
EVERYTHING = TreeDiff(frozenset({""}), frozenset({""}))


def compare(old: Tree, new: Tree) -> TreeDiff:
    """Find what differs; everything does where a list of submodules changed, which no folder's id tells."""
    paths: set[str] = set()
    if old.entry("") != new.entry(""):
        folders = [""]
        while folders:
            for before, after in _differing(old, new, folders.pop()):
                entry = before or after
                if before and after and before.kind is after.kind is EntryKind.TREE:
                    folders.append(before.path)
                elif entry:
                    paths.add(entry.path)
    if any(path.rpartition("/")[2] == SUBMODULES for path in paths):
        return EVERYTHING
    return TreeDiff(frozenset(paths), _with_folders(paths))


def _differing(old: Tree, new: Tree, folder: str) -> Iterator[tuple[Entry | None, Entry | None]]:
    before = {entry.path: entry for entry in old.children(folder)}
    after = {entry.path: entry for entry in new.children(folder)}
    for path in before.keys() | after.keys():
        pair = before.get(path), after.get(path)
        if pair[0] != pair[1]:
            yield pair


class RecordingTree:
    """A tree that notes what is looked up in another one; a folder that is listed counts with all below it."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._paths: set[str] = set()
        self._folders: set[str] = set()

    def entry(self, path: str) -> Entry | None:
        """Return the entry at `path`, and note the path."""
        self._paths.add(path)
        return self._tree.entry(path)

    def children(self, path: str) -> tuple[Entry, ...]:
        """Return the entries of a folder, and note it as a whole."""
        self._folders.add(path)
        return self._tree.children(path)

    def read(self, path: str) -> bytes:
        """Return the bytes of a file, and note its path."""
        self._paths.add(path)
        return self._tree.read(path)

    def read_set(self) -> ReadSet:
        """Return what was noted."""
        whole = frozenset(f for f in self._folders if self._folders.isdisjoint(_folders_of(f)))
        single = {p for p in self._paths if p not in whole and whole.isdisjoint(_folders_of(p))}
        return ReadSet(_with_folders(single | whole), whole)


def _with_folders(paths: Iterable[str]) -> frozenset[str]:
    found: set[str] = set()
    for path in paths:
        if path not in found:
            found.add(path)
            found.update(_folders_of(path))
    return frozenset(found)


def _folders_of(path: str) -> Iterator[str]:
    """Return the folders above a path, the root included; nothing for the root itself."""
    while path:
        path = path.rpartition("/")[0]
        yield path
