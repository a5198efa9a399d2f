"""Follows the commits that a commit pins as submodules, level by level and within a budget (pure).

A commit that many others pin costs once in each level, so that a few commits that pin each other again and again are
no more than they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from setpoint.api.budgets import MAX_PATH, Budgets
from setpoint.api.reasons import Problem, Reason
from setpoint.git.links import Link
from setpoint.git.remotes import Repository, submodule_repository

MAX_DEPTH: Final = 7
"""Levels of submodules in submodules."""
_SHA: Final = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Submodule:
    """A link whose URL was understood: its path, the repository that it leads to, and the id of the commit."""

    path: str
    repository: Repository
    sha: str


@dataclass(frozen=True, slots=True)
class Node:
    """A commit on the way; `words` say as which submodule, for a message, and are empty for the outermost."""

    repository: Repository
    sha: str
    words: str = ""


class Levels:
    """Collects the next level of submodules while the commits of this one are looked at."""

    def __init__(self, budgets: Budgets) -> None:
        self._budgets = budgets
        self._next: dict[tuple[Repository, str], Node] = {}
        self._count = self._depth = 0

    def add(self, node: Node, submodules: Sequence[Submodule]) -> None:
        """Take what one commit pins. Raises Problem(TooLarge) for more submodules than the budget has, in all."""
        self._count += len(submodules)
        self._budgets.check("max_submodules", self._count, counted=False)
        for each in submodules:
            inner, sha = each.repository, each.sha
            if (inner, sha) not in self._next:
                self._next[inner, sha] = Node(inner, sha, f"{node.words}submodule {each.path}: ")

    def descend(self) -> tuple[Node, ...]:
        """Return the commits of the next level, each once. Raises Problem(GitFailed) for one that is too deep."""
        found, self._next = tuple(self._next.values()), {}
        self._depth += 1
        if found and self._depth > MAX_DEPTH:
            raise Problem(Reason.GitFailed, f"{found[0].words}submodules are nested too deeply")
        return found


def resolved(repository: Repository, links: Sequence[Link], budgets: Budgets) -> tuple[Submodule, ...]:
    """Return where the links of a repository's commit lead.

    Whoever read them may say anything: Problem for too many, before they are looked at, for a URL that may not be used, and
    for what is no path or id.
    """
    budgets.check("max_submodules", len(links), ".gitmodules")
    return tuple(Submodule(each.path, _resolved(repository, each), each.sha) for each in links)


def _resolved(repository: Repository, link: Link) -> Repository:
    if len(link.path) > MAX_PATH or not _SHA.fullmatch(link.sha):
        raise Problem(Reason.GitFailed, "the commit pins a submodule that is none")
    try:
        return submodule_repository(repository, link.url)
    except Problem as problem:
        raise Problem(problem.reason, f"submodule {link.path}: {problem.message}", problem.retry) from None
