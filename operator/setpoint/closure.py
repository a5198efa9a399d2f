"""What a build by kustomize reads (pure): every file of the repository that its kustomizations lead to.

Exactly these files are given to kustomize and counted as inputs, so that a reference that was overlooked is a
build that fails with a file that is missing, never a change that goes unnoticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from setpoint import kustomization
from setpoint.kustomization import Kind, Kustomization, Reference
from setpoint.lru import Lru
from setpoint.reasons import Problem, Reason
from setpoint.tree import Entry, EntryKind, Tree
from setpoint.treepaths import Found, Outside, below, join, resolve

_PARSED: Final[Lru[str, Kustomization]] = Lru(4096)
"""Kustomization files by blob id: a function of the content, whatever repository it is from."""


@dataclass(frozen=True, slots=True)
class Build:
    """One run of kustomize: the folder, and all that it reads.

    `entries`: files, symlinks, and folders that count as a whole, sorted by path. `relaxed`: a file outside of
    its kustomization's folder is read, so that kustomize's own restriction must be off.
    """

    folder: str
    entries: tuple[Entry, ...]
    relaxed: bool = False


def find_kustomization(tree: Tree, folder: str) -> str | None:
    """Give the path of the kustomization file of a folder, or None; Problem if there are several."""
    found = [path for name in kustomization.NAMES if tree.entry(path := join(folder, name))]
    if len(found) > 1:
        raise Problem(
            Reason.RenderFailed,
            f"{folder or '.'} has {' and '.join(found)}; kustomize takes only one of them",
        )
    return found[0] if found else None


def read_kustomization(tree: Tree, file: str) -> tuple[Kustomization, Found]:
    """Read the kustomization at `file`, which may be a symlink; Problem if it cannot be used."""
    try:
        found = resolve(tree, "", file)
    except Outside as error:
        raise Problem(Reason.RenderFailed, str(error)) from None
    if found is None or found.entry.kind is not EntryKind.BLOB:
        raise Problem(Reason.RenderFailed, f"{file} is no file")
    parsed = _PARSED.get(found.entry.oid)
    if parsed is None:
        parsed = _PARSED.put(found.entry.oid, kustomization.parse(tree.read(found.path), file))
    return parsed, found


class Closure:
    """Collects what a build reads, from folder to folder."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._entries: dict[str, Entry] = {}
        self._visited: set[str] = set()
        self._outside = False
        self._opaque = False

    def build(self, folder: str) -> Build:
        """Give the build of `folder` with everything that was visited."""
        entries = tuple(self._entries[path] for path in sorted(self._entries))
        # What is opaque could name any path of this machine: kustomize's restriction stays on.
        return Build(folder, entries, self._outside and not self._opaque)

    def visit(self, folder: str) -> None:
        """Take in the kustomization of a folder (a real path), and all that it refers to."""
        if folder in self._visited:
            return
        self._visited.add(folder)
        file = find_kustomization(self._tree, folder)
        if file is None:
            raise Problem(Reason.RenderFailed, f"{folder or '.'} has no kustomization.yaml")
        parsed, found = read_kustomization(self._tree, file)
        self._take(found, folder)
        if parsed.unknown:
            self._everything(file, parsed.unknown)
        elif parsed.plugins:
            self._whole(folder)
        for reference in parsed.references:
            self._follow(folder, file, reference)

    def component(self, folder: str, text: str) -> None:
        """Take in a component of the Sync's overlay, relative to `folder`."""
        self._follow(folder, "spec.kustomize", Reference(Kind.FOLDER, "components", text))

    def _follow(self, folder: str, file: str, reference: Reference) -> None:
        if reference.kind is Kind.INLINE and ("\n" in reference.text or kustomization.inline(reference.text)):
            self._opaque = True
            return
        found = self._resolve(folder, file, reference)
        if found.entry.kind is EntryKind.TREE:
            if reference.kind is Kind.FILE:
                _fail(file, reference, "is a folder, not a file")
            if find_kustomization(self._tree, found.path) is None:
                _fail(file, reference, "is a folder without a kustomization.yaml")
            self._links(found)
            self.visit(found.path)
            return
        if found.entry.kind is EntryKind.SUBMODULE:
            _fail(file, reference, "is a submodule, which was not fetched; set spec.submodules of the Source")
        if reference.kind is Kind.FOLDER:
            _fail(file, reference, "is a file, not a folder")
        if reference.kind is Kind.INLINE and reference.field != "patchesStrategicMerge":
            for config in kustomization.inline(self._tree.read(found.path).decode("utf-8", "replace")):
                kustomization.check_plugin(config, found.path)
        self._take(found, folder)

    def _resolve(self, folder: str, file: str, reference: Reference) -> Found:
        try:
            found = resolve(self._tree, folder, reference.text)
        except Outside as error:
            raise Problem(Reason.RenderFailed, f"{file}: {reference.field}: {error}") from None
        if found is None and kustomization.remote(reference.text):
            _fail(file, reference, "is remote; remote references are refused, so copy it into the repository")
        if found is None:
            _fail(file, reference, "does not exist in the repository")
        return found

    def _take(self, found: Found, folder: str) -> None:
        self._links(found)
        self._entries[found.path] = found.entry
        self._outside |= not below(found.path, folder)

    def _links(self, found: Found) -> None:
        for link in found.links:
            self._entries[link.path] = link

    def _everything(self, file: str, unknown: Sequence[str]) -> None:
        """Take in the whole repository: an unknown field may refer to anything in it."""
        try:
            self._whole("")
        except Problem as problem:
            text = f"{file}: unknown field {', '.join(unknown)}, so all files count as its input, and {problem.message}"
            raise Problem(problem.reason, text) from None

    def _whole(self, folder: str) -> None:
        """Take in a folder with everything below it, and what its symlinks lead to."""
        self._opaque = True
        entry = self._tree.entry(folder)
        if entry is None or folder in self._entries:
            return
        self._entries[folder] = entry
        for link in _symlinks(self._tree, folder):
            try:
                found = resolve(self._tree, link.path.rpartition("/")[0], link.path.rpartition("/")[2])
            except Outside as error:
                raise Problem(Reason.RenderFailed, str(error)) from None
            if found is None or below(found.path, folder):
                continue
            self._links(found)
            if found.entry.kind is EntryKind.TREE:
                self._whole(found.path)
            else:
                self._take(found, folder)


def _symlinks(tree: Tree, folder: str) -> list[Entry]:
    found: list[Entry] = []
    for entry in tree.children(folder):
        if entry.kind is EntryKind.TREE:
            found += _symlinks(tree, entry.path)
        elif entry.kind is EntryKind.LINK:
            found.append(entry)
    return found


def _fail(file: str, reference: Reference, text: str) -> NoReturn:
    shown = kustomization.shown(reference.text)
    raise Problem(Reason.RenderFailed, f"{file}: {reference.field} names {shown!r}, which {text}")
