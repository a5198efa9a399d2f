"""What a reconcile remembers of a Sync between runs. All of it is a cache: after a restart it is rebuilt (pure).

It is made of frozen values, each with one owner: the module that is named at the field is the only one that puts
another value in its place. The others read, or hand the owner what they found.

A status holds times of the wall clock, which may be set by an hour while a rollout goes on. So a process counts for
itself from when it first saw such a time; only what is older than that is taken from the wall clock, once.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeVar

from setpoint.objects.identity import ObjectId
from setpoint.objects.json_patch import Operation
from setpoint.plan.change import Change
from setpoint.plan.desired import Ref
from setpoint.plan.drift import Baseline, Choice, Failure
from setpoint.plan.ignore import naming
from setpoint.status import build as status
from setpoint.status.conditions import progresses
from setpoint.store.loans import Loans
from setpoint.store.wants import Answers
from setpoint.syncs.target import Target

HOLD_SECONDS = 1.0
"""For how long the progress of a rollout is not told, at first and from then on."""
FIGHT_CORRECTIONS = 5
FIGHT_SECONDS = 60.0

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Superseded:
    """What nobody needs any more: digests of inputs, and read sets."""

    digests: frozenset[str] = frozenset()
    read_sets: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        """Return whether there is any."""
        return bool(self.digests or self.read_sets)


@dataclass(frozen=True, slots=True)
class Built:
    """What was found out about commits."""

    target: Target | None = None
    good: Target | None = None
    """What was applied last, completely."""
    read_set: str = ""
    """What the last look at a commit depended on, whether it led to a target or not, by the id that the worker gave it."""
    looked: tuple[str, bool, str] | None = None
    """(commit, with submodules, digest of the target) of that look; None if it led to no target."""
    rendered: frozenset[str] = frozenset()
    """Digests of the inputs whose manifests the worker may have at hand."""
    noted: frozenset[str] = frozenset()
    """Read sets that the worker may have."""

    def looking(self) -> Built:
        """Return the same while a commit is looked at: what the former look found may not hold."""
        return replace(self, read_set="", looked=None)

    def noting(self, read_set: str) -> Built:
        """Return the same with what the last look depended on."""
        return replace(self, read_set=read_set, noted=self.noted | {read_set} if read_set else self.noted)

    def released(self, *, ends: bool = False) -> tuple[Built, Superseded]:
        """Return the same, and what the worker need not keep: what neither the target nor what is enforced has any more.

        `ends`: the Sync goes, and with it all.
        """
        used = frozenset(t.inputs for t in (self.target, self.good) if t is not None and not ends)
        noted = frozenset({self.read_set} if self.read_set and not ends else ())
        superseded = Superseded((self.rendered | used) - used, self.noted - noted)
        return replace(self, rendered=used, noted=noted), superseded

    def stands(self, sha: str, *, submodules: bool) -> bool:
        """Return whether the last look was one at this commit, and found the target: another would find the same."""
        target = self.target
        return target is not None and target.sha == sha and self.looked == (sha, submodules, target.digest)

    def moved(self, former: str, sha: str) -> Built:
        """Return the same at a commit where everything is as at the former one, as the run would that has nothing else to do."""
        if former == sha:
            return self
        # Nobody looked at this one: the next run that there is does, and would mend what was missed.
        there = replace(self, looked=None)
        if self.target is None or self.target.sha != former:
            return there
        target = replace(self.target, sha=sha)
        same = self.good is not None and self.good.digest == target.digest
        return replace(there, target=target, good=target if same else self.good)


@dataclass(frozen=True, slots=True)
class Account:
    """What was written, what drifted, and what could not be written."""

    baselines: Mapping[ObjectId, Baseline] = field(default_factory=dict)
    failed: Mapping[ObjectId, Failure] = field(default_factory=dict)
    """What the user must fix is not tried again until it changes, in Git or in the cluster."""
    reported: Mapping[ObjectId, tuple[tuple[Any, ...] | None, Change, tuple[Operation, ...]]] = field(
        default_factory=dict
    )
    """With `drift: Report`: what was seen, so that the same drift costs no second dry run."""
    corrections: Mapping[ObjectId, tuple[float, ...]] = field(default_factory=dict)
    opponents: Mapping[ObjectId, str] = field(default_factory=dict)
    """Who made the last change that was corrected, as far as it is known."""
    disputed: Mapping[ObjectId, tuple[str, ...]] = field(default_factory=dict)
    """What was corrected lately, as paths that a rule of `spec.ignore` may have."""
    fights: Mapping[ObjectId, str] = field(default_factory=dict)

    @property
    def refused(self) -> Mapping[ObjectId, str]:
        """What could not be written, by the digest of its manifest."""
        return {oid: f.digest for oid, f in self.failed.items()}

    def written(self, refs: Iterable[Ref], *, whole: bool) -> Container[ObjectId]:
        """Return what of a target was written before; `whole`: all of it, even if a restart took the baselines with it."""
        return frozenset(r.id for r in refs) if whole and not self.baselines else self.baselines

    def fights_back(self, oid: ObjectId, now: float) -> float | None:
        """Return the seconds to back off from an object that was corrected over 5 times in a minute, or None."""
        times = _lately(self.corrections.get(oid, ()), now)
        return FIGHT_SECONDS - (now - times[0]) if len(times) > FIGHT_CORRECTIONS else None

    def corrected(
        self, by: Mapping[ObjectId, str], now: float, fields: Mapping[ObjectId, Sequence[str]] | None = None
    ) -> Account:
        """Count one correction of each object, with the manager who had changed it (empty if unknown) and the `fields`."""
        if not by:
            return self
        recent = {oid: _lately(self.corrections.get(oid, ()), now) for oid in by}
        opponents = {oid: who for oid, who in by.items() if who}
        disputed = {
            oid: tuple(dict.fromkeys((*(self.disputed.get(oid, ()) if recent[oid] else ()), *found)))
            for oid, found in (fields or {}).items()
        }
        return replace(
            self,
            corrections={**self.corrections, **{oid: (*times, now) for oid, times in recent.items()}},
            opponents={**self.opponents, **opponents},
            disputed={**self.disputed, **disputed},
        )

    def fight_words(self, oid: ObjectId) -> str:
        """Return who undoes the corrections of an object, of which fields, and how to leave them to that writer."""
        who, fields = self.opponents.get(oid, "another writer"), self.disputed.get(oid, ())
        where = f" at {naming.listed(fields)}" if fields else ""
        words = f"{who} undoes every correction of {oid.label()}{where}; Setpoint backs off for a minute"
        rule = naming.rule_for(oid, fields)
        return (
            f"{words}. Stop that writer, or leave it these fields by spec.ignore: {rule}" if rule else words
        )

    def backing_off(self, choice: Choice) -> Account:
        """Return the same with what is backed off from, and without what is looked at."""
        begun = {o: self.fight_words(o) for o in choice.backed_off if o not in self.fights}
        if not begun and not self.fights:
            return self
        return replace(self, fights=_without({**self.fights, **begun}, (r.id for r in choice.todo)))

    def settled(self, oids: Iterable[ObjectId]) -> Account:
        """Return the same without failures of objects that are as they should be."""
        return replace(self, failed=_without(self.failed, oids)) if self.failed else self

    def let_go(self, oids: Iterable[ObjectId]) -> Account:
        """Return the same without what was written of objects that are the Sync's no more."""
        return replace(self, baselines=_without(self.baselines, oids))


