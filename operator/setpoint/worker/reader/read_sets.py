"""What looks at commits depended on, and which of them a step between two commits touches (pure).

The set of paths of a look is as large as the tenant likes, so it stays here, within bounds.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Final

from setpoint.runtime.lru import Lru
from setpoint.tree.changes import ReadSet, TreeDiff

MAX_IN_ALL: Final = 64 * 2**20
"""Bytes of all read sets together."""
EACH: Final = 100
"""Bytes that one path takes beside its text."""


class ReadSets:
    """Read sets by id. One that is not known (any more) counts as touched."""

    def __init__(self, name: str, limit: int = MAX_IN_ALL) -> None:
        """`name`: which no other process has or had; the ids begin with it, and a dot.

        `limit`: bytes of all read sets together; a tenant chooses how long its paths are.
        """
        self._kept: Lru[str, ReadSet] = Lru(limit)
        self._prefix, self._count = name, itertools.count(1)

    def keep(self, read_set: ReadSet) -> str:
        """Keep what a look depended on, and return its id; safe for threads."""
        weight = EACH + sum(len(path) + EACH for path in (*read_set.paths, *read_set.folders))
        name = f"{self._prefix}.{next(self._count)}"
        self._kept.put(name, read_set, weight)
        return name

    def touched(self, changes: TreeDiff, names: Iterable[str]) -> tuple[str, ...]:
        """Return those of the read sets whose looks could find anything else now; safe for threads."""
        return tuple(n for n in names if (known := self._kept.get(n)) is None or changes.touch(known))

    def drop(self, names: Iterable[str]) -> None:
        """Forget read sets."""
        for name in names:
            self._kept.drop(name)
