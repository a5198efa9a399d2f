"""The commits of all mirrors that a process may read, by handles (shell, safe for threads).

It knows no login, so what a commit pins as submodules is told to it (`links.Pins`). It writes nothing below the mirrors, and
holds the lock of a generation only while that is the one to read.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from weakref import WeakValueDictionary

from setpoint.api.budgets import Budgets
from setpoint.api.reasons import Problem, Reason
from setpoint.git.contents.objects import quiet
from setpoint.git.contents.reader import Commit, Gone, MirrorTree, Reader
from setpoint.git.contents.submodules import links_in
from setpoint.git.links import Link, Pin, Pins
from setpoint.git.mirror import mirror_at
from setpoint.runtime.lru import Lru
from setpoint.tree.protocol import Tree

MAX_READERS = 64
MAX_DAMAGED = 1_000  # generations of which it is remembered that they cannot be read
MAX_LISTED = 16 * 2**20  # bytes of remembered lists of submodules, about
LISTED = 200  # of a submodule beside its path and URL


class Reading:
    """All reading of mirrors in this process."""

    def __init__(self, mirrors: Path, budgets: Budgets, damaged: Callable[[str], None]) -> None:
        """`mirrors`: the folder of all mirrors. `damaged` is told the handle of one whose current generation cannot be read."""
        self._folder, self._budgets, self._tell = mirrors, budgets, damaged
        self._readers: OrderedDict[str, Reader] = OrderedDict()
        self._trees: WeakValueDictionary[tuple[str, str, bool], MirrorTree] = WeakValueDictionary()
        self._listed: Lru[tuple[str, str], tuple[Link, ...]] = Lru(MAX_LISTED)
        self._damaged: Lru[Path, bool] = Lru(MAX_DAMAGED)
        self._lock = threading.RLock()
        quiet()

    def holds(self, handle: str, sha: str, pins: Pins | None = None) -> bool:
        """Return whether a commit, and all that it pins if that is told, can be read. Raises Problem where `pins` lacks some."""
        return all(self._holds(*each) for each in _reached(handle, sha, pins))

    def commit(self, handle: str, sha: str) -> Commit:
        """Return what a commit says of itself. Raises Problem(GitFailed), also where it is not there."""
        with self._lock:
            return self._reading(handle, sha).commit(sha)

    def links(self, handle: str, sha: str) -> tuple[Link, ...]:
        """Return what a commit pins as submodules. Raises Problem. Nobody else waits while it is read: it may be long."""
        known = self._listed.get((handle, sha))
        if known is None:
            known = links_in(self._tree(handle, sha, None), self._budgets)
            size = sum(len(each.path) + len(each.url) + LISTED for each in known)
            self._listed.put((handle, sha), known, size + LISTED)
        return known

    def tree(self, handle: str, sha: str, pins: Pins | None = None) -> Tree:
        """Return the files of a commit, with those of its submodules if it is told what those are; safe for threads.

        Raises Problem(GitFailed) where one is not there, or `pins` lacks some.
        """
        return self._tree(handle, sha, pins).look()

    def close(self) -> None:
        """Close all mirrors."""
        with self._lock:
            for reader in self._readers.values():
                reader.close()
            self._readers.clear()

    def _holds(self, handle: str, sha: str) -> bool:
        with self._lock:
            reader = self._reader(handle)
            return reader is not None and reader.holds(sha)

    def _reader(self, handle: str) -> Reader | None:
        """Return the open mirror, opened again if it was replaced or wiped."""
        reader = self._readers.get(handle)
        if reader is not None and reader.fresh and not self._damaged.get(reader.generation):
            self._readers.move_to_end(handle)
            return reader
        self._readers.pop(handle, None)
        mirror = mirror_at(self._folder, handle)
        generation = mirror.current()
        if generation is not None and self._damaged.get(generation):
            self._tell(handle)  # again: what is told unasked may be lost
            return None
        if generation is None:
            return None

        def damaged(place: Path) -> None:
            self._damaged.put(place, True)  # until somebody who may write has replaced it
            if mirror.reads(str(place)):
                self._tell(handle)

        found = Reader.open(mirror, generation, self._budgets, damaged=damaged)
        if found is not None:
            self._readers[handle] = found
            self._close_surplus()
        return found

    def _reading(self, handle: str, sha: str) -> Reader:
        with self._lock:
            reader = self._reader(handle)
            if reader is None or not reader.holds(sha):
                raise Gone(
                    Reason.GitFailed, f"commit {sha[:7]} is not in the cache; it is fetched again", retry=True
                )
            return reader

    def _tree(self, handle: str, sha: str, pins: Pins | None) -> MirrorTree:
        with self._lock:
            known = self._trees.get(self._tree_key(handle, sha, pins))
        if known is not None:
            return known
        parts = _pinned(handle, sha, pins) if pins is not None else ()
        inner = {each.path: self._tree(each.handle, each.sha, pins) for each in parts}
        with self._lock:
            key = self._tree_key(handle, sha, pins)
            tree = self._trees.get(key)
            if tree is None:
                tree = self._trees[key] = MirrorTree(self._reading(handle, sha), sha, inner)
            return tree

    def _tree_key(self, handle: str, sha: str, pins: Pins | None) -> tuple[str, str, bool]:
        # Which commits one pins follows from its text and its own URL and login, so it is the same for ever.
        return str(self._reading(handle, sha).generation), sha, pins is not None

    def _close_surplus(self) -> None:
        """Close readers without trees in use, the one used longest ago first, until there are few enough."""
        for handle in list(self._readers):
            if len(self._readers) <= MAX_READERS:
                return
            if not len(self._readers[handle].trees):
                self._readers.pop(handle).close()


def _reached(handle: str, sha: str, pins: Pins | None) -> Iterator[tuple[str, str]]:
    """Return a commit and all that it pins, each once."""
    found = {(handle, sha)}
    level = [(handle, sha)]
    while level:
        here = level.pop()
        yield here
        for each in _pinned(*here, pins) if pins is not None else ():
            if (each.handle, each.sha) not in found:
                found.add((each.handle, each.sha))
                level.append((each.handle, each.sha))


def _pinned(handle: str, sha: str, pins: Pins) -> tuple[Pin, ...]:
    try:
        return pins[handle, sha]
    except KeyError:
        words = f"what commit {sha[:7]} pins as submodules is not told; it is asked again"
        raise Problem(Reason.GitFailed, words, retry=True) from None
