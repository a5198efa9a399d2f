"""Collects the files of a build: all that the kustomizations of a path lead to (pure).

Exactly these files are given to kustomize and count as inputs. So an overlooked reference fails the build with a missing
file, and never becomes a change that goes unnoticed. kustomize reads no file outside of its kustomization's folder: such a
file is copied below it, and the reference is rewritten.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NoReturn

from setpoint.api.budgets import DEFAULTS, MAX_PATH, Budgets
from setpoint.api.reasons import Problem, Reason
from setpoint.render.kustomize import kustomization
from setpoint.render.kustomize.kustomization import NAMES, Kind, Kustomization, Reference
from setpoint.runtime.lru import Lru
from setpoint.tree.bounded import Spent
from setpoint.tree.paths import Found, Outside, below, join, resolve
from setpoint.tree.protocol import Entry, EntryKind, Tree

_PARSED: Final[Lru[str, Kustomization]] = Lru(32 * 2**20)
"""Kustomization files by blob id: a function of the content, whatever repository it is from. It counts bytes."""
_HIDDEN: Final = ".setpoint"
"""The folder for copies; with a number behind it where the repository has one of that name."""
_NEUTRAL: Final = "copy.yaml"
"""What a copy of a kustomization file is called, so that it cannot be taken for one."""


@dataclass(frozen=True, slots=True)
class Written:
    """A kustomization file as kustomize gets it, at `path`."""

    path: str
    text: bytes


@dataclass(frozen=True, slots=True)
class Copy:
    """A file that kustomize finds elsewhere than in the repository: at `place` in `folder`.

    `text`: the reference as it was written there.
    """

    entry: Entry
    folder: str
    place: str
    text: str

    @property
    def path(self) -> str:
        """Where it is found, from the root."""
        return join(self.folder, self.place)


@dataclass(frozen=True, slots=True)
class Build:
    """One run of kustomize: the folder, and all that it reads.

    `entries`: all of the repository that counts: files, symlinks, and folders that count as a whole, sorted by path.
    `exported`: those among them that are given to kustomize as they are.
    """

    folder: str
    entries: tuple[Entry, ...]
    exported: tuple[Entry, ...] = ()
    kustomizations: tuple[Written, ...] = ()
    copies: tuple[Copy, ...] = ()

    @property
    def top(self) -> bytes:
        """The text of the kustomization of `folder`; an empty mapping if it has none."""
        found = (each.text for each in self.kustomizations if posixpath.dirname(each.path) == self.folder)
        return next(found, b"{}")


def find_kustomization(tree: Tree, folder: str) -> str | None:
    """Return the path of the kustomization file of a folder, or None; Problem if there are several.

    A folder or a submodule of such a name is none, as for kustomize: some are named after kinds.
    """
    places = (tree.entry(join(folder, name)) for name in kustomization.NAMES)
    found = [each.path for each in places if each and each.kind in (EntryKind.BLOB, EntryKind.LINK)]
    if len(found) > 1:
        raise Problem(
            Reason.RenderFailed,
            f"{folder or '.'} has {' and '.join(found)}; kustomize takes only one of them",
        )
    return found[0] if found else None


def read_kustomization(tree: Tree, file: str, budgets: Budgets, spent: Spent) -> tuple[Kustomization, Found]:
    """Read the kustomization at `file`, which may be a symlink; Problem if it cannot be used."""
    try:
        found = resolve(tree, "", file, spent)
    except Outside as error:
        raise Problem(Reason.RenderFailed, str(error)) from None
    if found is None or found.entry.kind is not EntryKind.BLOB:
        raise Problem(Reason.RenderFailed, f"{file} is not a file")
    parsed = _PARSED.get(found.entry.oid)
    if parsed is None:
        made = kustomization.parse(tree.read(found.path), file, budgets)
        parsed = _PARSED.put(found.entry.oid, made, 1000 + 4 * len(made.text))
    return parsed, found


class Closure:
    """Collects what a build reads, from folder to folder."""

    def __init__(self, tree: Tree, budgets: Budgets = DEFAULTS, spent: Spent | None = None) -> None:
        """`spent`: what other builds of the same look took."""
        self._tree, self._budgets, self._spent = tree, budgets, spent or Spent(budgets)
        self._levels = 0
        self._places: dict[str, str] = {}
        self._entries: dict[str, Entry] = {}
        self._exported: dict[str, Entry] = {}
        self._written: dict[str, Written] = {}
        self._copies: dict[tuple[str, str, str], Copy] = {}

    def build(self, folder: str) -> Build:
        """Return the build of `folder` with everything that was visited."""
        return Build(
            folder,
            tuple(self._entries[path] for path in sorted(self._entries)),
            tuple(self._exported[path] for path in sorted(self._exported)),
            tuple(self._written[path] for path in sorted(self._written)),
            tuple(self._copies.values()),
        )

    def visit(self, folder: str) -> None:
        """Add the kustomization of a folder (a real path), and all that it refers to."""
        if folder in self._written:
            return
        file = find_kustomization(self._tree, folder)
        if file is None:
            raise Problem(Reason.RenderFailed, f"{folder or '.'} has no kustomization.yaml")
        parsed, found = read_kustomization(self._tree, file, self._budgets, self._spent)
        self._spent.add(file, len(parsed.text), max(1, len(parsed.references)))
        # Noted before what it refers to, which may lead back here.
        self._written[folder] = Written(file, parsed.text)
        self._count(found)
        if parsed.plugins:
            self._whole(folder)
        self._levels += 1
        self._budgets.check("max_depth", self._levels, file, counted=False)
        moved = {ref: path for ref in parsed.references if (path := self._follow(folder, file, ref))}
        self._levels -= 1
        self._written[folder] = Written(file, parsed.moved(moved))

    def component(self, folder: str, text: str) -> None:
        """Add a component of the Sync's overlay, relative to `folder`."""
        self._follow(folder, "spec.kustomize", Reference(Kind.FOLDER, "components", text))

    def _follow(self, folder: str, file: str, reference: Reference) -> str | None:
        """Add what a reference leads to; returns the path to put in its place, if it is another."""
        found = self._resolve(folder, file, reference)
        if found is None:
            return None
        if found.entry.kind is EntryKind.TREE:
            if reference.kind is Kind.FILE:
                _fail(file, reference, "is a folder, not a file")
            if find_kustomization(self._tree, found.path) is None:
                _fail(file, reference, "is a folder without a kustomization.yaml")
            self._count(found)
            self._exported.update({link.path: link for link in found.links})
            self.visit(found.path)
            return None
        if found.entry.kind is EntryKind.SUBMODULE:
            _fail(file, reference, "is a submodule, which was not fetched; set spec.submodules of the Source")
        if reference.kind is Kind.FOLDER:
            _fail(file, reference, "is a file, not a folder")
        if reference.kind is Kind.INLINE and reference.field != "patchesStrategicMerge":
            text = self._tree.read(found.path).decode("utf-8", "replace")
            # Parsed here for each reference to it.
            self._spent.add(found.path, len(text), 0)
            for config in kustomization.inline(text, found.path, self._budgets):
                kustomization.check_plugin(config, found.path)
        return self._take(found, folder, reference.text)

    def _resolve(self, folder: str, file: str, reference: Reference) -> Found | None:
        """Find what a reference names; None for one that is the content itself."""
        inline = reference.kind is Kind.INLINE and bool(
            kustomization.inline(reference.text, file, self._budgets)
        )
        if inline and len(reference.text) > MAX_PATH:
            return None
        try:
            found = _look_up(self._tree, folder, reference.text, self._spent)
        except Outside as error:
            if inline:
                return None
            if reference.kind is Kind.INLINE and _no_path(reference.text):
                _fail_inline(file, reference)
            raise Problem(Reason.RenderFailed, f"{file}: {reference.field}: {error}") from None
        if found and inline:
            _fail_inline(file, reference, "both an object and the path of a file; rename the file")
        if found is None and not inline:
            self._missing(file, reference)
        if kustomization.is_url(reference.text):
            _fail(file, reference, "is remote; remote references are refused, so copy it into the repository")
        return found

    @staticmethod
    def _missing(file: str, reference: Reference) -> NoReturn:
        if reference.kind is Kind.INLINE and _no_path(reference.text):
            _fail_inline(file, reference)
        if kustomization.remote(reference.text):
            _fail(file, reference, "is remote; remote references are refused, so copy it into the repository")
        _fail(file, reference, "does not exist in the repository")

    def _take(self, found: Found, folder: str, text: str) -> str | None:
        """Add a file that is read from `folder`; returns where it is found, if it is another place."""
        self._count(found)
        name = posixpath.basename(posixpath.normpath(text))
        if below(found.path, folder) and not found.links and name not in NAMES:
            self._exported[found.path] = found.entry
            return None
        key = (folder, found.path, name)
        if key not in self._copies:
            # The number is unique in the build, so that the place alone names the file in a message.
            shown = _NEUTRAL if name in NAMES else name
            place = f"{self._hidden(folder)}/{len(self._copies) + 1}/{shown}"
            self._copies[key] = Copy(found.entry, folder, place, text)
        return self._copies[key].place

    def _hidden(self, folder: str) -> str:
        """Return the name of a folder that the repository does not have there."""
        if folder not in self._places:
            names = (f"{_HIDDEN}-{number}" if number else _HIDDEN for number in range(1_000_000))
            self._places[folder] = next(n for n in names if self._tree.entry(join(folder, n)) is None)
        return self._places[folder]

    def _count(self, found: Found) -> None:
        folder = found.entry.kind is EntryKind.TREE
        read = found.links if folder else (found.entry, *found.links)
        self._entries.update({each.path: each for each in read})

    def _whole(self, folder: str) -> None:
        """Add a folder with everything below it: the configuration of a plugin may name any file there.

        A symlink to a file elsewhere is that file, as its content is what is read.
        """
        entry = self._tree.entry(folder)
        if entry is None:
            return
        self._entries[folder] = self._exported[folder] = entry
        for link in _symlinks(self._tree, folder, self._spent):
            try:
                found = resolve(
                    self._tree, link.path.rpartition("/")[0], link.path.rpartition("/")[2], self._spent
                )
            except Outside as error:
                raise Problem(Reason.RenderFailed, str(error)) from None
            if found is None or below(found.path, folder) or found.entry.kind is not EntryKind.BLOB:
                continue
            self._count(found)
            place = posixpath.relpath(link.path, folder) if folder else link.path
            self._copies[(folder, found.path, link.path)] = Copy(found.entry, folder, place, place)


