"""Reads commits from a mirror, by libgit2 and without a work tree (shell).

A `Reader` is an open generation of a mirror, which nobody removes while it is open; a `MirrorTree` is the files
of one commit in it, submodules included where they are given. Both may be used from several threads. Nothing is written:
whoever may write mirrors is told what is damaged.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self, TypeVar
from weakref import WeakSet, finalize

import pygit2
from pygit2.enums import ObjectType

from setpoint.api.budgets import DEFAULTS, MAX_PATH, Budgets
from setpoint.api.reasons import Problem, Reason
from setpoint.git.contents.objects import header, readable
from setpoint.git.mirror import Mirror, open_reader
from setpoint.runtime.lru import Lru
from setpoint.tree.bounded import shortened
from setpoint.tree.folder import Folder, ForgedFolder
from setpoint.tree.protocol import Entry, EntryKind

MAX_LINE = 256  # characters of a subject or a name that are kept
KEPT_PATHS = 4 * 2**20  # characters of the paths of folders that are remembered in one look


@dataclass(frozen=True, slots=True)
class Commit:
    """What people want to know of a commit; `time` is when it was authored, RFC 3339 in UTC."""

    sha: str
    subject: str
    author: str
    time: str


class Gone(Problem):
    """A commit that the cache does not have (any more), or that cannot be read from it, whatever it has when somebody looks again."""


T = TypeVar("T")
Damaged = Callable[[Path], None]


def _release(repository: pygit2.Repository, descriptor: int) -> None:
    """Close a generation's packs at once, since a Repository refers to itself and waits for the garbage collector."""
    repository.free()
    os.close(descriptor)


class Reader:
    """An open generation."""

    def __init__(
        self, mirror: Mirror, generation: Path, descriptor: int, budgets: Budgets, damaged: Damaged
    ) -> None:
        """`budgets`: what is larger by its header is not read. `damaged` is told a generation that cannot be read."""
        self._mirror, self.generation, self.budgets, self._tell = mirror, generation, budgets, damaged
        self._broken = False
        self.read = 0
        """How many trees, blobs and commits were read."""
        try:
            self._repository = pygit2.Repository(str(generation))
        except pygit2.GitError:
            os.close(descriptor)
            raise
        self._release = finalize(self, _release, self._repository, descriptor)
        self._lock = threading.Lock()
        self._place = str(generation)
        self._known: set[str] = set()
        self.trees: WeakSet[MirrorTree] = WeakSet()

    @classmethod
    def open(
        cls, mirror: Mirror, generation: Path | None, budgets: Budgets = DEFAULTS, *, damaged: Damaged
    ) -> Self | None:
        """Open a generation of a mirror, if there is one that can be read; `damaged` is told one that cannot."""
        descriptor = open_reader(generation) if generation else None
        if generation is None or descriptor is None:
            return None
        try:
            return cls(mirror, generation, descriptor, budgets, damaged)
        except pygit2.GitError:
            damaged(generation)
            return None

    @property
    def fresh(self) -> bool:
        """Whether it is still the generation to read."""
        return self._release.alive and not self._broken and self._mirror.reads(self._place)

    def close(self) -> None:
        """Release the generation: others may remove it now."""
        with self._lock:
            self._release()

    def holds(self, sha: str) -> bool:
        """Return whether a commit is here and can be read."""
        with self._lock:
            if sha not in self._known and readable(self._repository, sha):
                self._known.add(sha)
            return sha in self._known

    def commit(self, sha: str) -> Commit:
        """Describe a commit; Problem(GitFailed) if it cannot be read."""
        found = self._object(sha, pygit2.Commit, "the commit")
        with self._lock:
            message = found.raw_message.decode("utf-8", "replace")
            author = found.author.raw_name.decode("utf-8", "replace")
            at = _stamp(found.author.time)
        return Commit(sha, _line(message), _line(author), at)

    def root(self, sha: str) -> str:
        """Return the id of a commit's tree."""
        found = self._object(sha, pygit2.Commit, "the commit")
        with self._lock:
            return str(found.tree_id)

    def folder(self, oid: str, path: str) -> Folder:
        """Return the folder that a tree object is, which lies at `path`; Problem(TooLarge) for too many entries."""
        kind, raw = self._read(oid, path or ".", self._repository.read) or (None, b"")
        if kind != ObjectType.TREE:
            raise self._damaged(oid)
        try:
            found = Folder(raw)
        except ForgedFolder as error:
            raise Problem(
                Reason.GitFailed, f"the commit holds {error} in folder {shortened(path) or '.'}"
            ) from None
        self.budgets.check("max_folder_entries", len(found), shortened(path) or ".")
        return found

    def blob(self, oid: str, path: str) -> bytes:
        """Return the bytes of a blob that lies at `path`; Problem(TooLarge) for one that is larger than a file may be."""
        found = self._object(oid, pygit2.Blob, path)
        with self._lock:
            return found.data

    def _object(self, oid: str, kind: type[T], where: str) -> T:
        found = self._read(oid, where, self._repository.__getitem__)
        if not isinstance(found, kind):
            raise self._damaged(oid)
        return found

    def _read(self, oid: str, where: str, read: Callable[[str], T]) -> T | None:
        """Read an object, unless it is too large by its header; None if it is not there or damaged."""
        try:
            with self._lock:
                size = header(self._repository, oid)[1]
                self.budgets.check("max_file_size", size, shortened(where))
                found = read(oid)
                self.read += 1
        except (KeyError, ValueError, pygit2.GitError):
            return None
        return found

    def _damaged(self, oid: str) -> Problem:
        """Give the generation up; returns why."""
        self._broken = True
        self._tell(self.generation)
        return Gone(
            Reason.GitFailed,
            f"object {oid[:12]} cannot be read from the cache; it is fetched again",
            retry=True,
        )


