"""Writes the files of a build, and nothing else, into a private folder (shell).

Kustomization files are written as Setpoint understood them, and no other file gets one of their names. So kustomize cannot
read a file as a kustomization that Setpoint did not.

The folder lies on a volume that is memory-backed by default. It is removed after the build; the next start removes what a
crash left behind.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from setpoint.render.kustomize.build import Build
from setpoint.render.kustomize.kustomization import NAMES
from setpoint.runtime import disk
from setpoint.tree.bounded import Spent
from setpoint.tree.protocol import Entry, EntryKind, Tree

_PREFIX: Final = "render-"


def workspace(parent: Path) -> Path:
    """Make an empty folder that only this user can enter, named after this process."""
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=parent))


def remove(folder: Path) -> None:
    """Remove a workspace, if it is still there, whatever a renderer that was taken over made of it."""
    disk.remove(folder)


def remove_stale(parent: Path) -> None:
    """Remove the workspaces of processes that are gone; to be called before this process makes its own.

    In a container every life has the same pid, so those with ours are left from an earlier one.
    """
    for folder in parent.glob(f"{_PREFIX}*-*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdigit() and (int(pid) == os.getpid() or not Path(f"/proc/{pid}").exists()):
            remove(folder)


def build(tree: Tree, made: Build, target: Path, spent: Spent) -> None:
    """Write all that a build reads below `target`; Problem(TooLarge) for more than is left to spend."""
    write(tree, made.exported, target, spent)
    for copy in made.copies:
        _write(tree, copy.entry, target, copy.path, spent)
    for each in made.kustomizations:
        spent.add(each.path, len(each.text))
        path = target / each.path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_bytes(each.text)


def write(tree: Tree, entries: Iterable[Entry], target: Path, spent: Spent) -> None:
    """Write entries of a commit below `target`, folders with everything in them, symlinks as symlinks."""
    for entry in entries:
        _write(tree, entry, target, entry.path, spent)


def _write(tree: Tree, entry: Entry, target: Path, place: str, spent: Spent) -> None:
    path = target / place
    if entry.kind is EntryKind.TREE:
        spent.add(place, 0)
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        write(tree, tree.children(entry.path), target, spent)
        return
    if entry.kind is EntryKind.SUBMODULE or path.name in NAMES:
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.is_symlink() and entry.kind is EntryKind.BLOB:
        path.unlink()  # the file that it leads to is written in its place
    if os.path.lexists(path):
        return
    data = tree.read(entry.path)
    spent.add(place, len(data))
    if entry.kind is EntryKind.LINK:
        os.symlink(os.fsdecode(data), path)
    else:
        path.write_bytes(data)


def manifests(root: Path) -> Iterator[tuple[str, bytes]]:
    """Give the YAML and JSON files of an export by their paths from its root, in order.

    No symlinks are followed: they lead to files of the export, which come by themselves, unless a renderer made them.
    """
    for folder, _, names in os.walk(root):
        for name in sorted(names):
            file = Path(folder) / name
            if name.endswith((".yaml", ".yml", ".json")) and file.is_file() and not file.is_symlink():
                yield str(file.relative_to(root)), file.read_bytes()
