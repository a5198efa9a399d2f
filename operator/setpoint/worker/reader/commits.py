"""The commits that a reader may open, by the handles of their mirrors (shell)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, Protocol

import orjson

from setpoint.api.reasons import Problem, Reason
from setpoint.git.contents.reader import Gone
from setpoint.git.contents.reading import Reading
from setpoint.git.links import Link, Pin
from setpoint.tree.protocol import Tree
from setpoint.wall.inside import Describe, Described, Linked, Links, Submodule, Told
from setpoint.wall.limits import MAX_LINKS, MAX_URL
from setpoint.wall.messages import Failed, Lost
from setpoint.wall.sizes import SIZES

MAX_TOLD: Final = 50_000
"""Commits of which it is remembered what they pin, and submodules of all of them: some MiB."""
_AROUND: Final = 32 * 1024
"""Bytes of an answer beside its items: each frame has a few."""


class Commits(Protocol):
    """Opens commits by handle; safe for threads."""

    def holds(self, handle: str, sha: str, *, submodules: bool) -> bool:
        """Return whether a commit can be read (still)."""

    def tree(self, handle: str, sha: str, *, submodules: bool) -> Tree | None:
        """Return the files of a commit, or None if it is not there. Raises Problem."""


class MirrorCommits:
    """Commits in the mirrors that this process may read, with the submodules that it was told of."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._pins: OrderedDict[tuple[str, str], tuple[Pin, ...]] = OrderedDict()
        self._count = 0

    def told(self, request: Told) -> None:
        """Remember what a commit pins, which is told again before it is needed again."""
        key = request.handle, request.sha
        self._count -= len(self._pins.pop(key, ()))
        self._pins[key] = tuple(Pin(each.path, each.handle, each.sha) for each in request.pins)
        self._count += len(self._pins[key])
        while self._count > MAX_TOLD or len(self._pins) > MAX_TOLD:
            self._count -= len(self._pins.popitem(last=False)[1])

    def holds(self, handle: str, sha: str, *, submodules: bool) -> bool:
        """Return whether a commit can be read (still)."""
        return self._reading.holds(handle, sha, self._pins if submodules else None)

    def tree(self, handle: str, sha: str, *, submodules: bool) -> Tree | None:
        """Return the files of a commit, or None if it is not there. Raises Problem."""
        if not self.holds(handle, sha, submodules=submodules):
            return None
        return self._reading.tree(handle, sha, self._pins if submodules else None)

    def describe(self, request: Describe) -> Described | Lost | Failed:
        """Say what people want to know of a commit, if all of it is there."""
        try:
            if not self.holds(request.handle, request.sha, submodules=request.submodules):
                return Lost()
            found = self._reading.commit(request.handle, request.sha)
        except Problem as problem:
            return self._failed(request.handle, request.sha, problem)
        return Described(found.subject, found.author, found.time)

    def links(self, request: Links) -> Linked | Lost | Failed:
        """List the submodules that a commit names."""
        try:
            if not self.holds(request.handle, request.sha, submodules=False):
                return Lost()
            found = self._reading.links(request.handle, request.sha)
        except Problem as problem:
            return self._failed(request.handle, request.sha, problem)
        return _linked(found)

    def _failed(self, handle: str, sha: str, problem: Problem) -> Lost | Failed:
        """Return the problem of a commit; one that is lost while it is read counts as one that was lost before."""
        gone = isinstance(problem, Gone) or not self._reading.holds(handle, sha)
        return Lost() if gone else Failed.of(problem)


def _linked(found: Sequence[Link]) -> Linked | Failed:
    """Return submodules as an answer, or why they cannot cross."""
    if len(found) > MAX_LINKS or sum(len(orjson.dumps(each)) + 1 for each in found) > SIZES[Linked] - _AROUND:
        text = f"more than {MAX_LINKS:,} submodules, or {SIZES[Linked]:,} bytes of paths and URLs; use fewer of them"
        return Failed(Reason.TooLarge, f".gitmodules: {text}")
    if long := next((each for each in found if len(each.url) > MAX_URL), None):
        text = f"submodule {long.path}: its URL is longer than {MAX_URL:,} characters"
        return Failed.of(Problem(Reason.GitFailed, text))
    return Linked(tuple(Submodule(each.path, each.url, each.sha) for each in found))
