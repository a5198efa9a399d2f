"""What memory holds is for what is, not for what was: rendered manifests, and the cache they lie in."""

from __future__ import annotations

from dataclasses import replace

from tests.kit.samples import target

from setpoint.runtime.lru import Lru
from setpoint.syncs.memory import Memory
from setpoint.syncs.target import Target


def made_of(inputs: str) -> Target:
    made = target(digest=f"t-{inputs}")
    return replace(made, inputs=replace(made.inputs, digest=inputs))


def test_manifests_stay_at_hand_for_the_target_and_for_what_is_enforced() -> None:
    memory = Memory()
    assert memory.superseded() == set()
    memory.target = memory.good = made_of("one")
    assert memory.superseded() == set()
    memory.target = made_of("broken")
    assert memory.superseded() == set()
    memory.target = made_of("two")
    assert memory.superseded() == {"broken"}
    memory.good = memory.target
    assert memory.superseded() == {"one"}
    assert memory.superseded() == set()
    assert memory.superseded(ends=True) == {"two"}


def test_a_commit_is_looked_at_again_only_after_another_look() -> None:
    memory, found = Memory(evaluated=("a", 1)), replace(target(digest="t"), sha="a")
    assert not memory.stands("a", submodules=False)
    memory.target, memory.looked = found, ("a", False, "t")
    assert memory.stands("a", submodules=False)
    assert not memory.stands("a", submodules=True)
    assert not memory.stands("b", submodules=False)
    memory.looked = None  # a look at another commit, or with another spec, that failed
    assert not memory.stands("a", submodules=False)
    memory.looked = ("b", False, "u")  # one that was not rendered
    assert not memory.stands("a", submodules=False)
    assert not memory.stands("b", submodules=False)


def test_a_commit_that_was_skipped_was_not_looked_at() -> None:
    memory = Memory(evaluated=("a", 1), target=replace(target(digest="t"), sha="a"), looked=("a", False, "t"))
    memory.move("b")
    assert memory.target is not None
    assert memory.target.sha == "b"
    assert not memory.stands("b", submodules=False)


def test_what_is_dropped_makes_room() -> None:
    cache: Lru[str, str] = Lru(10)
    cache.put("a", "A", 6)
    cache.drop("a")
    cache.drop("a")
    assert cache.get("a") is None
    cache.put("b", "B", 6)
    cache.put("c", "C", 4)
    assert (cache.get("b"), cache.get("c"), len(cache)) == ("B", "C", 2)
    cache.put("d", "D", 1)
    assert (cache.get("b"), len(cache)) == (None, 2)
