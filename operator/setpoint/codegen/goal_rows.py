"""The cases of `plan.goal` in words: one list for docs/concepts.md and for the table test (data)."""

from __future__ import annotations

from dataclasses import dataclass

from setpoint.api.sync import Drift
from setpoint.plan.goal import Commit, FollowUp, Goal, Situation, Written


@dataclass(frozen=True, slots=True)
class Row:
    """One case: its id, the situation and what is done, both as values and in words."""

    id: str
    situation: Situation | Written
    words: str
    goal: Goal | FollowUp
    does: str


_LAST = "corrects drift from what was applied last; writes nothing new, deletes nothing"
_WRITES = "writes what differs from the commit"
_LOOKS = "reports the state of the objects; writes none"

ROWS: tuple[Row, ...] = (
    Row("suspended", Situation(suspended=True), "the Sync is suspended", Goal.LOOK, _LOOKS),
    Row(
        "suspended-change",
        Situation(suspended=True, changed=True),
        "the Sync is suspended, and the commit is new",
        Goal.LOOK,
        _LOOKS,
    ),
    Row(
        "suspended-lost",
        Situation(suspended=True, commit=Commit.LOST),
        "the Sync is suspended, and its commit is not in the cache",
        Goal.LOOK,
        _LOOKS,
    ),
    Row(
        "lost",
        Situation(commit=Commit.LOST),
        "the commit is not in the cache (a restart), and is being fetched",
        Goal.COMPARE,
        "if the fetch fails: reports an object that differs from what was last known to be good; writes nothing",
    ),
    Row(
        "broken",
        Situation(commit=Commit.BROKEN),
        "the commit cannot be rendered, or there is none",
        Goal.ENFORCE,
        _LAST,
    ),
    Row(
        "broken-unknown",
        Situation(commit=Commit.BROKEN, recalled=False),
        "the same, and the state that was applied last is not known",
        Goal.LOOK,
        _LOOKS,
    ),
    Row(
        "broken-report",
        Situation(commit=Commit.BROKEN, drift=Drift.REPORT),
        "the commit cannot be rendered, with `drift: Report`",
        Goal.LOOK,
        _LOOKS,
    ),
    Row(
        "dependency",
        Situation(changed=True, dependency="Sync a/b is not Ready yet"),
        "the commit is new, and a Sync of `dependsOn` is not Ready or has not seen it",
        Goal.WAIT,
        "waits; corrects drift from what was applied last; hands over what left Git and another Sync wants",
    ),
    Row(
        "dependency-no-change",
        Situation(dependency="Sync a/b is not Ready yet"),
        "a Sync of `dependsOn` is not Ready, but nothing is new",
        Goal.CONVERGE,
        "corrects drift: a dependency delays only what is new",
    ),
    Row("change", Situation(changed=True), "the commit is new", Goal.CONVERGE, _WRITES),
    Row(
        "no-change",
        Situation(),
        "nothing is new",
        Goal.CONVERGE,
        "corrects drift; writes nothing if there is none",
    ),
    Row(
        "no-change-report",
        Situation(drift=Drift.REPORT),
        "nothing is new, with `drift: Report`",
        Goal.CONVERGE,
        "reports drift, and does not correct it",
    ),
    Row(
        "after-all",
        Written(),
        "after writing: everything is written",
        FollowUp(prune=True),
        "prunes what left Git, within the limits below",
    ),
    Row(
        "after-waiting",
        Written(deferred=True),
        "after writing: objects wait for their turn (a wave, a kind, a namespace)",
        FollowUp(),
        "hands over what left Git and another Sync wants; the rest stays",
    ),
    Row(
        "after-contested",
        Written(contested=True),
        "after writing: some objects still belong to another Sync",
        FollowUp(),
        "hands over what left Git and another Sync wants, so that two Syncs that exchange objects do not wait for each other",
    ),
    Row(
        "after-failed",
        Written(failed=True),
        "after writing: objects were rejected, and no other state was applied before",
        FollowUp(lend=False),
        "completes handovers that have begun, and begins no others: the commit may be reverted",
    ),
    Row(
        "after-failed-superseded",
        Written(failed=True, superseded=True),
        "after writing: objects were rejected, and another state was applied before",
        FollowUp(enforce=True, lend=False),
        "the same, and corrects drift from that state",
    ),
)
"""In the order of the page."""
