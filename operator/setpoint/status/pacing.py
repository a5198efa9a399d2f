"""Decides when to run a Sync again although no event asks for it (pure).

In: seconds of the event loop's clock. Out: seconds from now, or None for never. Never 0: something keeps the work from
being done now, so running again at once would loop for ever.
"""

from __future__ import annotations

from typing import Final

SHORTEST: Final = 1.0


def rollout(waited: float, timeout: float, *, complete: bool) -> float | None:
    """Return when a rollout runs out of time. Only a run whose writes are complete reports it; for others it has passed."""
    left = timeout - waited
    return max(SHORTEST, left) if complete or left > 0 else None


def safety_net(due: float, now: float, interval: float) -> float:
    """Return when all is compared again. A check that is due and could not be done has to wait one more interval.

    It stays due: whatever lifts the hindrance (a commit, a dependency, the spec) wakes the Sync, and has it done.
    """
    return max(SHORTEST, due - now if due > now else interval)
