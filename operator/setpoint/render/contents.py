"""The files of a commit as a render reads them; refuses ciphertext of SOPS and Git LFS pointers (pure).

It wraps a `Tree`, so that no reader has to check by itself. An encrypted file is an error only if an object would hold
its ciphertext. Decryption will have its place here, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from setpoint.api import names
from setpoint.api.budgets import DEFAULTS, Budgets
from setpoint.api.reasons import Problem, Reason
from setpoint.objects.identity import identity
from setpoint.render import encrypted
from setpoint.tree.protocol import Entry, Tree

_SEALED: Final = "is encrypted by SOPS, which Setpoint does not decrypt yet"
_POINTER: Final = "is a Git LFS pointer, and Setpoint does not fetch LFS content"


class Contents:
    """A tree that notes what is encrypted, and refuses Git LFS pointers. Use one for each render."""

    def __init__(self, tree: Tree, *, strict: bool = False, budgets: Budgets = DEFAULTS) -> None:
        """`strict`: what is read are kustomizations, which can neither be encrypted nor a pointer."""
        self._tree, self._strict, self._budgets = tree, strict, budgets
        self._listed: set[str] = set()
        self._sealed: dict[str, frozenset[str]] = {}
        self._pointers: dict[str, frozenset[str]] = {}

    def entry(self, path: str) -> Entry | None:
        """Return the entry at `path`, or None; a symlink on the way is not followed (None)."""
        return self._tree.entry(path)

    def children(self, path: str) -> tuple[Entry, ...]:
        """Return the entries of the folder at `path`, sorted by name."""
        self._listed.add(path)
        return self._tree.children(path)

    def read(self, path: str) -> bytes:
        """Return the bytes of the blob (or the target of the link) at `path`; Problem for a Git LFS pointer.

        A file that is read because its whole folder is may be of no use to anything: it is only noted.
        """
        data = self._tree.read(path)
        if path in self._sealed or path in self._pointers:
            return data
        if encrypted.is_lfs_pointer(data):
            if self._strict or path.rpartition("/")[0] not in self._listed:
                raise _unfetched(path)
            self._pointers[path] = frozenset({data.decode("utf-8", "replace")})
        elif found := encrypted.macs(data, self._budgets):
            if self._strict:
                raise Problem(Reason.Encrypted, f"{path} {_SEALED}")
            self._sealed[path] = encrypted.marks(data, found)
        return data

    @property
    def noted(self) -> bool:
        """Whether anything was read that no object may hold."""
        return bool(self._sealed or self._pointers)

    def check(self, objects: Iterable[Mapping[str, Any]]) -> None:
        """Raise Problem if an object holds ciphertext of an encrypted file, or the text of a Git LFS pointer."""
        sealed, pointers = _by_mark(self._sealed), _by_mark(self._pointers)
        held: list[tuple[str, Mapping[str, Any]]] = []
        for manifest in objects if self.noted else ():
            traces = list(encrypted.traces(manifest))
            if path := _first(traces, pointers):
                raise _unfetched(path)
            exempt = encrypted.is_kept(manifest) or not encrypted.is_core(manifest)
            if not exempt and (path := _first(traces, sealed)):
                held.append((path, manifest))
        if held:
            raise _ciphertext(held)

    def explained(self, problem: Problem) -> Problem:
        """Return the problem of a render, in the words of its cause where that is a file that was noted."""
        if problem.reason is not Reason.RenderFailed or not self.noted:
            return problem
        if path := _named(self._pointers, problem.message):
            return _unfetched(path)
        if path := _named(self._sealed, problem.message):
            return Problem(Reason.Encrypted, f"{path} {_SEALED}: {problem.message}")
        notes = [f"{path} {_SEALED}" for path in self._sealed] + [
            f"{path} {_POINTER}" for path in self._pointers
        ]
        return Problem(problem.reason, f"{problem.message}; note that {min(notes)}", problem.retry)


def _named(paths: Iterable[str], message: str) -> str | None:
    """Find a path that the message names, and not a longer one that it is a part of."""
    return next(
        (p for p in sorted(paths) if re.search(rf"(?<![\w./-]){re.escape(p)}(?![\w/-])", message)), None
    )


def _by_mark(files: Mapping[str, frozenset[str]]) -> dict[str, str]:
    return {mark: path for path in sorted(files, reverse=True) for mark in files[path]}


def _first(traces: Iterable[str], files: Mapping[str, str]) -> str | None:
    return next((files[text] for text in traces if text in files), None)


def _unfetched(path: str) -> Problem:
    return Problem(
        Reason.RenderFailed,
        f"{path} {_POINTER}; commit the file itself, or leave it out",
    )


def _ciphertext(held: list[tuple[str, Mapping[str, Any]]]) -> Problem:
    path, manifest = held[0]
    name = identity(manifest).label()
    what = "what is made of it" if "ENC[" in name else name
    more = f" ({len(held) - 1} more object{'s' if len(held) > 2 else ''} likewise)" if len(held) > 1 else ""
    return Problem(
        Reason.Encrypted,
        f"{path} {_SEALED}, so {what} would hold ciphertext{more}; take it out, or annotate the object "
        f"{names.ANNOTATION_ENCRYPTED}: {encrypted.KEEP} if that is meant",
    )
