"""Adds the source file to what is reported about objects that a renderer made (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from setpoint.api.reasons import Problem
from setpoint.apply.result import ApplyResult
from setpoint.objects.identity import ObjectId
from setpoint.plan.desired import Desired

Places = Mapping[ObjectId, str]
"""Where objects come from, for people, by identity as rendered."""


def place_of(places: Places, oid: ObjectId) -> str | None:
    """Return where an object comes from; a renderer may leave its namespace to us."""
    return places.get(oid) or places.get(oid._replace(namespace=""))


def needs_places(result: ApplyResult, chosen: Iterable[Desired]) -> bool:
    """Return whether the result reports an object together with its file."""
    texts = (*(p.message for p in result.failed.values()), *result.warnings)
    starts = tuple({f"{d.where}: " for d in chosen})
    return any(text.startswith(starts) for text in texts)


def with_places(result: ApplyResult, chosen: Iterable[Desired], places: Places) -> ApplyResult:
    """Return the result with the source files of the objects filled in."""
    known = {d.id: (d, found) for d in chosen if (found := place_of(places, d.id))}
    failed = {
        oid: _moved(problem, *known[oid]) if oid in known else problem
        for oid, problem in result.failed.items()
    }
    warnings = tuple(
        next((w for d, at in known.values() if (w := _warned(text, d, at))), text) for text in result.warnings
    )
    return replace(result, failed=failed, warnings=warnings)


def _moved(problem: Problem, d: Desired, where: str) -> Problem:
    before = f"{d.where}: "
    if not problem.message.startswith(before):
        return problem
    return Problem(problem.reason, f"{where}: {problem.message.removeprefix(before)}", problem.retry)


def _warned(text: str, d: Desired, where: str) -> str | None:
    said = f"{d.where}: {d.id.label()}: "
    return f"{where}: {text.removeprefix(f'{d.where}: ')}" if text.startswith(said) else None