@dataclass(frozen=True, slots=True)
class _Place:
    """A folder: `path` in the tree whose reader has it, which lies at `stem` in the whole.

    `tree`: None for the whole itself, which would refer to itself and wait for the garbage collector.
    """

    tree: MirrorTree | None
    stem: str
    path: str
    oid: str


class MirrorTree:
    """The files of one commit (`setpoint.tree.protocol.Tree`); a submodule that was fetched shows as a folder.

    A folder is read once and kept, and names are looked up in it. So what a look costs is bounded by the bytes of the
    folders on its way, and those may be `max_input_size` together: all of them are kept. Use one for each look.
    """

    def __init__(
        self,
        reader: Reader,
        sha: str,
        submodules: Mapping[str, MirrorTree],
        same: MirrorTree | None = None,
    ) -> None:
        """`submodules`: trees by path. `same`: these files in another look, which is kept for others as long as this."""
        self.reader, self._sha, self.submodules, self._same = reader, sha, submodules, same
        self.root: _Place = _Place(None, "", "", same.root.oid if same else reader.root(sha))
        self._unpacked = 0
        self._folders: dict[str, Folder] = {}
        self._places: Lru[str, _Place] = Lru(KEPT_PATHS)
        reader.trees.add(self)

    def look(self) -> MirrorTree:
        """Return the same files for another look, which counts for itself."""
        return MirrorTree(self.reader, self._sha, self.submodules, self)

    def entry(self, path: str) -> Entry | None:
        """Return the entry at `path`, or None; a symlink on the way is not followed (None)."""
        if path == "":
            return Entry("", EntryKind.TREE, self.root.oid)
        folder, slash, name = path.rpartition("/")
        place = self._place(folder) if folder or not slash else None
        return self._named(place, name) if place else None

    def children(self, path: str) -> tuple[Entry, ...]:
        """Return the entries of the folder at `path`, sorted by name; nothing if it is no folder."""
        if (place := self._place(path)) is None:
            return ()
        found = (self._shown(place, each) for each in self._folder(place).entries(place.path))
        return tuple(sorted(found, key=lambda each: each.path))

    def read(self, path: str) -> bytes:
        """Return the bytes of the blob, or the target of the link, at `path`; Problem(PathNotFound)."""
        entry = self.entry(path)
        if entry is None or entry.kind not in (EntryKind.BLOB, EntryKind.LINK):
            raise Problem(Reason.PathNotFound, f"{path} is not a file of the commit")
        place = self._place(path.rpartition("/")[0]) or self.root
        return self._tree(place).reader.blob(entry.oid, path)

    def _place(self, path: str) -> _Place | None:
        """Find a folder; walks down from one that is known, so that nothing beside the way is read."""
        if len(path) > MAX_PATH or path.startswith("/"):
            return None  # the names of what is above a long one would add up to its square
        left: list[str] = []
        at = path
        while at and self._places.get(at) is None:
            at, _, name = at.rpartition("/")
            left.append(name)
        place = self._places.get(at) or self.root
        while left:
            name = left.pop()
            entry = self._named(place, name)
            if entry is None or entry.kind is not EntryKind.TREE:
                return None
            place = self._within(place, entry)
            self._places.put(entry.path, place, len(entry.path))
        return place

    def _tree(self, place: _Place) -> MirrorTree:
        return place.tree or self

    def _within(self, place: _Place, entry: Entry) -> _Place:
        path = entry.path[len(place.stem) :]
        inner = self._tree(place).submodules.get(path)
        if inner is not None and inner.root.oid == entry.oid:
            return _Place(inner, f"{entry.path}/", "", entry.oid)
        return _Place(place.tree, place.stem, path, entry.oid)

    def _named(self, place: _Place, name: str) -> Entry | None:
        found = self._folder(place).entry(place.path, name)
        return self._shown(place, found) if found else None

    def _shown(self, place: _Place, entry: Entry) -> Entry:
        """Return an entry as the whole has it: by its path from there, and a submodule that was fetched as a folder."""
        inner = self._tree(place).submodules.get(entry.path) if entry.kind is EntryKind.SUBMODULE else None
        path = f"{place.stem}{entry.path}"
        if inner is not None:
            return Entry(path, EntryKind.TREE, inner.root.oid)
        return Entry(path, entry.kind, entry.oid, entry.executable) if place.stem else entry

    def _folder(self, place: _Place) -> Folder:
        if (known := self._folders.get(place.oid)) is None:
            shown = f"{place.stem}{place.path}"
            known = self._tree(place).reader.folder(place.oid, shown)
            self._unpacked += known.size
            self.reader.budgets.check(
                "max_input_size", self._unpacked, shortened(shown) or ".", counted=False
            )
            self._folders[place.oid] = known
        return known


def _line(text: str) -> str:
    """Return the first line, as a terminal may show it."""
    first = text.strip().partition("\n")[0].strip()
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in first[:MAX_LINE])


def _stamp(seconds: int) -> str:
    """Return a time as RFC 3339; one that no calendar knows (whoever commits can write any) is the epoch."""
    try:
        at = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        at = datetime.fromtimestamp(0, UTC)
    return f"{at.replace(tzinfo=None).isoformat()}Z"
