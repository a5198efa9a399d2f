"""A folder under real git as a `Tree`: what is committed is what is seen."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pygit2
from pygit2.enums import FileMode

from setpoint.tree.protocol import Entry, EntryKind

KINDS = {FileMode.TREE: EntryKind.TREE, FileMode.LINK: EntryKind.LINK, FileMode.COMMIT: EntryKind.SUBMODULE}


class GitFolder:
    """Write with `put` and `link`, then read after `commit`."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self._git("init", "-q")

    def put(self, files: dict[str, str | bytes]) -> GitFolder:
        """Write files by path."""
        for path, content in files.items():
            target = self.root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.encode() if isinstance(content, str) else content)
        return self

    def link(self, path: str, target: str) -> GitFolder:
        """Make a symlink with exactly this target."""
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        os.symlink(target, self.root / path)
        return self

    def commit(self) -> CommittedTree:
        """Commit everything; returns the tree."""
        self._git("add", "-A")
        self._git("-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "x", "--allow-empty")
        return CommittedTree(self.root)

    def _git(self, *words: str) -> None:
        subprocess.run(["git", "-C", str(self.root), *words], check=True, capture_output=True)


class CommittedTree:
    """The tree of HEAD."""

    def __init__(self, root: Path) -> None:
        self._repository = pygit2.Repository(str(root))
        self._tree = self._repository.head.peel(pygit2.Commit).tree
        self.looked_up = 0

    def entry(self, path: str) -> Entry | None:
        self.looked_up += 1
        if path == "":
            return Entry("", EntryKind.TREE, str(self._tree.id))
        try:
            return _entry(self._tree[path], path)
        except KeyError:
            return None

    def children(self, path: str) -> tuple[Entry, ...]:
        self.looked_up += 1
        folder = self._tree[path] if path else self._tree
        if not isinstance(folder, pygit2.Tree):
            return ()
        found = [_entry(each, f"{path}/{each.name}" if path else str(each.name)) for each in folder]
        return tuple(sorted(found, key=lambda each: each.name))

    def read(self, path: str) -> bytes:
        found = self._tree[path]
        assert isinstance(found, pygit2.Blob)
        return found.data


def _entry(found: pygit2.Object, path: str) -> Entry:
    mode = found.filemode
    return Entry(
        path, KINDS.get(FileMode(mode), EntryKind.BLOB), str(found.id), mode == FileMode.BLOB_EXECUTABLE
    )
