"""What a commit pins as submodules, as those tell each other who read commits and who fetch them (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from setpoint.git.remotes import Repository


@dataclass(frozen=True, slots=True)
class Link:
    """A submodule as the commit has it: its path, the text of its URL, and the id of the commit that is pinned."""

    path: str
    url: str
    sha: str


@dataclass(frozen=True, slots=True)
class Pin:
    """A submodule as the cache has it: its path, the handle of its mirror, and the id of the commit that is pinned."""

    path: str
    handle: str
    sha: str


Pins = Mapping[tuple[str, str], tuple[Pin, ...]]
"""What each commit pins, by its handle and id: of one commit and of all that it leads to, over all levels."""


class Commits(Protocol):
    """The commits in the mirrors, for who does not read them himself."""

    async def holds(self, repository: Repository, sha: str) -> bool:
        """Return whether a commit can be read. Raises Problem."""

    async def links(self, repository: Repository, sha: str) -> tuple[Link, ...]:
        """Return what a commit pins, without what that pins in turn. Raises Problem."""
