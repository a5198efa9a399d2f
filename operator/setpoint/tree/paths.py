"""Resolves paths inside a commit, with `..` and symlinks, and never leaves the repository (pure)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from setpoint.api.budgets import DEFAULTS, MAX_PATH
from setpoint.tree.bounded import Spent
from setpoint.tree.protocol import Entry, EntryKind, Tree

_MAX_LINKS: Final = 40
"""Links that one path may lead through, as on Linux (ELOOP)."""


_STEPS: Final = frozenset(("", ".", ".."))
_FEW: Final = 16
"""Names in a path that may lie simply there; of a longer one the beginning is looked for first."""
_CHARACTERS: Final = 16
"""Of a symlink's text, which take as long as a step."""


class Outside(ValueError):
    """A path that leaves the repository; the text says which, and through which symlink."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a path leads to: the entry at its real place (no symlink on the way), and the symlinks it led through."""

    entry: Entry
    links: tuple[Entry, ...] = ()

    @property
    def path(self) -> str:
        """The real path, from the root."""
        return self.entry.path


def join(folder: str, name: str) -> str:
    """Return the path of something in a folder; the root is the empty string, on either side."""
    return f"{folder}/{name}" if folder and name else folder or name


def below(path: str, folder: str) -> bool:
    """Return whether a path is a folder itself or lies below it."""
    return not folder or path == folder or path.startswith(f"{folder}/")


def resolve(tree: Tree, folder: str, text: str, spent: Spent | None = None) -> Found | None:
    """Find what `text` means in `folder` (a real path); None if there is nothing.

    `spent` counts the steps of those that do not lie simply there. Raises Outside for an absolute path and for one
    that leaves the repository, also through a symlink; Problem(TooLarge) for too many steps.
    """
    if text.startswith("/"):
        raise Outside(f"{text!r} is absolute; paths are relative, inside the repository")
    names = text.split("/")
    if len(names) <= _FEW and _STEPS.isdisjoint(names):
        # What is found without following a symlink has none on the way.
        simple = tree.entry(join(folder, text))
        if simple is not None and simple.kind is not EntryKind.LINK:
            return Found(simple)
    return _follow(tree, folder, text, spent or Spent(DEFAULTS))


def _follow(tree: Tree, folder: str, text: str, spent: Spent) -> Found | None:
    at = folder.split("/") if folder else []
    left = deque(text.split("/"))
    links: list[Entry] = []
    entry = tree.entry(folder)
    while left:
        spent.step(text)
        if (name := left.popleft()) in ("", "."):
            continue
        if name == "..":
            if not at:
                raise Outside(_leaving(text, links))
            at.pop()
            entry = tree.entry("/".join(at))
            continue
        entry = tree.entry("/".join([*at, name]))
        if entry is None:
            return None
        if entry.kind is EntryKind.LINK:
            target = _target(tree, entry, links, partial(spent.step, text))
            left.extendleft(reversed(target.split("/")))
            entry = tree.entry("/".join(at))
        else:
            at.append(name)
    return Found(entry, tuple(links)) if entry else None


def _target(tree: Tree, link: Entry, links: list[Entry], step: Callable[[int], None]) -> str:
    data = tree.read(link.path)
    step(len(data) // _CHARACTERS)  # first: one that is too long is read for each who names it
    target = data.decode("utf-8", "surrogateescape")
    links.append(link)
    if len(target) > MAX_PATH:
        raise Outside(f"{link.path} is a symlink to a path of more than {MAX_PATH:,} characters")
    if target.startswith("/"):
        raise Outside(f"{link.path} is a symlink to {target!r}, which leaves the repository")
    if len(links) > _MAX_LINKS:
        raise Outside(f"{link.path} is a symlink that leads back to itself")
    return target


def _leaving(text: str, links: list[Entry]) -> str:
    if links:
        return f"{links[-1].path} is a symlink that leaves the repository"
    return f"{text!r} leaves the repository"
