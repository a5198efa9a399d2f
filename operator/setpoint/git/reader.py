"""Reads commits from a mirror, in-process and without a work tree (shell).

A `Reader` is an open generation of a mirror, which nobody removes while it is open; a `MirrorTree` is the files
of one commit in it, submodules included where they are given. Both may be used from several threads.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self, TypeVar
from weakref import WeakSet, finalize

import pygit2
from pygit2.enums import FileMode

from setpoint.api.budgets import DEFAULTS, MAX_PATH, Budgets
from setpoint.api.reasons import Problem, Reason
from setpoint.git.mirror import Mirror, header, open_reader, readable, touch
from setpoint.runtime.lru import Lru
from setpoint.tree.bounded import shortened
from setpoint.tree.protocol import Entry, EntryKind

KINDS: Mapping[int, EntryKind] = {
    FileMode.TREE: EntryKind.TREE,
    FileMode.LINK: EntryKind.LINK,
    FileMode.COMMIT: EntryKind.SUBMODULE,
}


TOUCH_SECONDS = 1.0
MAX_LINE = 256  # characters of a subject or a name that are kept
KEPT_ENTRIES = 100_000  # of the folders of one commit that were read last


@dataclass(frozen=True, slots=True)
class Commit:
    """What people want to know of a commit; `time` is when it was authored, RFC 3339 in UTC."""

    sha: str
    subject: str
    author: str
    time: str


T = TypeVar("T")


def _release(repository: pygit2.Repository, descriptor: int) -> None:
    """Close a generation's packs at once, since a Repository refers to itself and waits for the garbage collector."""
    repository.free()
    os.close(descriptor)


class Reader:
    """An open generation."""

    def __init__(
        self, mirror: Mirror, generation: Path, descriptor: int, budgets: Budgets = DEFAULTS
    ) -> None:
        """`budgets`: what is larger by its header is not read."""
        self._mirror, self.generation, self.budgets = mirror, generation, budgets
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
        self._touched: dict[str, float] = {}
        self.trees: WeakSet[MirrorTree] = WeakSet()

    @classmethod
    def open(cls, mirror: Mirror, budgets: Budgets = DEFAULTS) -> Self | None:
        """Open the current generation of a mirror, if there is one that can be read."""
        generation = mirror.current()
        descriptor = open_reader(generation) if generation else None
        if generation is None or descriptor is None:
            return None
        try:
            return cls(mirror, generation, descriptor, budgets)
        except pygit2.GitError:
            mirror.discard(generation)
            return None

    @property
    def fresh(self) -> bool:
        """Whether it is still the generation to read."""
        return self._release.alive and self._mirror.reads(self._place)

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

    def touch(self, sha: str) -> None:
        """Note that a commit is in use, at most once a second."""
        now = time.monotonic()
        if now - self._touched.get(sha, -TOUCH_SECONDS) >= TOUCH_SECONDS:
            self._touched[sha] = now
            touch(self.generation, sha)

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

    def entries(self, oid: str, path: str) -> dict[str, Entry]:
        """Return the entries of a tree object that lies at `path`, by name; Problem(TooLarge) for too many."""
        tree = self._object(oid, pygit2.Tree, path or ".")
        self.budgets.check("max_folder_entries", len(tree), shortened(path) or ".")
        with self._lock:
            made = [_entry(path, each) for each in tree]
        return {entry.name: entry for entry in made}

    def blob(self, oid: str, path: str) -> bytes:
        """Return the bytes of a blob that lies at `path`; Problem(TooLarge) for one that is larger than a file may be."""
        found = self._object(oid, pygit2.Blob, path)
        with self._lock:
            return found.data

    def _object(self, oid: str, kind: type[T], where: str) -> T:
        try:
            with self._lock:
                size = header(self._repository, oid)[1]
                self.budgets.check("max_file_size", size, shortened(where))
                found = self._repository[oid]
                self.read += 1
        except (KeyError, ValueError, pygit2.GitError):
            found = None
        if not isinstance(found, kind):
            self._mirror.discard(self.generation)
            raise Problem(
                Reason.GitFailed,
                f"object {oid[:12]} cannot be read from the cache; it is fetched again",
                retry=True,
            )
        return found


