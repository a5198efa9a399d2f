"""One desired state of a Sync: the inputs, their digest, and the objects (pure data)."""

from __future__ import annotations

from dataclasses import dataclass

from setpoint.api.reasons import Problem
from setpoint.objects.identity import ObjectId
from setpoint.plan.desired import Ref
from setpoint.render.inputs import Inputs
from setpoint.syncs.notes import Note


@dataclass(frozen=True, slots=True)
class Target:
    """One desired state: the inputs, their digest together with the spec, and the objects."""

    sha: str
    revision: str
    digest: str
    inputs: Inputs
    refs: tuple[Ref, ...]
    skipped: int = 0
    unplaced: tuple[tuple[ObjectId, Problem], ...] = ()
    """What is in Git, too, but of a kind that is not served."""
    notes: tuple[Note, ...] = ()

    @property
    def ids(self) -> frozenset[ObjectId]:
        """What Git has, also of kinds that are not served."""
        return frozenset((*(ref.id for ref in self.refs), *(oid for oid, _ in self.unplaced)))

    @property
    def total(self) -> int:
        """How many objects Git has."""
        return len(self.refs) + len(self.unplaced)

    @property
    def kinds(self) -> set[tuple[str, str]]:
        """The kinds of all objects, as (apiVersion, kind)."""
        return {(ref.api_version, ref.id.kind) for ref in self.refs}
