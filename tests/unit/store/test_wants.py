"""Which wants count; and that nobody is contested, kept waiting or told of by a Sync that may not write the object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from tests.kit.samples import KEY, observed, oid

from setpoint.api.reasons import Problem, Reason
from setpoint.objects.identity import ObjectId, SyncKey
from setpoint.plan.prune import handed_over
from setpoint.store.claims import Claims
from setpoint.store.wants import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    SIBLING_SECONDS,
    Answer,
    Answers,
    decided,
    heard,
    is_strange,
    never_written,
    unanswered,
)

A, B = oid("a"), oid("b")
OTHER, SIBLING = SyncKey("elsewhere", "other"), SyncKey(KEY.namespace, "sibling")
BUSY = Problem(Reason.ApiUnavailable, "the API server answers 429", retry=True)
NO = Problem(Reason.Forbidden, "a.yaml:1: ConfigMap/shop/a: may not patch configmaps")


def test_each_object_is_asked_for_once_for_a_commit_and_an_owner() -> None:
    held = {A: OTHER}
    assert unanswered("c1", held, {}, 0.0) == {A}
    answers = heard("c1", held, {}, {A: None}, 0.0)
    assert unanswered("c1", held, answers, 1e9) == set()
    assert unanswered("c2", held, answers, 0.0) == {A}
    assert unanswered("c1", {A: SIBLING}, answers, 0.0) == {A}
    assert heard("c1", {}, answers, {A: None}, 0.0) == {}, "what nobody holds any more is forgotten"


def test_what_is_forbidden_is_asked_again_later_and_later() -> None:
    held, now, pauses = {A: OTHER}, 0.0, []
    answers: Answers = {}
    for _ in range(9):
        assert unanswered("c1", held, answers, now) == {A}
        answers = heard("c1", held, answers, {A: NO}, now)
        assert unanswered("c1", held, answers, now) == set()
        pause = decided(KEY, held, held, answers, now).again
        assert pause is not None
        pauses.append(pause)
        now += pause
    assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert pauses[-1] == LONGEST_PAUSE
    answers = heard("c1", held, answers, {A: None}, now)
    assert decided(KEY, held, held, answers, now).contested == held
    assert unanswered("c1", held, answers, 1e9) == set()


def test_what_was_not_answered_is_asked_again_and_what_was_said_before_stands() -> None:
    """A Sync whose request fails must not gain a right by that."""
    for owner, counts in ((SIBLING, True), (OTHER, False)):
        held = {A: owner}
        answers = heard("c1", held, {}, {A: BUSY}, 0.0)
        wants = decided(KEY, held, held, answers, 0.0)
        assert (dict(wants.contested), wants.counting) == ((held, {A}) if counts else ({}, frozenset()))
        assert (dict(wants.refused), wants.again) == ({} if counts else {A: BUSY}, FIRST_PAUSE)
    down = BUSY
    assert unanswered("c1", held, answers, FIRST_PAUSE) == {A}
    answers = heard("c1", held, answers, {A: NO}, 10.0)
    answers = heard("c1", held, answers, {A: down}, 30.0)
    wants = decided(KEY, held, held, answers, 30.0)
    assert (wants.counting, wants.refused, wants.again) == (frozenset(), {A: NO}, 4 * FIRST_PAUSE)
    answers = heard("c2", held, answers, {A: down}, 30.0)
    assert decided(KEY, held, held, answers, 30.0).refused == {A: BUSY}, "of another commit nothing is known"
    answers = heard("c2", held, answers, {A: None}, 50.0)
    assert decided(KEY, held, held, answers, 50.0).contested == held


def test_what_is_forbidden_counts_for_nothing_between_namespaces_and_for_a_while_within_one() -> None:
    for owner, counts in ((OTHER, False), (SIBLING, True)):
        held = {A: owner, B: owner}
        answers = heard("c1", held, {}, {A: NO, B: None}, 100.0)
        wants = decided(KEY, held, held, answers, 100.0)
        assert (wants.contested, wants.refused) == ({B: owner}, {A: NO})
        assert wants.counting == ({A, B} if counts else {B})
        late = decided(KEY, held, held, answers, 100.0 + SIBLING_SECONDS)
        assert late.counting == {B}
        assert late.again == 0.0


def test_a_sibling_is_looked_at_again_when_its_want_counts_no_more() -> None:
    held, answer = {A: SIBLING}, Answer("c1", SIBLING, NO, 0.0, 1000.0, 600.0)
    assert decided(KEY, held, held, {A: answer}, 290.0).again == 10.0
    assert decided(KEY, held, held, {A: replace(answer, owner=OTHER)}, 290.0).again == 710.0
    assert decided(KEY, held, held, {A: replace(answer, again=None)}, 301.0).again is None


def test_what_is_lent_and_owned_by_nobody_is_wanted_but_not_contested() -> None:
    answers = heard("c1", {A: OTHER}, {}, {A: None}, 0.0)
    wants = decided(KEY, {}, {A: OTHER}, answers, 0.0)
    assert not wants.contested
    assert not wants.refused
    assert wants.counting == {A}
    assert wants.again is None


@pytest.mark.parametrize(
    ("seen", "unwatched", "untried", "goes"),
    [
        (None, False, False, True),
        (observed("a", owner=OTHER), False, False, True),
        (observed("a", owner=None), False, False, True),
        (observed("a"), False, False, False),
        (None, True, False, False),
        (observed("a", owner=OTHER), True, False, False),
        (None, True, True, True),
    ],
)
def test_what_may_not_be_written_and_never_was_leaves_the_inventory(
    seen: Any, unwatched: bool, untried: bool, goes: bool
) -> None:
    tried: set[ObjectId] = {A} if untried else set()
    found = never_written([A, B], {A}, tried, lambda _: seen, lambda _: unwatched, KEY)
    assert found == ({A} if goes else set())
    assert is_strange(A, lambda _: seen, lambda _: unwatched, KEY) == (goes and not untried)


# --- the property

KEYS = [SyncKey(n, s) for n in ("red", "blue") for s in ("one", "two")]
OBJECTS = [ObjectId("", "ConfigMap", "shop", name) for name in "uvwxyz"]
sets = st.frozensets(st.sampled_from(OBJECTS))
steps = st.lists(
    st.tuples(st.sampled_from(KEYS), sets, sets, st.integers(0, 400), st.none() | sets), max_size=25
)
Rights = Mapping[SyncKey, frozenset[ObjectId]]
rights = st.fixed_dictionaries(dict.fromkeys(KEYS, sets))


@dataclass
class Stage:
    """Runs of Syncs, as the steps take them: over the real table of claims, with rights instead of an API server."""

    rights: Rights
    claims: Claims = field(default_factory=Claims)
    answers: dict[SyncKey, Answers] = field(default_factory=dict)
    inventory: dict[SyncKey, frozenset[ObjectId]] = field(default_factory=dict)
    live: dict[ObjectId, SyncKey] = field(default_factory=dict)
    told: dict[SyncKey, set[ObjectId]] = field(default_factory=dict)
    woken: set[SyncKey] = field(default_factory=set)
    busy: frozenset[ObjectId] = frozenset()
    """Questions that are not answered now."""

    def run(
        self, key: SyncKey, desired: frozenset[ObjectId], untried: frozenset[ObjectId], now: float
    ) -> None:
        """Evaluate a commit: find out what is wanted, claim what passes, write it, and hand over the rest."""
        may = self.rights[key]
        refused = self._want(key, desired, now)
        free = desired - self.claims.contested(key, desired).keys() - refused
        passed = (free - untried) & may
        stored = self.inventory.get(key, frozenset()) | passed | (free & untried)
        self.woken |= self.claims.record(key, stored - (untried - passed), self.claims.lent(key))
        for each in passed | (free & untried & may):
            self.live[each] = key
        forbidden = desired - may
        gone = never_written(stored, forbidden, untried, self._look, lambda _: False, key)
        left = stored - gone - desired
        wanted = self.claims.wanted_of(key, left)
        seen = {o: s for o in left if (s := self._look(o)) is not None}
        decision = handed_over(left, seen, key, wanted)
        for each in left - decision.lend - decision.release.keys():
            del self.live[each]  # pruned
        self.inventory[key] = (stored - gone - left) | decision.lend
        self.woken |= self.claims.record(key, self.inventory[key] - untried, decision.lend)

    def _look(self, each: ObjectId) -> Any:
        return observed("x", id=each, owner=self.live[each]) if each in self.live else None

    def _want(self, key: SyncKey, desired: frozenset[ObjectId], now: float) -> frozenset[ObjectId]:
        """Return what it may not write of what others hold."""
        owned, offered = self.claims.contested(key, desired), self.claims.offered(key, desired)
        lent = {o: by for o in offered if not self.claims.owner(o) and (by := self.claims.lender(key, o))}
        held, before = {**owned, **lent}, self.answers.get(key, {})
        asked = unanswered("c", held, before, now)
        found = {o: BUSY if o in self.busy else None if o in self.rights[key] else NO for o in asked}
        self.answers[key] = heard("c", held, before, found, now)
        wants = decided(key, owned, held, self.answers[key], now)
        self.told[key] = set(wants.contested)
        mine = {o for o in offered if self.claims.owner(o) == key}
        self.woken |= self.claims.want(key, wants.counting | mine, wants.near)
        return frozenset(wants.refused)


def test_what_counts_in_its_own_namespace_alone_wakes_nobody_of_another() -> None:
    """The object changed hands while the one who may not write it waited."""
    red, two, blue = KEYS[0], KEYS[1], KEYS[3]
    claims, u = Claims(), OBJECTS[0]
    claims.record(red, [u])
    assert claims.want(two, [u], [u]) == {red}
    claims.record(red, [], [u])
    claims.want(blue, [u])
    claims.record(blue, [u])
    assert claims.want(two, []) == {red}
    assert claims.want(two, [u], [u]) == set()
    assert claims.want(two, []) == {red}


@settings(max_examples=60)
@given(rights, steps)
def test_who_may_not_write_an_object_is_nothing_to_a_sync_of_another_namespace(
    given_rights: Rights,
    story: list[tuple[SyncKey, frozenset[ObjectId], frozenset[ObjectId], int, frozenset[ObjectId] | None]],
) -> None:
    """Nor by questions that nobody answers, as when it asks so much that the answer is 429."""
    stage, now = Stage(given_rights), 0.0
    for key, desired, untried, pause, busy in story:
        now += pause
        stage.woken, stage.busy = set(), busy or frozenset()
        stage.run(key, desired, untried, now)
        theirs = {
            o for o in stage.told[key] if (by := stage.claims.owner(o)) and by.namespace != key.namespace
        }
        assert theirs <= given_rights[key], "whoever may not write it is not told who owns it"
        for one in KEYS:
            others = [k for k in KEYS if k.namespace != one.namespace]
            for table in (stage.claims.contested, stage.claims.wanted_of, stage.claims.awaited):
                for each, by in table(one, OBJECTS).items():
                    assert by not in others or each in given_rights[by], (table.__name__, each, by)
            if not given_rights[key]:
                assert one.namespace == key.namespace or one not in stage.woken, "nor is it woken"