class MirrorTree:
    """The files of one commit (`setpoint.tree.protocol.Tree`); a submodule that was fetched shows as a folder."""

    def __init__(self, reader: Reader, sha: str, submodules: Mapping[str, MirrorTree]) -> None:
        """`submodules`: trees by path."""
        self._reader, self._submodules = reader, submodules
        self._root = reader.root(sha)
        kept = max(KEPT_ENTRIES, reader.budgets.max_folder_entries + 1)
        self._folders: Lru[str, dict[str, Entry]] = Lru(kept)
        reader.trees.add(self)

    def entry(self, path: str) -> Entry | None:
        """Return the entry at `path`, or None; a symlink on the way is not followed (None)."""
        if path == "":
            return Entry("", EntryKind.TREE, self._root)
        folder, slash, name = path.rpartition("/")
        if slash and not folder:
            return None
        return (self._entries(folder) or {}).get(name)

    def children(self, path: str) -> tuple[Entry, ...]:
        """Return the entries of the folder at `path`, sorted by name; nothing if it is no folder."""
        entries = self._entries(path) or {}
        return tuple(entries[name] for name in sorted(entries))

    def read(self, path: str) -> bytes:
        """Return the bytes of the blob, or the target of the link, at `path`; Problem(PathNotFound)."""
        for stem, tree in self._submodules.items():
            if path.startswith(f"{stem}/"):
                return tree.read(path.removeprefix(f"{stem}/"))
        entry = self.entry(path)
        if entry is None or entry.kind not in (EntryKind.BLOB, EntryKind.LINK):
            raise Problem(Reason.PathNotFound, f"{path} is not a file of the commit")
        return self._reader.blob(entry.oid, path)

    def _entries(self, path: str) -> dict[str, Entry] | None:
        """Return what a folder holds; walks down from the root, so that nothing beside the way is read."""
        if (known := self._folders.get(path)) is not None:
            return known
        if len(path) > MAX_PATH:
            return None  # the names of what is above it would add up to its square
        entries = self._folder("", self._root)
        for name in path.split("/") if path else ():
            entry = entries.get(name)
            if entry is None or entry.kind is not EntryKind.TREE:
                return None
            entries = self._folder(entry.path, entry.oid)
        return entries

    def _folder(self, path: str, oid: str) -> dict[str, Entry]:
        if (known := self._folders.get(path)) is not None:
            return known
        found = self._read_folder(path, oid)
        return self._folders.put(path, found, len(found) + 1)

    def _read_folder(self, path: str, oid: str) -> dict[str, Entry]:
        for stem, tree in self._submodules.items():
            if path == stem or path.startswith(f"{stem}/"):
                inner = tree.children(path[len(stem) + 1 :])
                return {e.name: Entry(f"{stem}/{e.path}", e.kind, e.oid, e.executable) for e in inner}
        found = self._reader.entries(oid, path)
        return {name: self._shown(entry) for name, entry in found.items()}

    def _shown(self, entry: Entry) -> Entry:
        tree = self._submodules.get(entry.path) if entry.kind is EntryKind.SUBMODULE else None
        root = tree.entry("") if tree else None
        return Entry(entry.path, EntryKind.TREE, root.oid) if root else entry


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


def _entry(folder: str, found: pygit2.Object) -> Entry:
    """Read one entry; a name that could leave a folder (only a forged tree has one) is refused."""
    name = (found.raw_name or b"").decode("utf-8", "surrogateescape")
    if name in ("", ".", "..") or "/" in name:
        raise Problem(Reason.GitFailed, f"the commit holds a forbidden file name in folder {folder or '.'}")
    mode = found.filemode
    kind = KINDS.get(mode, EntryKind.BLOB)
    return Entry(
        f"{folder}/{name}" if folder else name, kind, str(found.id), mode == FileMode.BLOB_EXECUTABLE
    )
