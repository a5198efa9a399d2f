"""One desired state of a Sync: its digest, and the objects (pure data)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from setpoint.api.reasons import Problem
from setpoint.objects.identity import ObjectId
from setpoint.plan.desired import Ref
from setpoint.syncs.notes import Note


@dataclass(frozen=True, slots=True)
class Target:
    """One desired state: the inputs by digest, the same together with the spec, and the objects."""

    sha: str
    revision: str
    digest: str
    inputs: str
    """The digest of all files that the objects are made of, and of the fields of the spec that count for that."""
    refs: tuple[Ref, ...]
    skipped: int = 0
    unplaced: tuple[tuple[ObjectId, Problem], ...] = ()
    """What is in Git, too, but of a kind that is not served."""
    notes: tuple[Note, ...] = ()
    spec: Mapping[str, Any] = field(default_factory=dict)
    """These fields of the spec, as they were."""
    rendered: bool = False
    """Whether a program made objects of it, so that their files are known only if somebody asks."""

    @property
    def ids(self) -> frozenset[ObjectId]:
        """What Git has, also of kinds that are not served."""
        return frozenset((*(ref.id for ref in self.refs), *(oid for oid, _ in self.unplaced)))

    @property
    def total(self) -> int:
        """How many objects Git has."""
        return len(self.ids)

    @property
    def kinds(self) -> set[tuple[str, str]]:
        """The kinds of all objects, as (apiVersion, kind)."""
        return {(ref.api_version, ref.id.kind) for ref in self.refs}
