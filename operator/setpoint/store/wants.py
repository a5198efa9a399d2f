"""Decides which wants count: those of a Sync whose identity may write what another Sync owns (pure).

Whether it may is asked by a dry run, once for each object, commit and owner. A Forbidden one is asked again, later and
later, and so is one that was not answered. Until then neither keeps anything for a Sync of another namespace: whoever asks so often that he is answered 429 must gain nothing by that.
Within a namespace it does for a while, as a commit may move an object and bring the right for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from setpoint.api.reasons import Problem, Reason
from setpoint.objects.identity import ObjectId, SyncKey
from setpoint.objects.observed import Observed

SIBLING_SECONDS: Final = 300.0
"""For how long a Forbidden want counts between Syncs of one namespace."""
FIRST_PAUSE: Final = 10.0
LONGEST_PAUSE: Final = 600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a dry run said: for which commit (`digest` of the target), and whose the object was then.

    `refused` is None if the object may be written, as far as anybody says; `since` is when it was Forbidden first, `again`
    when it is to be asked again (both in seconds of the event loop's clock), `pause` how long that is. `silent`: why nobody
    answered, where nothing was said before.
    """

    digest: str
    owner: SyncKey
    refused: Problem | None = None
    since: float = 0.0
    again: float | None = None
    pause: float = 0.0
    silent: Problem | None = None

    def about(self, digest: str, owner: SyncKey) -> bool:
        """Return whether it was asked for this commit and owner."""
        return self.digest == digest and self.owner == owner

    def counts(self, key: SyncKey, now: float) -> bool:
        """Return whether the want of the Sync `key` counts."""
        if self.refused is None:
            return self.holds_back(key) is None
        return self.owner.namespace == key.namespace and now < self.since + SIBLING_SECONDS

    def holds_back(self, key: SyncKey) -> Problem | None:
        """Return why the Sync `key` leaves the object alone: it is Forbidden, or of another namespace and nobody says."""
        return self.refused or (self.silent if self.owner.namespace != key.namespace else None)


Answers = Mapping[ObjectId, Answer]


def unanswered(
    digest: str, held: Mapping[ObjectId, SyncKey], answers: Answers, now: float
) -> frozenset[ObjectId]:
    """Return what of the objects that others hold is to be asked for now; `held` names the other Sync."""
    return frozenset(o for o, owner in held.items() if not _stands(answers.get(o), digest, owner, now))


def _stands(answer: Answer | None, digest: str, owner: SyncKey, now: float) -> bool:
    if answer is None or not answer.about(digest, owner):
        return False
    return answer.again is None or now < answer.again


def heard(
    digest: str,
    held: Mapping[ObjectId, SyncKey],
    answers: Answers,
    found: Mapping[ObjectId, Problem | None],
    now: float,
) -> Answers:
    """Return the answers with those that were `found`: None, that an object is Forbidden, or that nobody says.

    What is held no more is forgotten.
    """
    kept = {o: a for o, a in answers.items() if o in held}
    return kept | {o: _answer(digest, held[o], kept.get(o), p, now) for o, p in found.items() if o in held}


def _answer(digest: str, owner: SyncKey, before: Answer | None, found: Problem | None, now: float) -> Answer:
    if found is None:
        return Answer(digest, owner)
    asked = before if before is not None and before.about(digest, owner) else Answer(digest, owner)
    pause = min(LONGEST_PAUSE, 2 * asked.pause) or FIRST_PAUSE
    asked = replace(asked, again=now + pause, pause=pause)
    if found.reason is not Reason.Forbidden:
        return asked if asked.refused else replace(asked, silent=found)  # what was said before stands
    return replace(asked, silent=None, refused=found, since=now if asked.refused is None else asked.since)


@dataclass(frozen=True, slots=True)
class Wants:
    """What a Sync's desire for what others hold comes to.

    `contested`: it may write them, and another Sync owns them. `refused`: it may not, or nobody says and another namespace holds them; it is told nothing else of them.
    `counting`: others keep them for it; of these only its own namespace what is `near`, as nobody said that it may be written. `again`: after how many seconds this is to be decided anew.
    """

    contested: Mapping[ObjectId, SyncKey]
    refused: Mapping[ObjectId, Problem]
    counting: frozenset[ObjectId]
    again: float | None = None
    near: frozenset[ObjectId] = frozenset()


def decided(
    key: SyncKey,
    owned: Mapping[ObjectId, SyncKey],
    held: Mapping[ObjectId, SyncKey],
    answers: Answers,
    now: float,
) -> Wants:
    """Decide about what others own and hold; each object of it was asked for.

    `held` names for each object that others own or have lent one of them, `owned` those alone that others own.
    """
    refused = {
        o: p for o in held if (a := answers.get(o)) is not None and (p := a.holds_back(key)) is not None
    }
    counting = frozenset(o for o in held if (a := answers.get(o)) is not None and a.counts(key, now))
    asked = (answers[o] for o in held if o in answers)
    again = min((t for a in asked if (t := _next(key, a, now)) is not None), default=None)
    contested = {o: owner for o, owner in owned.items() if o not in refused}
    near = frozenset(o for o in counting if answers[o].refused or answers[o].silent)
    return Wants(contested, refused, counting, None if again is None else max(0.0, again - now), near)


def never_written(
    inventory: Iterable[ObjectId],
    forbidden: Collection[ObjectId],
    untried: Collection[ObjectId],
    look: Callable[[ObjectId], Observed | None],
    unwatched: Callable[[ObjectId], bool],
    me: SyncKey,
) -> frozenset[ObjectId]:
    """Return what of an inventory is let go: the identity may not write it, and what is there does not name this Sync.

    Where a kind is not watched (now) nobody knows what is there: only what was never tried before goes. What names the
    Sync was written, though a crash may have kept that from being told.
    """
    refused = [o for o in inventory if o in forbidden]
    mine = {o for o in refused if (seen := look(o)) is not None and seen.owner == me}
    gone = (o for o in refused if o in untried or is_strange(o, look, unwatched, me))
    return frozenset(o for o in gone if o not in mine)


def is_strange(
    oid: ObjectId,
    look: Callable[[ObjectId], Observed | None],
    unwatched: Callable[[ObjectId], bool],
    me: SyncKey,
) -> bool:
    """Return whether it is certain that an object is not there, or does not name this Sync."""
    return not unwatched(oid) and ((seen := look(oid)) is None or seen.owner != me)


def _next(key: SyncKey, answer: Answer, now: float) -> float | None:
    """Return when a want is asked for again, or counts no more."""
    if answer.refused is None:
        return answer.again
    end = answer.since + SIBLING_SECONDS
    ends = answer.counts(key, now) and (answer.again is None or end < answer.again)
    return end if ends else answer.again
