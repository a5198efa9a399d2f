"""A tree within budgets: refuses what is too deep, too many or too large while it is looked at (pure)."""

from __future__ import annotations

from typing import Final

from setpoint.api.budgets import MAX_PATH, Budgets, setting
from setpoint.api.reasons import Problem, Reason
from setpoint.tree.protocol import Entry, Tree

STEPS: Final = 20
"""For each file that a look may lead to: a path of a symlink has about five names."""


class Spent:
    """Adds up what several builds of one look take, each what it takes for itself; Problem(TooLarge) for too much.

    What two of them share is gone through, and written, twice.
    """

    def __init__(self, budgets: Budgets) -> None:
        self._budgets = budgets
        self.files = self.bytes = self.steps = 0

    def step(self, where: str, steps: int = 1) -> None:
        """Count how far paths were followed that lead through symlinks; `where` is the place for people."""
        self.steps += steps
        if self.steps > (most := STEPS * self._budgets.max_files):
            raise Problem(
                Reason.TooLarge,
                f"{shortened(where)}: following symlinks takes more than {most:,} steps, {STEPS} for each file of "
                f"{setting('max_files')}; use fewer or shorter ones, or raise the setting",
            )

    def add(self, where: str, size: int, files: int = 1) -> None:
        """Count so many bytes in so many files, or references to such; `where` is the place for people."""
        self.files += files
        self.bytes += size
        self._budgets.check("max_files", self.files, shortened(where) or ".", counted=False)
        self._budgets.check("max_input_size", self.bytes, shortened(where) or ".", counted=False)


class BoundedTree:
    """Counts what is listed and read in another tree, each path once; Problem(TooLarge) for what is over its budget.

    Use one for each look. A blob that is too large is refused by the tree below, which knows its size before it
    unpacks it; here it is for trees that do not.
    """

    def __init__(self, tree: Tree, budgets: Budgets) -> None:
        self._tree, self._budgets = tree, budgets
        self._listed: set[str] = set()
        self._read: set[str] = set()
        self.entries = self.bytes = 0

    def entry(self, path: str) -> Entry | None:
        """Return the entry at `path`, or None; a symlink on the way is not followed (None)."""
        self._reach(path)
        return self._tree.entry(path)

    def children(self, path: str) -> tuple[Entry, ...]:
        """Return the entries of the folder at `path`, sorted by name."""
        self._reach(path)
        found = self._tree.children(path)
        if path not in self._listed:
            self._listed.add(path)
            self.entries += len(found)
            where = path or "."
            self._budgets.check("max_folder_entries", len(found), where)
            self._budgets.check("max_files", self.entries, where, counted=False)
        return found

    def read(self, path: str) -> bytes:
        """Return the bytes of the blob (or the target of the link) at `path`."""
        self._reach(path)
        data = self._tree.read(path)
        self._budgets.check("max_file_size", len(data), path)
        if path not in self._read:
            self._read.add(path)
            self.bytes += len(data)
            self._budgets.check("max_input_size", self.bytes, path, counted=False)
        return data

    def _reach(self, path: str) -> None:
        """Refuse a path before a tree follows it: the depth of what is below it costs more with each level."""
        levels = path.count("/") + 1 if path else 0
        if levels > self._budgets.max_depth:
            self._budgets.check("max_depth", levels, shortened(path))
        if len(path) > MAX_PATH:
            raise Problem(
                Reason.TooLarge,
                f"{shortened(path)}: a path of {len(path):,} characters, more than the {MAX_PATH:,} that any system takes",
            )


def shortened(path: str) -> str:
    """Return a path for a message, the middle left out of a long one."""
    return path if len(path) <= 200 else f"{path[:100]}\N{HORIZONTAL ELLIPSIS}{path[-99:]}"
