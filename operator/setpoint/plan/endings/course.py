"""What becomes of objects that end by themselves: they run, they finish, they are done, or were deleted too soon (pure)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Mapping
from dataclasses import dataclass, replace

from setpoint.health.ends.end import SLACK, End, end_of, may_end
from setpoint.health.verdict import Verdict
from setpoint.objects.identity import Manifest, ObjectId
from setpoint.objects.observed import Departure, Observed
from setpoint.plan.desired import Desired, Ref
from setpoint.plan.endings.ending import DIGITS, LONGEST_WORDS, Ending, State


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known now: what is live, how objects went, which manifest (by digest) is written; seconds since 1970."""

    look: Callable[[ObjectId], Observed | None]
    departed: Mapping[ObjectId, Departure]
    written: Callable[[ObjectId], str | None]
    known: Callable[[ObjectId], bool]
    """Whether an object that is not live is gone: of a kind that may not be watched, or is not served, nobody knows."""
    now: int


def courses(
    before: Mapping[ObjectId, Ending],
    wanted: Collection[Ref] | None,
    facts: Facts,
    stays: Container[ObjectId] = frozenset(),
) -> dict[ObjectId, Ending]:
    """Return how far each object is that ends by itself.

    `wanted`: what is aimed at or enforced, both where they differ; None where nobody knows, and all of `before` stays.
    `stays`: what of `before` does so although another manifest of it is wanted, as what Git says of it is not known now.
    """
    refs = [r for r in wanted or () if may_end(r.id.group, r.id.kind)]
    known = {(r.id, r.digest[:DIGITS]) for r in refs}
    kept = {o: e for o, e in before.items() if wanted is None or o in stays or (o, e.digest) in known}
    versions = {o: e.api_version for o, e in kept.items()} | {r.id: r.api_version for r in refs}
    found = {oid: _course(kept.get(oid), oid, version, facts) for oid, version in versions.items()}
    return {oid: e for oid, e in found.items() if e is not None}


def _course(before: Ending | None, oid: ObjectId, version: str, facts: Facts) -> Ending | None:
    seen = facts.look(oid)
    if seen is None:
        unknown = oid not in facts.departed and not facts.known(oid)
        if before is None or before.gone or unknown:
            return before
        return _gone(before, facts.departed.get(oid), facts.now)
    written = facts.written(oid)
    if not written:
        return before  # it is not known yet what it was made of
    fresh = _there(seen.end, version, written[:DIGITS], facts.now)
    if fresh and before and fresh.state is before.state is State.RUNNING and before.digest == fresh.digest:
        return replace(fresh, due=min(before.due or 0, fresh.due or 0))
    return fresh


def _there(end: End | None, version: str, digest: str, now: int) -> Ending | None:
    """Return how far an object is that is there; None if nobody can tell when it ends."""
    if end is None:
        return None
    if end.finished is None:
        return None if end.least is None else Ending(version, digest, State.RUNNING, now + end.least)
    return None if end.due is None else _finished(Ending(version, digest, State.SUCCEEDED, end.due), end)


def _finished(ending: Ending, end: End) -> Ending:
    if not end.failed or end.result is None:
        return replace(ending, state=State.SUCCEEDED)
    return replace(ending, state=State.FAILED, words=end.result.message[:LONGEST_WORDS])


def _gone(before: Ending, went: Departure | None, now: int) -> Ending | None:
    """Return that an object is done; None if it went before its end was due, which is drift."""
    end = went.end if went else None
    if went is not None and went.watched and (end is None or end.due is None):
        return None
    if end is not None and end.due is not None:
        before = _finished(replace(before, due=end.due), end)
    due = before.due or 0
    if went is not None and end is not None and end.due is None and end.least is not None:
        due = max(due, (went.alive or 0) + end.least)  # it still ran then
    at = went.at if went and went.at is not None else now
    if at + SLACK < due:
        return None
    state = State.UNKNOWN if before.state is State.RUNNING else before.state
    return replace(before, state=state, due=None, gone=True)


def begun(written: Iterable[tuple[Desired, Manifest]], now: int) -> dict[ObjectId, Ending]:
    """Return the entries of objects that are about to be written, each with what the API server will make of it."""
    found = ((d, _there(end_of(obj), d.manifest["apiVersion"], d.digest[:DIGITS], now)) for d, obj in written)
    return {d.id: e for d, e in found if e is not None}


def expected(endings: Mapping[ObjectId, Ending], refs: Iterable[Ref]) -> frozenset[ObjectId]:
    """Return the objects that began at the manifest of `refs`, and that nobody knows to be gone.

    If one of them is not there after all, how it went must be judged before anything is created.
    """
    if not endings:
        return frozenset()
    found = ((r, endings.get(r.id)) for r in refs)
    return frozenset(r.id for r, e in found if e is not None and e.is_of(r.digest) and not e.gone)


def over(
    endings: Mapping[ObjectId, Ending], refs: Iterable[Ref], look: Callable[[ObjectId], Observed | None]
) -> dict[ObjectId, Verdict]:
    """Return the objects that are done at the manifest of `refs`, each with its health: nothing is written of them."""
    if not endings:
        return {}
    found = ((r.id, e) for r in refs if (e := endings.get(r.id)) is not None and e.is_of(r.digest))
    return {oid: e.verdict for oid, e in found if e.gone and look(oid) is None}
