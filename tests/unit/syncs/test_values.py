"""What the steps of a run hand over cannot be changed by another step."""

from __future__ import annotations

import dataclasses
import enum
import typing
from collections.abc import Iterator, Mapping
from types import NoneType, UnionType
from typing import Any

import pydantic
import pytest

from setpoint.apply.deleter import DeleteResult
from setpoint.apply.dry_run import DryRun
from setpoint.apply.result import ApplyResult
from setpoint.plan.drift import Choice
from setpoint.plan.goal import FollowUp, Goal, Situation, Written
from setpoint.plan.nested import Nested
from setpoint.plan.prune import Prune
from setpoint.render.renderer import Rendered
from setpoint.sources.check import CheckResult
from setpoint.sources.demands import Demand
from setpoint.status.announcements import RunSummary
from setpoint.status.outcome import Outcome
from setpoint.syncs.builder import Loaded
from setpoint.syncs.dispatcher import Blocker
from setpoint.syncs.run import Context, Evaluation, PruneResult, Reached
from setpoint.syncs.steps.deletion import Ending, Others
from setpoint.syncs.target import Target

VALUES = (
    Context,
    Evaluation,
    Situation,
    Goal,
    Written,
    FollowUp,
    Choice,
    DryRun,
    ApplyResult,
    DeleteResult,
    Nested,
    Prune,
    PruneResult,
    Blocker,
    Target,
    Loaded,
    Reached,
    Outcome,
    CheckResult,
    Demand,
    RunSummary,
    Others,
    Ending,
    Rendered,
)
PLAIN = (str, bytes, int, float, bool, NoneType, Any, object)


def breaches(kind: Any, at: str, seen: set[Any]) -> Iterator[str]:
    """What of a type could be changed, and where it stands."""
    origin = typing.get_origin(kind)
    if kind in PLAIN or kind in seen or kind is Ellipsis:
        return
    if origin is None and isinstance(kind, type):
        seen.add(kind)
        yield from _of_class(kind, at, seen)
    elif origin in (tuple, frozenset, Mapping, typing.Union, UnionType):
        for part in typing.get_args(kind):
            yield from breaches(part, at, seen)
    else:
        yield f"{at}: {kind}"


def _of_class(kind: type, at: str, seen: set[Any]) -> Iterator[str]:
    if issubclass(kind, (enum.Enum, BaseException)):
        return
    if dataclasses.is_dataclass(kind):
        if not kind.__dataclass_params__.frozen:  # type: ignore[attr-defined]
            yield f"{at}: {kind.__name__} is not frozen"
        hints = typing.get_type_hints(kind)
        parts = {f.name: hints[f.name] for f in dataclasses.fields(kind)}
    elif issubclass(kind, tuple):
        parts = typing.get_type_hints(kind)
    elif issubclass(kind, pydantic.BaseModel):
        if not kind.model_config.get("frozen"):
            yield f"{at}: {kind.__name__} is not frozen"
        return
    else:
        yield f"{at}: {kind.__name__} may be changed"
        return
    for name, part in parts.items():
        yield from breaches(part, f"{kind.__name__}.{name}", seen)


@pytest.mark.parametrize("kind", VALUES, ids=lambda kind: kind.__name__)
def test_what_a_step_hands_over_is_frozen_all_the_way_down(kind: type) -> None:
    assert list(breaches(kind, kind.__name__, set())) == []


@dataclasses.dataclass(frozen=True)
class _Sample:
    names: list[str]


@dataclasses.dataclass
class _Open:
    name: str


def test_the_walk_finds_what_could_be_changed() -> None:
    assert list(breaches(_Sample, "x", set())) == ["_Sample.names: list[str]"]
    assert list(breaches(_Open, "x", set())) == ["x: _Open is not frozen"]
    assert list(breaches(dict[str, int], "x", set())) == ["x: dict[str, int]"]