def _look_up(tree: Tree, folder: str, text: str, spent: Spent) -> Found | None:
    """Find what a path in a kustomization means to kustomize, which goes up by the text and not by the file system."""
    if text.startswith("/"):
        raise Outside(f"{text!r} is absolute; paths are relative, inside the repository")
    path = posixpath.normpath(f"{folder}/{text}" if folder else text)
    if path == ".." or path.startswith("../"):
        raise Outside(f"{text!r} leaves the repository")
    return resolve(tree, "", path, spent)


def _symlinks(tree: Tree, folder: str, spent: Spent) -> Iterator[Entry]:
    found = tree.children(folder)
    spent.add(folder, 0, len(found))
    for entry in found:
        if entry.kind is EntryKind.TREE:
            yield from _symlinks(tree, entry.path, spent)
        elif entry.kind is EntryKind.LINK:
            yield entry


def _no_path(text: str) -> bool:
    return "\n" in text or "{" in text


def _fail(file: str, reference: Reference, text: str) -> NoReturn:
    shown = kustomization.shown(reference.text)
    raise Problem(Reason.RenderFailed, f"{file}: {reference.field} names {shown!r}, which {text}")


def _fail_inline(file: str, reference: Reference, text: str = "") -> NoReturn:
    """Refuse a text that may be the content itself, without quoting it: it may be a Secret."""
    what = text or "neither an object that can be read nor the path of a file"
    raise Problem(Reason.RenderFailed, f"{file}: an entry of {reference.field} is {what}")
