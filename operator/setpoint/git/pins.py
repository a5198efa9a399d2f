"""Follows the commits that a commit pins as submodules, level by level and within a budget (pure).

A commit that many others pin costs once in each level, so that a few commits that pin each other again and again are
no more than they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from setpoint.api.budgets import Budgets
from setpoint.api.reasons import Problem, Reason
from setpoint.git.remotes import Repository, submodule_repository
from setpoint.git.submodules import submodule_urls
from setpoint.tree.protocol import EntryKind, Tree

MAX_DEPTH: Final = 7
"""Levels of submodules in submodules."""
Pinned = tuple[tuple[str, Repository, str], ...]
"""Path, repository and commit of each submodule."""


@dataclass(frozen=True, slots=True)
class Pin:
    """A commit of a repository; `words` say as which submodule, for a message, and are empty for the outermost."""

    repository: Repository
    sha: str
    words: str = ""


class Levels:
    """Collects the next level of submodules while the commits of this one are looked at."""

    def __init__(self, budgets: Budgets) -> None:
        self._budgets = budgets
        self._next: dict[tuple[Repository, str], Pin] = {}
        self._count = self._depth = 0

    def add(self, pin: Pin, pinned: Pinned) -> None:
        """Take what one commit pins. Raises Problem(TooLarge) for more submodules than the budget has, in all."""
        self._count += len(pinned)
        self._budgets.check("max_submodules", self._count, counted=False)
        for path, inner, sha in pinned:
            if (inner, sha) not in self._next:
                self._next[inner, sha] = Pin(inner, sha, f"{pin.words}submodule {path}: ")

    def descend(self) -> tuple[Pin, ...]:
        """Return the commits of the next level, each once. Raises Problem(GitFailed) for one that is too deep."""
        found, self._next = tuple(self._next.values()), {}
        self._depth += 1
        if found and self._depth > MAX_DEPTH:
            raise Problem(Reason.GitFailed, f"{found[0].words}submodules are nested too deeply")
        return found


def pinned_in(tree: Tree, repository: Repository, budgets: Budgets) -> Pinned:
    """List the submodules of a commit; a gitlink that .gitmodules does not name stays what it is.

    Raises Problem for too many, before they are looked up, and for a URL that may not be used.
    """
    entry = tree.entry(".gitmodules")
    if entry is None or entry.kind is not EntryKind.BLOB:
        return ()
    urls = submodule_urls(tree.read(".gitmodules"))
    budgets.check("max_submodules", len(urls), ".gitmodules")
    found = []
    for path, url in urls.items():
        link = tree.entry(path)
        if link is not None and link.kind is EntryKind.SUBMODULE:
            try:
                found.append((path, submodule_repository(repository, url), link.oid))
            except Problem as problem:
                raise Problem(problem.reason, f"submodule {path}: {problem.message}", problem.retry) from None
    return tuple(found)
