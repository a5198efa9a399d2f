"""Groups objects that failed by what they have in common, so that one cause is told once (pure)."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence

from setpoint.status.outcome import ObjectState

_PLACE = re.compile(r"(?P<where>[^\n]*?:\d+): ")


def parted(s: ObjectState, home: str) -> tuple[str, str]:
    """Return where an object stands with its name, and what is wrong without both."""
    words = s.message or (s.verdict.message if s.verdict else "")
    found = _PLACE.match(words)
    where, rest = (f"{found['where']}: ", words[found.end() :]) if found else ("", words)
    for label in (s.id.label(), s.id.label(home)):
        if rest.startswith(f"{label}: "):
            return f"{where}{label}", rest[len(label) + 2 :]
    return f"{where}{s.id.label(home)}", rest


def most_alike(failed: Sequence[ObjectState]) -> Sequence[ObjectState]:
    """Return those that failed for the commonest cause, in order; of causes as common as each other the first's."""
    return alike_in(failed, lambda s: (str(s.reason), parted(s, "")[1]))


def alike_in(
    states: Sequence[ObjectState], cause: Callable[[ObjectState], Hashable]
) -> Sequence[ObjectState]:
    """Return the largest group of objects with the same cause, in order."""
    groups: dict[Hashable, list[ObjectState]] = {}
    for s in sorted(states, key=lambda s: s.id):
        groups.setdefault(cause(s), []).append(s)
    return max(groups.values(), key=len)  # the first of several largest


def some_of(alike: Sequence[ObjectState], all_of_them: Sequence[ObjectState]) -> str:
    """Return how many of the counted objects a cause is about, or nothing if it is about all."""
    return "" if len(alike) == len(all_of_them) else f", {len(alike)} of them"
