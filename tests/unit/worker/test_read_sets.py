"""What looks depended on stays with the worker, within bounds; what it does not know counts as touched."""

from __future__ import annotations

from setpoint.tree.changes import ANYTHING, NOTHING, ReadSet, TreeDiff
from setpoint.worker.reader.read_sets import ReadSets

HERE = TreeDiff(frozenset({"app/x"}), frozenset({"app/x", "app", ""}))
ELSEWHERE = TreeDiff(frozenset({"other/x"}), frozenset({"other/x", "other", ""}))


def of_folder(folder: str, paths: int = 0) -> ReadSet:
    return ReadSet(frozenset({folder, "", *(f"{folder}/{n}" for n in range(paths))}), frozenset({folder}))


def test_a_step_touches_those_who_read_what_it_changes() -> None:
    kept = ReadSets("r-1")
    app, other = kept.keep(of_folder("app")), kept.keep(of_folder("other"))
    assert kept.touched(HERE, [app, other]) == (app,)
    assert kept.touched(ELSEWHERE, [app, other]) == (other,)
    assert kept.touched(NOTHING, [app, other]) == ()


def test_each_look_has_an_id_of_its_own_which_no_other_process_gives() -> None:
    kept, another = ReadSets("r-1"), ReadSets("r-2")
    assert (
        len({kept.keep(of_folder("app")), kept.keep(of_folder("app")), another.keep(of_folder("app"))}) == 3
    )


def test_what_is_not_known_is_touched() -> None:
    kept = ReadSets("r-1")
    app = kept.keep(of_folder("app"))
    kept.drop([app, "never"])
    assert kept.touched(NOTHING, [app, "never"]) == (app, "never")


def test_what_may_be_of_everything_is_touched_by_whatever_changes() -> None:
    kept = ReadSets("r-1")
    anything = kept.keep(ANYTHING)
    assert kept.touched(ELSEWHERE, [anything]) == (anything,)
    assert kept.touched(NOTHING, [anything]) == ()


def test_all_together_are_bounded_and_the_one_that_was_used_longest_ago_goes_first() -> None:
    kept = ReadSets("r-1", limit=10_000)
    names = [kept.keep(of_folder("app", 40)) for _ in range(3)]
    assert kept.touched(NOTHING, names) == (names[0],)


def test_long_paths_weigh_more() -> None:
    kept = ReadSets("r-1", limit=10_000)
    names = [kept.keep(of_folder("a" * 3000, 1)) for _ in range(2)]
    assert kept.touched(NOTHING, names) == (names[0],)
