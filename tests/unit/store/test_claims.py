"""The table of claims against a plain model of it: who claims, wants and has lent what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import hypothesis.strategies as st
from hypothesis import given

from setpoint.objects.identity import ObjectId, SyncKey
from setpoint.store.claims import HOLDS_NOTHING, Claims, Parties

KEYS = [SyncKey("n", name) for name in "abcd"]
OBJECTS = [ObjectId("", "ConfigMap", "n", name) for name in "uvwxyz"]
NOTHING: frozenset[ObjectId] = frozenset()

sets = st.frozensets(st.sampled_from(OBJECTS))
keys = st.sampled_from(KEYS)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("record"), keys, sets, sets),
        st.tuples(st.just("want"), keys, sets),
        st.tuples(st.just("drop"), keys),
    ),
    max_size=30,
)


@dataclass
class Model:
    """What each Sync said last, and who owned what before."""

    claimed: dict[SyncKey, frozenset[ObjectId]] = field(default_factory=dict)
    wanted: dict[SyncKey, frozenset[ObjectId]] = field(default_factory=dict)
    lent: dict[SyncKey, frozenset[ObjectId]] = field(default_factory=dict)

    def told(self, name: str, key: SyncKey, *sets: frozenset[ObjectId]) -> None:
        if name in ("record", "drop"):
            objects, lent = sets or (NOTHING, NOTHING)
            self.claimed[key], self.lent[key] = objects - lent, lent
        if name in ("want", "drop"):
            (self.wanted[key],) = sets or (NOTHING,)

    def having(self, table: dict[SyncKey, frozenset[ObjectId]], oid: ObjectId) -> set[SyncKey]:
        return {key for key, objects in table.items() if oid in objects}

    def parties(self, oid: ObjectId) -> set[SyncKey]:
        tables = (self.claimed, self.wanted, self.lent)
        return {key for table in tables for key in self.having(table, oid)}


def _step(claims: Claims, model: Model, step: tuple[Any, ...]) -> None:
    """Do one thing, and see who owns what then and who is woken."""
    name, key, *sets = step
    owners = {o: claims.owner(o) for o in OBJECTS}
    wanted = model.wanted.get(key, NOTHING)
    woken = getattr(claims, name)(key, *sets)
    model.told(name, key, *sets)
    due: set[SyncKey] = set()
    for oid, before in owners.items():
        after = claims.owner(oid)
        if before in (stay := model.having(model.claimed, oid)):
            assert after == before, "who has it keeps it"
        else:
            assert after in stay or (after is None and not stay), "an heir has it, or nobody"
        if before == key and after != key:
            due |= model.parties(oid)
        if name == "want" and oid in wanted ^ model.wanted[key]:
            due |= {after} if after else set()
        if oid in wanted - model.wanted.get(key, NOTHING):
            due |= {o for o in (after,) if o} | model.having(model.lent, oid)
    assert woken == due - {key}


@given(steps)
def test_claims_are_what_each_sync_said_last(story: list[tuple[Any, ...]]) -> None:
    claims, model = Claims(), Model()
    for step in story:
        _step(claims, model, step)
        for oid in OBJECTS:
            assert claims.is_lent(oid) == bool(model.having(model.lent, oid))
        for key in KEYS:
            assert claims.lent(key) == model.lent.get(key, NOTHING)
            _questions(claims, model, key)


def _questions(claims: Claims, model: Model, key: SyncKey) -> None:
    """See that all questions of one Sync are answered as the model has it."""
    owner = {o: claims.owner(o) for o in OBJECTS}
    foreign = {o: by for o, by in owner.items() if by not in (None, key)}
    waiting = {o: model.having(model.wanted, o) - {key} for o in OBJECTS}
    heirs = {o: model.having(model.claimed, o) - {owner[o]} for o in OBJECTS}
    next_of = {o: (heirs[o] - {key}) if heirs[o] else waiting[o] for o in OBJECTS}
    assert claims.contested(key, OBJECTS) == foreign
    assert claims.awaited(key, OBJECTS) == {o: min(w) for o, w in waiting.items() if w}
    assert claims.wanted_of(key, OBJECTS) == {o: min(n) for o, n in next_of.items() if n} | foreign
    lenders = {o: model.having(model.lent, o) - {key} for o in OBJECTS}
    assert claims.offered(key, OBJECTS) == {o for o in OBJECTS if lenders[o] and o not in foreign}


@given(steps)
def test_the_reverse_agrees_with_the_table(story: list[tuple[Any, ...]]) -> None:
    claims, model = Claims(), Model()
    for step in story:
        _step(claims, model, step)
        table = claims._parties
        assert all(any(entry) for entry in table.values()), "no entry of nobody"
        assert claims._wanted == {o for o, entry in table.items() if entry.wants}
        assert claims._lent == {o for o, entry in table.items() if entry.lent}
        for key in KEYS:
            held = claims._held.get(key, HOLDS_NOTHING)
            claimed = {o for o, entry in table.items() if key in {entry.owner, *entry.heirs}}
            wants = {o for o, entry in table.items() if key in entry.wants}
            assert claimed == held.claimed
            assert wants == held.wanted
        for oid, entry in table.items():
            assert entry.owner not in entry.heirs
            if entry.owner and entry == Parties(entry.owner):
                assert entry is claims._alone[entry.owner], (
                    f"{oid} has an entry of its own, which costs memory"
                )
    for key in KEYS:
        claims.drop(key)
    assert not any(vars(claims).values()), "who is gone leaves nothing"