def _lately(times: Iterable[float], now: float) -> tuple[float, ...]:
    return tuple(t for t in times if now - t <= FIGHT_SECONDS)


def _without(found: Mapping[ObjectId, Found], oids: Iterable[ObjectId]) -> Mapping[ObjectId, Found]:
    gone = frozenset(oids)
    return {o: f for o, f in found.items() if o not in gone}


@dataclass(frozen=True, slots=True)
class Occasion:
    """Why something is written, and since when; it lasts until all is."""

    trigger: str = "Start"
    started: str = ""


@dataclass(frozen=True, slots=True)
class Elapsed:
    """Counts the seconds since a time."""

    at: str = ""
    began: float = 0.0

    def counting(self, at: str, now: datetime, clock: float) -> Elapsed:
        """Return what counts from `at` (RFC 3339): this, if it does; `clock`: seconds that only go forward."""
        if at == self.at:
            return self
        return Elapsed(at, clock - max(0.0, (now - datetime.fromisoformat(at)).total_seconds()))

    def seconds(self, clock: float) -> float:
        """Return the seconds since that time, never less than 0."""
        return clock - self.began


@dataclass(frozen=True, slots=True)
class Telling:
    """What was told last, and what is not yet."""

    held: Mapping[str, Any] | None = None
    """A status that is not written, because a better one may follow or the write failed: `previous` of the next run."""
    held_until: float = 0.0
    rollout: Elapsed = field(default_factory=Elapsed)
    """Since when what is applied has time to become healthy."""
    noted: str = ""
    """The digest of the target whose notes were told last."""

    def hold_back(
        self, stored: Mapping[str, Any], new: Mapping[str, Any], now: float, *, fresh: bool
    ) -> tuple[Telling, float | None]:
        """Hold a status back that only says how far a rollout is, as most end soon.

        Returns after how many seconds it is to be told at the latest, too, None if that is now. `fresh`: the run wrote
        something. `now` is in seconds of the event loop's clock.
        """
        if not status.passing(stored, new, fresh=fresh or self.held is not None):
            return self, None
        until = now + HOLD_SECONDS if self.held is None and not progresses(stored) else self.held_until
        if now >= until:
            return replace(self, held_until=now + HOLD_SECONDS), None
        return replace(self, held=new, held_until=until), until - now


