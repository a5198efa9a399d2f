"""What a step of a Source from one commit to another leaves as it was (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from setpoint.objects.identity import SyncKey


@dataclass(frozen=True, slots=True)
class Changes:
    """The looks at the former commit that would find the same at the new one: by Sync, the id of its read set.

    None: all of them, as nothing changed.
    """

    spared: Mapping[SyncKey, str] | None

    def spares(self, sync: SyncKey, read_set: str) -> bool:
        """Return whether the last look of a Sync, if it was one, would find the same. It may have looked since they were compared."""
        if not read_set:
            return False
        return self.spared is None or self.spared.get(sync) == read_set


NOTHING = Changes(None)
EVERYTHING = Changes({})
