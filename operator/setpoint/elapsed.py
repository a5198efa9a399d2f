"""How long ago something stored was, by a clock that is never set (pure).

A status holds times of the wall clock, which may be set by an hour while a rollout goes on. So a process counts for
itself from when it first saw such a time; only what is older than that is taken from the wall clock, once.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(slots=True)
class Elapsed:
    """Counts the seconds since one time after another."""

    at: str = ""
    _begun: float = 0.0

    def since(self, at: str, now: datetime, clock: float) -> float:
        """Give the seconds since `at` (RFC 3339), never less than 0; `clock`: seconds that only go forward."""
        if at != self.at:
            age = (now - datetime.fromisoformat(at)).total_seconds()
            self.at, self._begun = at, clock - max(0.0, age)
        return clock - self._begun
