"""What is worth a word about the manifests of a commit, though they can be used (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from setpoint.api.reasons import Reason
from setpoint.apply.placing import Places, place_of
from setpoint.plan.desired import Desired
from setpoint.plan.ignore.contracts import told_paths


@dataclass(frozen=True, slots=True)
class Note:
    """One Event for a Sync and a commit."""

    reason: Reason
    message: str


def needs_files(desired: Iterable[Desired]) -> bool:
    """Return whether there is anything to say for which the file of an object must be known."""
    return any(d.unsent or told_paths(d.id, d.manifest) for d in desired)


def notes_of(desired: Sequence[Desired], twice: Sequence[str], places: Places) -> tuple[Note, ...]:
    """Return what there is to say: one sentence for each trouble, which names the first file that has it."""
    notes: list[Note] = []
    unsent = [(d, d.unsent) for d in desired if d.unsent]
    owned = [(d, paths) for d in desired if (paths := told_paths(d.id, d.manifest))]
    for reason, found, words in (
        (Reason.ServerFields, unsent, "what the API server owns is left out"),
        (Reason.ControllerFields, owned, "what a controller owns is left to it"),
    ):
        if found:
            d, fields = found[0]
            place = place_of(places, d.id)
            text = f"{place or d.where}: {d.id.label()}: {words}: {', '.join(fields)}"
            notes.append(Note(reason, f"{text}{_more(len(found), 'object')}"))
    if twice:
        notes.append(Note(Reason.Duplicate, f"{twice[0]}; it counts once{_more(len(twice), 'document')}"))
    return tuple(notes)


def _more(count: int, what: str) -> str:
    return f" (and {count - 1} more {what}{'s' if count > 2 else ''})" if count > 1 else ""
