"""A commit that exists in memory alone (`setpoint.tree.protocol.Tree`), with ids that are a function of the content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from setpoint.tree.protocol import Entry, EntryKind


@dataclass(frozen=True)
class Link:
    """A symlink."""

    target: str


File = str | Link


class MemoryTree:
    """Files and symlinks by path; folders are what lies above them."""

    def __init__(self, files: Mapping[str, File]) -> None:
        self._files = dict(files)
        self._folders: dict[str, set[str]] = {"": set()}
        for path in files:
            self._place(path)
        self.read_folders: list[str] = []

    def _place(self, path: str) -> None:
        while path:
            folder = path.rpartition("/")[0]
            self._folders.setdefault(folder, set()).add(path)
            path = folder

    def entry(self, path: str) -> Entry | None:
        if path in self._folders:
            return Entry(path, EntryKind.TREE, self._tree_id(path))
        found = self._files.get(path)
        if found is None:
            return None
        if isinstance(found, Link):
            return Entry(path, EntryKind.LINK, _id(f"link {found.target}"))
        return Entry(path, EntryKind.BLOB, _id(f"blob {found}"))

    def children(self, path: str) -> tuple[Entry, ...]:
        self.read_folders.append(path)
        found = (self.entry(each) for each in sorted(self._folders.get(path, ())))
        return tuple(entry for entry in found if entry)

    def read(self, path: str) -> bytes:
        found = self._files[path]
        return (found.target if isinstance(found, Link) else found).encode()

    def _tree_id(self, path: str) -> str:
        inside = [self.entry(each) for each in sorted(self._folders[path])]
        return _id(f"tree {[(e.name, e.kind, e.oid) for e in inside if e]}")


def _id(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
