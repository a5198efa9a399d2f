"""Decides the goal of a run, and what follows after the objects were written (pure).

In: a `Situation`, the plain facts that were gathered. Out: a `Goal`; after writing, `follow_up` says what becomes of
what left Git. The section "What a run does" of docs/concepts.md lists every case.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from setpoint.api.sync import Drift


class Commit(StrEnum):
    """What is known of the commit that the Sync must equal."""

    KNOWN = "known"
    BROKEN = "broken"
    """There is none, or it cannot be rendered."""
    LOST = "lost"
    """The cache lost it, and it is being fetched again."""


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known before anything is written."""

    suspended: bool = False
    commit: Commit = Commit.KNOWN
    changed: bool = False
    """Whether the commit asks for something else than what was applied last."""
    dependency: str = ""
    """Which Sync of `dependsOn` is not ready, in words."""
    recalled: bool = True
    """Whether the manifests that were applied last are known."""
    drift: Drift = Drift.CORRECT


class Goal(StrEnum):
    """The goal of a run."""

    CONVERGE = "converge"
    """Write what differs from the commit."""
    WAIT = "wait"
    """Write nothing new; enforce what was applied last, and hand over what left Git."""
    ENFORCE = "enforce"
    """Correct drift from what was applied last; nothing new is written and nothing goes."""
    LOOK = "look"
    """Report how the objects are, and write none."""
    COMPARE = "compare"
    """Report what differs from when all was well, and write nothing."""


def goal(s: Situation) -> Goal:
    """Return the goal of a run."""
    if s.suspended:
        return Goal.LOOK
    if s.commit is Commit.LOST:
        return Goal.COMPARE
    if s.commit is Commit.BROKEN:
        return Goal.ENFORCE if enforces(s) else Goal.LOOK
    return Goal.WAIT if s.changed and s.dependency else Goal.CONVERGE


def enforces(s: Situation) -> bool:
    """Return whether drift from what was applied last is corrected while that is not what the commit asks for."""
    return s.recalled and s.drift is Drift.CORRECT


@dataclass(frozen=True, slots=True)
class Written:
    """How far the commit was brought: what was rejected, what waits for its turn, and what another Sync owns."""

    failed: bool = False
    deferred: bool = False
    contested: bool = False
    superseded: bool = False
    """Whether what was applied last is known, and is another state than this commit's."""


@dataclass(frozen=True, slots=True)
class FollowUp:
    """What follows a write: `enforce` the last state; `prune` what left Git, or only hand it over.

    `lend`: whether another Sync may be offered what it was not offered before.
    """

    enforce: bool = False
    prune: bool = False
    lend: bool = True


def follow_up(w: Written) -> FollowUp:
    """Return what follows a write of the commit."""
    if w.failed:
        return FollowUp(enforce=w.superseded, lend=False)
    return FollowUp(prune=not w.deferred and not w.contested)
