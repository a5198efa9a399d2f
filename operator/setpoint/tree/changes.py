"""Records what a look at a commit depended on, and whether another commit changes it (pure).

Two commits are compared once for all Syncs. Equal ids mean equal content, so only what differs is read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from setpoint.api.budgets import DEFAULTS, MAX_PATH, Budgets
from setpoint.tree.protocol import Entry, EntryKind, Tree

SUBMODULES = ".gitmodules"
LONG = 200
"""Characters of a path that is long: more on average are too many to keep."""


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
ANYTHING = ReadSet(frozenset({""}), frozenset({""}))
"""The read set of a look that any change may touch."""


def compare(old: Tree, new: Tree, budgets: Budgets = DEFAULTS) -> TreeDiff:
    """Find what differs; everything does where a list of submodules changed, which no folder's id tells.

    So it does where more files and folders had to be looked at than a Sync may lead to, or they lie too deep.
    """
    paths: set[str] = set()
    if old.entry("") != new.entry(""):
        folders, seen = [""], 0
        while folders:
            folder = folders.pop()
            if len(folder) > MAX_PATH or folder.count("/") >= budgets.max_depth:
                return EVERYTHING
            earlier, later = _listed(old, folder), _listed(new, folder)
            # All that was listed counts, as that is the work: of two long folders perhaps one entry differs.
            seen += max(len(earlier), len(later))
            if seen > budgets.max_files:
                return EVERYTHING
            for before, after in _differing(earlier, later):
                entry = before or after
                if before and after and before.kind is after.kind is EntryKind.TREE:
                    folders.append(before.path)
                elif entry:
                    paths.add(entry.path)
    if any(path.rpartition("/")[2] == SUBMODULES for path in paths):
        return EVERYTHING
    return TreeDiff(frozenset(paths), _with_folders(paths))


def _listed(tree: Tree, folder: str) -> dict[str, Entry]:
    return {entry.path: entry for entry in tree.children(folder)}


def _differing(
    before: dict[str, Entry], after: dict[str, Entry]
) -> Iterator[tuple[Entry | None, Entry | None]]:
    for path in before.keys() | after.keys():
        pair = before.get(path), after.get(path)
        if pair[0] != pair[1]:
            yield pair


class RecordingTree:
    """A tree that notes what is looked up in another one; a folder that is listed counts with all below it.

    Of more paths than `max_read_set`, or of as many characters as so many long paths have, none is kept: then the look
    counts as one at everything.
    """

    def __init__(self, tree: Tree, budgets: Budgets = DEFAULTS) -> None:
        self._tree, self._most = tree, budgets.max_read_set
        self._paths: set[str] = set()
        self._folders: set[str] = set()
        self._full, self._size = False, 0

    def entry(self, path: str) -> Entry | None:
        """Return the entry at `path`, and note the path."""
        self._note(self._paths, path)
        return self._tree.entry(path)

    def children(self, path: str) -> tuple[Entry, ...]:
        """Return the entries of a folder, and note it as a whole."""
        self._note(self._folders, path)
        return self._tree.children(path)

    def read(self, path: str) -> bytes:
        """Return the bytes of a file, and note its path."""
        self._note(self._paths, path)
        return self._tree.read(path)

    def read_set(self) -> ReadSet:
        """Return what was noted."""
        single, whole = self._needed()
        if self._full or self._over(looked := single | whole):
            return ANYTHING  # with the folders above them they would be more
        found = ReadSet(_with_folders(looked), whole)
        return ANYTHING if self._over(found.paths) else found

    def _over(self, paths: Collection[str], times: int = 1) -> bool:
        most = times * self._most
        return len(paths) > most or sum(map(len, paths)) > most * LONG

    def _note(self, noted: set[str], path: str) -> None:
        if self._full:
            return
        if path in noted:
            return
        noted.add(path)
        self._size += len(path)
        if len(self._paths) + len(self._folders) > 2 * self._most or self._size > 2 * self._most * LONG:
            self._shrink()

    def _shrink(self) -> None:
        """Forget what lies in folders that count as a whole; all of it, if that is not enough."""
        single, whole = self._needed()
        kept = [*single, *whole]
        self._full, self._size = self._over(kept), sum(map(len, kept))
        self._paths, self._folders = (set(), set()) if self._full else (single, set(whole))

    def _needed(self) -> tuple[set[str], frozenset[str]]:
        """Return the single paths, and the folders that count as a whole, without what lies in another one."""
        whole = frozenset(f for f in self._folders if self._folders.isdisjoint(_folders_of(f)))
        return {p for p in self._paths if p not in whole and whole.isdisjoint(_folders_of(p))}, whole


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
