"""What is worth a word about the manifests of a commit, though they can be used (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from setpoint.api.reasons import Reason
from setpoint.apply.placing import place_of
from setpoint.objects.documents import Places
from setpoint.plan.desired import Desired


@dataclass(frozen=True, slots=True)
class Note:
    """One Event for a Sync and a commit."""

    reason: Reason
    message: str


def notes_of(desired: Iterable[Desired], twice: Sequence[str], places: Places) -> tuple[Note, ...]:
    """Return what there is to say: one sentence for each trouble, which names the first file that has it."""
    notes: list[Note] = []
    exported = [d for d in desired if d.unsent]
    if exported:
        d = exported[0]
        found = place_of(places, d.id)
        where, fields = found.where if found else d.where, ", ".join(d.unsent)
        text = f"{where}: {d.id.label()}: what the API server owns is left out: {fields}"
        notes.append(Note(Reason.ServerFields, f"{text}{_more(len(exported), 'object')}"))
    if twice:
        notes.append(Note(Reason.Duplicate, f"{twice[0]}; it counts once{_more(len(twice), 'document')}"))
    return tuple(notes)


def _more(count: int, what: str) -> str:
    return f" (and {count - 1} more {what}{'s' if count > 2 else ''})" if count > 1 else ""
