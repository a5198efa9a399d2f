"""A local folder as a `Tree` (shell): for the command line and for tests.

Files have the ids that git would give them. A folder's id is valid for this snapshot alone, because git's id would
require to read everything below it. So no two snapshots share one. What was read once is remembered.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from pathlib import Path

from setpoint.api.reasons import Problem, Reason
from setpoint.tree.protocol import Entry, EntryKind


class LocalTree:
    """The files below a folder, but for `.git`; nothing is written, no symlink is followed."""

    def __init__(self, root: Path) -> None:
        """`root`: the folder that stands for the root of a repository."""
        self._root = os.fsencode(root)
        self._snapshot = secrets.token_hex(20)
        self._entries: dict[str, Entry | None] = {}

    def entry(self, path: str) -> Entry | None:
        """Return the entry at `path`, or None; a symlink on the way is not followed (None)."""
        if path not in self._entries:
            folder, _, name = path.rpartition("/")
            above = self.entry(folder) if path else None
            known = path == "" or (above is not None and above.kind is EntryKind.TREE and name != ".git")
            self._entries[path] = self._look(path) if known else None
        return self._entries[path]

    def children(self, path: str) -> tuple[Entry, ...]:
        """Return the entries of the folder at `path`, sorted by name; nothing if it is no folder."""
        found = self.entry(path)
        if found is None or found.kind is not EntryKind.TREE:
            return ()
        try:
            names = sorted(os.listdir(self._real(path)))
        except OSError as error:
            raise _unreadable(path, error) from None
        texts = [name.decode("utf-8", "surrogateescape") for name in names]
        entries = [self.entry(f"{path}/{text}" if path else text) for text in texts]
        return tuple(entry for entry in entries if entry is not None)

    def read(self, path: str) -> bytes:
        """Return the bytes of the file, or the target of the link, at `path`; Problem(PathNotFound)."""
        found = self.entry(path)
        if found is None or found.kind is EntryKind.TREE:
            raise Problem(Reason.PathNotFound, f"{path} is not a file")
        return self._bytes(path, found.kind)

    def _real(self, path: str) -> bytes:
        return self._root + b"/" + path.encode("utf-8", "surrogateescape") if path else self._root

    def _look(self, path: str) -> Entry | None:
        try:
            mode = os.stat(self._real(path), follow_symlinks=not path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return None
        if stat.S_ISDIR(mode):
            return Entry(
                path, EntryKind.TREE, _sha1(f"{self._snapshot}{path}".encode("utf-8", "surrogateescape"))
            )
        if stat.S_ISLNK(mode):
            return Entry(path, EntryKind.LINK, _blob(self._bytes(path, EntryKind.LINK)))
        if not stat.S_ISREG(mode):
            return None
        return Entry(path, EntryKind.BLOB, _blob(self._bytes(path, EntryKind.BLOB)), bool(mode & 0o100))

    def _bytes(self, path: str, kind: EntryKind) -> bytes:
        try:
            return os.readlink(self._real(path)) if kind is EntryKind.LINK else _read(self._real(path))
        except OSError as error:
            raise _unreadable(path, error) from None


def _read(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def _unreadable(path: str, error: OSError) -> Problem:
    return Problem(Reason.RenderFailed, f"{path or '.'} cannot be read: {error.strerror}")


def _blob(content: bytes) -> str:
    return _sha1(f"blob {len(content)}\0".encode() + content)


def _sha1(content: bytes) -> str:
    """Return SHA-1, which is what git names objects by; it protects nothing here."""
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()
