"""The corpus, and some seconds of cases that are the same on each day: `make fuzz` runs for longer, with new ones."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from tests.fuzz import target
from tests.fuzz.run import Found, Session, corpus, session
from tests.fuzz.targets import TARGETS

EXAMPLES = {"kustomizations": 25, "manifests": 1500, "patterns": 250, "gitmodules": 120}
SEED = "2026-11-30"


@pytest.mark.parametrize("name", TARGETS)
def test_what_tenants_write_is_read_as_the_others_read_it(name: str, tmp_path: Path) -> None:
    with session(TARGETS[name], tmp_path) as found:
        told = [each.told(tmp_path / "found") for each in found.replay()]
        if new := found.round(SEED, EXAMPLES[name]):
            told.append(new.told(tmp_path / "found"))
        assert not told, "\n".join([f"seed {SEED}", *told])
        alike = sum(count for label, count in found.counts.items() if label.startswith(target.SAME))
        assert alike > found.counts.total() / 20, f"hardly anything was read alike: {found.counts}"


@pytest.mark.parametrize("name", TARGETS)
def test_inputs_of_the_corpus_are_there_and_can_be_written_again(name: str) -> None:
    each = TARGETS[name]
    assert corpus(name)
    for file in corpus(name):
        assert each.read(each.write(each.read(file.read_bytes()))) == each.read(file.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_the_same_seed_makes_the_same_case(name: str) -> None:
    made = [TARGETS[name].make(Random("seed")) for _ in range(2)]
    assert made[0] == made[1] != TARGETS[name].make(Random("other"))


def test_a_difference_is_made_smaller_and_told_with_its_place_in_the_corpus(tmp_path: Path) -> None:
    """A check that takes a `&` for a difference: what is left of the first case that has one is that sign alone."""

    def check(data: bytes) -> str:
        if b"&" in data:
            target.differ("it has a sign")
        return target.SAME

    found = Session(TARGETS["manifests"], check).round("seed")
    assert isinstance(found, Found)
    assert found.data == b"&"
    told = found.told(tmp_path)
    assert "it has a sign" in told
    assert "tests/fuzz/corpus/manifests/" in told
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"&"]


def test_what_a_reader_raises_is_a_difference() -> None:
    def check(_: bytes) -> str:
        raise ZeroDivisionError

    found = Session(TARGETS["gitmodules"], check).round("seed")
    assert found
    assert "ZeroDivisionError" in found.words


def test_a_refusal_that_the_table_does_not_have_is_a_difference() -> None:
    table = (target.Meant("too (large|deep)", "why"),)
    assert target.meant(table, "f:1: too deep") == "refused by Setpoint alone: too (large|deep)"
    with pytest.raises(target.Difference, match="no such words: f:1: too odd"):
        target.meant(table, "f:1: too odd")
