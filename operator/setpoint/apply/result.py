"""The result of a run of the applier (data)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from setpoint.api.reasons import Problem
from setpoint.objects.identity import ObjectId
from setpoint.plan.change import Change
from setpoint.plan.drift import Baseline

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """The result: objects `written` or `unchanged`, `failed` and `deferred` ones with the reason, and what they wait for."""

    written: tuple[Change, ...] = ()
    unchanged: tuple[ObjectId, ...] = ()
    failed: Mapping[ObjectId, Problem] = field(default_factory=dict)
    deferred: Mapping[ObjectId, str] = field(default_factory=dict)
    waiting: Problem | None = None
    baselines: Mapping[ObjectId, Baseline] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def transient(self) -> bool:
        """Whether another try may come to more, though nobody changes anything that is watched."""
        return any(p is not None and p.transient for p in (*self.failed.values(), self.waiting))

    def __or__(self, later: ApplyResult) -> ApplyResult:
        """Return both results as one."""
        return merged((self, later))


def merged(results: Sequence[ApplyResult]) -> ApplyResult:
    """Return several results as one, earlier ones first; of the things they wait for the first is reported."""
    return ApplyResult(
        tuple(c for r in results for c in r.written),
        tuple(o for r in results for o in r.unchanged),
        united(r.failed for r in results),
        united(r.deferred for r in results),
        next((r.waiting for r in results if r.waiting is not None), None),
        united(r.baselines for r in results),
        tuple(w for r in results for w in r.warnings),
    )


def united(maps: Iterable[Mapping[ObjectId, V]]) -> Mapping[ObjectId, V]:
    """Return the entries of all; of two for one object the later counts."""
    return {oid: value for each in maps for oid, value in each.items()}
