"""When an object is looked at of a kind that may not be watched (pure)."""

from __future__ import annotations

from setpoint.health.verdict import Health
from setpoint.objects.observed import Observed
from setpoint.plan.endings.ending import Ending

OFTEN = 15.0
"""Seconds between two looks at an object that is not healthy yet, or whose end is due."""


def is_due(seen: Observed | None, ending: Ending | None, now: int) -> bool:
    """Return whether it must be known now whether an object is there, and how it is; `now`: seconds since 1970.

    What has an end of its own may be gone when that is due, and after a restart nobody knows whether it is.
    """
    if seen is None:
        return ending is not None and not ending.gone
    due = seen.end.due if seen.end is not None else None
    return seen.verdict.health is Health.Progressing or (due is not None and due <= now)


def again(seen: Observed | None, now: int) -> float | None:
    """Return after how many seconds an object is looked at again, None if nothing but the interval asks for it."""
    if seen is None:
        return None
    if seen.verdict.health is Health.Progressing:
        return OFTEN
    due = seen.end.due if seen.end is not None else None
    if due is None:
        return None
    return float(due + 1 - now) if due > now else OFTEN
