"""Groups objects that failed by what they have in common, so that one cause is told once (pure)."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Sequence

from setpoint.api.reasons import Reason
from setpoint.plan.order import is_crd, is_namespace
from setpoint.status.outcome import ObjectState

_WORD = re.compile(r"\w(?:[\w.-]*\w)?")
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
    """Return those that failed for the commonest cause, in order; of causes as common as each other the first's.

    What fails only because another of these did is no cause, however often it is said.
    """
    return alike_in(_roots(failed), lambda s: (str(s.reason), _cause(s)))


def _cause(s: ObjectState) -> str:
    """Return what is wrong without the name of the object, which policies like to repeat."""
    words = parted(s, "")[1]
    if s.id.name not in words:
        return words
    return _WORD.sub(lambda found: "" if found[0] == s.id.name else found[0], words)


def _roots(failed: Sequence[ObjectState]) -> Sequence[ObjectState]:
    """Return the objects without those of a Namespace, or of a kind, that itself was rejected."""
    namespaces = {s.id.name for s in failed if is_namespace(s.id)}
    groups = {s.id.name.partition(".")[2] for s in failed if is_crd(s.id)} - {""}

    def follows(s: ObjectState) -> bool:
        if s.reason is Reason.NamespaceMissing:
            return s.id.namespace in namespaces
        return s.id.group in groups and s.reason in (Reason.KindUnknown, Reason.Invalid) and not is_crd(s.id)

    return [s for s in failed if not follows(s)]


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
