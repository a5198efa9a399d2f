"""Who waits before anything is deleted, and that nobody waits for longer."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from setpoint.objects.identity import SyncKey
from setpoint.store.prune_barrier import Barrier

SYNCS = [SyncKey("n", each) for each in "abcd"]
SOURCES = [SyncKey("n", each) for each in ("one", "two")]
SHAS = ["", "1", "2"]
EXCUSED = "cannot be evaluated"
KEYS, SOURCE, SHA = st.sampled_from(SYNCS), st.sampled_from(SOURCES), st.sampled_from(SHAS)


class Model(RuleBasedStateMachine):
    """The barrier beside a plain list of where everyone stands; None: not seen yet."""

    def __init__(self) -> None:
        super().__init__()
        self.barrier = Barrier()
        self.place: dict[SyncKey, tuple[SyncKey, str | None]] = {}
        self.waits: dict[SyncKey, tuple[SyncKey, str]] = {}

    def blocked(self, key: SyncKey, source: SyncKey, sha: str) -> bool:
        others = [place for other, place in self.place.items() if other != key]
        behind = any(s == source and at not in (None, "", sha) for s, at in others)
        return any(at is None for _, at in others) or (bool(sha) and behind)

    @rule(key=KEYS, source=SOURCE)
    def expect(self, key: SyncKey, source: SyncKey) -> None:
        self.barrier.expect(key, source)
        if self.place.get(key, (None, None))[0] != source:
            self.place[key] = source, None

    @rule(key=KEYS, source=SOURCE, sha=SHA)
    def seen(self, key: SyncKey, source: SyncKey, sha: str) -> None:
        self.barrier.seen(key, source, sha)
        self.place[key] = source, sha

    @rule(key=KEYS, source=SOURCE)
    def excuse(self, key: SyncKey, source: SyncKey) -> None:
        self.barrier.excuse(key, source)
        if key in self.place and self.place[key][1] is None:
            self.place[key] = source, EXCUSED

    @rule(key=KEYS)
    def doubt(self, key: SyncKey) -> None:
        """One in doubt blocks as one that was not seen: what that means for whom is for others to find out."""
        self.barrier.doubt(key)
        assert self.barrier.is_unseen(key) == (key in self.place and self.place[key][1] is None)

    @rule(key=KEYS)
    def drop(self, key: SyncKey) -> None:
        self.barrier.drop(key)
        self.place.pop(key, None)

    @rule(key=KEYS, source=SOURCE, sha=SHA)
    def ask(self, key: SyncKey, source: SyncKey, sha: str) -> None:
        found = self.barrier.blocker(key, source, sha or None)
        assert found != key
        assert (found is not None) == self.blocked(key, source, sha)
        self.waits.pop(key, None)
        if found is not None:
            self.waits[key] = source, sha

    @rule(key=KEYS)
    def leave(self, key: SyncKey) -> None:
        self.barrier.leave(key)
        self.waits.pop(key, None)

    @rule()
    def release(self) -> None:
        for key in self.barrier.released():
            del self.waits[key]
        # Whoever is not blocked was released; of those that are, one may be let ask again, never all be left waiting.
        assert all(self.blocked(key, *place) for key, place in self.waits.items() if len(self.waits) == 1)

    @invariant()
    def nobody_is_left_when_all_have_come_as_far(self) -> None:
        if self.waits and not any(self.blocked(key, *place) for key, place in self.waits.items()):
            assert self.barrier.released() == set(self.waits)
            self.waits.clear()


TestBarrier = Model.TestCase
TestBarrier.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


def test_the_one_that_is_behind_is_named_and_its_coming_releases_all_waiters_once() -> None:
    barrier, (source, other) = Barrier(), SOURCES
    a, b, c, d = SYNCS
    for key in (a, b, c):
        barrier.seen(key, source, "1")
    barrier.seen(d, other, "7")
    for key in (a, b):
        barrier.seen(key, source, "2")
    assert [barrier.blocker(key, source, "2") for key in (a, b)] == [c, c]
    assert barrier.released() == set()
    barrier.seen(c, source, "2")
    assert barrier.released() == {a, b}
    assert barrier.released() == set()


def test_one_in_doubt_is_named_only_if_nobody_else_is_waited_for() -> None:
    barrier, (source, other) = Barrier(), SOURCES
    a, b, c, _ = SYNCS
    for key, at in ((a, source), (b, other), (c, source)):
        barrier.expect(key, at)
    barrier.seen(a, source, "1")
    assert barrier.doubt(b)
    assert not barrier.doubt(b)
    assert barrier.blocker(a, source, "1") == c
    barrier.seen(c, source, "1")
    assert barrier.blocker(a, source, "1") == b
    assert (barrier.doubtful(a), barrier.doubtful(b), barrier.waiters()) == ((b,), (), (a,))
    barrier.excuse(b, other)
    assert barrier.released() == {a}
    assert barrier.blocker(a, source, "1") is None


def test_who_is_excused_holds_up_siblings_at_a_commit_and_nobody_else() -> None:
    """The Source works again: what moved from one Sync of it to the other must not go before that saw the commit."""
    barrier, (source, other) = Barrier(), SOURCES
    a, b, c, _ = SYNCS
    barrier.expect(b, source)
    barrier.excuse(b, source)
    barrier.seen(a, source, "2")
    barrier.seen(c, other, "7")
    assert barrier.blocker(a, source, "2") == b
    assert barrier.blocker(c, other, "7") is None
    assert barrier.blocker(a, source, None) is None
    assert barrier.blocker(a, source, "2") == b
    barrier.expect(b, source)  # its body comes again
    assert not barrier.is_unseen(b)
    barrier.seen(b, source, "2")
    assert barrier.released() == {a}
