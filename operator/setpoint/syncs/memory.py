"""What a reconcile remembers of a Sync between runs. All of it is a cache: after a restart it is rebuilt (pure).

A status holds times of the wall clock, which may be set by an hour while a rollout goes on. So a process counts for
itself from when it first saw such a time; only what is older than that is taken from the wall clock, once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from setpoint.objects.identity import ObjectId
from setpoint.objects.json_patch import Operation
from setpoint.plan.change import Change
from setpoint.plan.drift import Baseline, Failure
from setpoint.status import build as status
from setpoint.status.conditions import progresses
from setpoint.syncs.target import Target
from setpoint.tree.changes import ReadSet, TreeDiff


@dataclass(slots=True)
class Elapsed:
    """Counts the seconds since one time after another."""

    at: str = ""
    _begun: float = 0.0

    def since(self, at: str, now: datetime, clock: float) -> float:
        """Return the seconds since `at` (RFC 3339), never less than 0; `clock`: seconds that only go forward."""
        if at != self.at:
            age = (now - datetime.fromisoformat(at)).total_seconds()
            self.at, self._begun = at, clock - max(0.0, age)
        return clock - self._begun


HOLD_SECONDS = 1.0
"""For how long the progress of a rollout is not told, at first and from then on."""
FIGHT_CORRECTIONS = 5
FIGHT_SECONDS = 60.0


@dataclass(slots=True)
class Memory:
    """One Sync's cache."""

    baselines: dict[ObjectId, Baseline] = field(default_factory=dict)
    target: Target | None = None
    good: Target | None = None
    evaluated: tuple[str, int] | None = None
    """(commit, generation) that were last evaluated, whatever the result."""
    told: bool = False
    """Whether the stored status tells of the commit and generation that were last evaluated."""
    held: Mapping[str, Any] | None = None
    """A status that is not written, because a better one may follow or the write failed: `previous` of the next run."""
    held_until: float = 0.0
    read_set: ReadSet | None = None
    """What the last look at a commit depended on, whether it led to a target or not."""
    looked: tuple[str, bool, str] | None = None
    """(commit, with submodules, digest of the target) of that look; None if it led to no target."""
    settled: bool = False
    """Whether a commit that touches nothing of it is no news."""
    failing: bool = False
    """Whether it is tried again by itself."""
    failed: dict[ObjectId, Failure] = field(default_factory=dict)
    """What the user must fix is not tried again until it changes, in Git or in the cluster."""
    reported: dict[ObjectId, tuple[tuple[Any, ...] | None, Change, tuple[Operation, ...]]] = field(
        default_factory=dict
    )
    """With `drift: Report`: what was seen, so that the same drift costs no second dry run."""
    detected: dict[ObjectId, str] = field(default_factory=dict)
    corrections: dict[ObjectId, deque[float]] = field(default_factory=dict)
    full_check_at: float | None = None
    trigger: str = "Start"
    asked: str | None = None
    started: str = ""
    known: bool = False
    noted: str = ""
    """The digest of the target whose notes were told last."""
    """Whether the inventory is known: stored, new, or rebuilt once from labels after the status was lost."""
    fights: dict[ObjectId, str] = field(default_factory=dict)
    opponents: dict[ObjectId, str] = field(default_factory=dict)
    """Who made the last change that was corrected, as far as it is known."""
    rendered: set[str] = field(default_factory=set)
    """Digests of the inputs whose manifests may be at hand."""
    rollout: Elapsed = field(default_factory=Elapsed)
    """Since when what is applied has time to become healthy."""

    def hold_back(
        self, stored: Mapping[str, Any], new: Mapping[str, Any], now: float, *, fresh: bool
    ) -> float | None:
        """Hold a status back that only says how far a rollout is, as most end soon.

        Returns after how many seconds it is to be told at the latest, None if that is now. `fresh`: the run wrote
        something. `now` is in seconds of the event loop's clock.
        """
        if not status.passing(stored, new, fresh=fresh or self.held is not None):
            return None
        if self.held is None and not progresses(stored):
            self.held_until = now + HOLD_SECONDS
        if now >= self.held_until:
            self.held_until = now + HOLD_SECONDS
            return None
        self.held = new
        return self.held_until - now

    def ended(self, *, settled: bool, failing: bool, complete: bool) -> None:
        """Note how a run ended, once that was told."""
        self.settled, self.failing = settled, failing
        if complete:
            self.started, self.trigger = "", "Commit"

    def superseded(self, *, ends: bool = False) -> set[str]:
        """Return the digests of inputs that neither the target nor what is enforced has any more; all where the Sync `ends`."""
        used = {t.inputs.digest for t in (self.target, self.good) if t is not None and not ends}
        gone, self.rendered = (self.rendered | used) - used, used
        return gone

    @property
    def rests(self) -> bool:
        """Whether nothing is left to do, and nothing tried again."""
        return self.settled and not self.failing

    def stands_at(self, generation: int) -> str | None:
        """Return the commit that this generation of the spec was evaluated at, unless anything is left to do there."""
        if not self.settled or self.evaluated is None or self.evaluated[1] != generation:
            return None
        return self.evaluated[0]

    def stands(self, sha: str, *, submodules: bool) -> bool:
        """Return whether the last look was one at this commit, and found the target: another would find the same."""
        target = self.target
        return target is not None and target.sha == sha and self.looked == (sha, submodules, target.digest)

    def skips(self, changes: TreeDiff) -> bool:
        """Return whether a look at a commit with these changes would find what the last look found."""
        return self.read_set is not None and not changes.touch(self.read_set)

    def move(self, sha: str) -> None:
        """Note a commit where everything is as before, as the run would that has nothing else to do."""
        if self.evaluated is None:
            return
        former, generation = self.evaluated
        self.looked = (
            None  # nobody looked at this one: the next run that there is does, and would mend what was missed
        )
        if self.target is not None and self.target.sha == former:
            same = self.good is not None and self.good.digest == self.target.digest
            self.target = replace(self.target, sha=sha)
            self.good = self.target if same else self.good
        self.evaluated = (sha, generation)

    def fights_back(self, oid: ObjectId, now: float) -> float | None:
        """Return the seconds to back off from an object that was corrected over 5 times in a minute, or None."""
        times = self.corrections.get(oid)
        if not times:
            return None
        while times and now - times[0] > FIGHT_SECONDS:
            times.popleft()
        return FIGHT_SECONDS - (now - times[0]) if len(times) > FIGHT_CORRECTIONS else None

    def corrected(self, oid: ObjectId, now: float, by: str) -> None:
        """Count one correction of what a manager (`by`; empty if unknown) had done."""
        self.corrections.setdefault(oid, deque()).append(now)
        if by:
            self.opponents[oid] = by

    def fight_words(self, oid: ObjectId) -> str:
        """Return who undoes the corrections of an object."""
        who = self.opponents.get(oid, "another writer")
        return f"{who} undoes every correction of {oid.label()}; Setpoint backs off for a minute"