@dataclass(frozen=True, slots=True)
class SeenCommit:
    """What is known to others of the commit that was evaluated last."""

    evaluated: tuple[str, int] | None = None
    """(commit, generation) that were last evaluated, whatever the result."""
    told: bool = False
    """Whether the stored status tells of the commit and generation that were last evaluated."""
    moved: tuple[str, str] | None = None
    """(from, to): the last run was at one commit, and all is the same at the other."""

    def at(self, sha: str, generation: int) -> SeenCommit:
        """Return what holds after a run that evaluated a commit."""
        now = (sha, generation)
        return SeenCommit(now, self.told and self.evaluated == now, self.moved)

    def move(self, sha: str) -> SeenCommit:
        """Return the same at a commit where everything is as before."""
        if self.evaluated is None:
            return self
        former, generation = self.evaluated
        began = self.moved[0] if self.moved is not None else former
        return replace(self, evaluated=(sha, generation), moved=(began, sha))


@dataclass(frozen=True, slots=True)
class Standing:
    """How the last run ended."""

    settled: bool = False
    """Whether a commit that touches nothing of it is no news."""
    failing: bool = False
    """Whether it is tried again by itself."""
    asked: str | None = None
    """The last request for a check that the Source was asked for."""


@dataclass(slots=True)
class Memory:
    """One Sync's cache; each field says who alone may set it."""

    built: Built = field(default_factory=Built)
    """Owner: syncs.builder."""
    seen_commit: SeenCommit = field(default_factory=SeenCommit)
    """Owner: syncs.dispatcher."""
    standing: Standing = field(default_factory=Standing)
    """Owner: syncs.reconciler."""
    inventory_known: bool = False
    """Whether the inventory is known: stored, new, or rebuilt once from labels after the status was lost.

    Owner: syncs.steps.registrar.
    """
    full_check_at: float | None = None
    """When all is looked at again. Owner: syncs.steps.convergence."""
    answers: Answers = field(default_factory=dict)
    """Whether what others own may be written. Owner: syncs.steps.wanting."""
    loans: Loans = field(default_factory=dict)
    """What it keeps for others. Owner: syncs.steps.lending."""
    account: Account = field(default_factory=Account)
    """Owner: syncs.steps.drift_log."""
    occasion: Occasion = field(default_factory=Occasion)
    """Owner: syncs.steps.object_writer."""
    telling: Telling = field(default_factory=Telling)
    """Owner: syncs.steps.reporter."""

    @property
    def rests(self) -> bool:
        """Whether nothing is left to do, and nothing tried again."""
        return self.standing.settled and not self.standing.failing

    def stands_at(self, generation: int) -> str | None:
        """Return the commit that this generation of the spec was evaluated at, unless anything is left to do there."""
        evaluated = self.seen_commit.evaluated
        if not self.standing.settled or evaluated is None or evaluated[1] != generation:
            return None
        return evaluated[0]
