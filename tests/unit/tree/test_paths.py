"""Paths through symlinks: what they cost is bounded, for one and for all of a look."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from tests.kit.memorytree import Link, MemoryTree

from setpoint.api.budgets import Budgets
from setpoint.api.reasons import Problem, Reason
from setpoint.render.kustomize.build import Closure
from setpoint.tree.bounded import STEPS, BoundedTree, Spent
from setpoint.tree.paths import resolve
from setpoint.tree.protocol import Entry

LONG = "/".join(["d", ".."] * 800)  # of 4,096 characters that a symlink may have


class Counted:
    """Counts what is looked up in a commit."""

    def __init__(self, files: Mapping[str, str | Link]) -> None:
        self._tree, self.asked = MemoryTree(files), 0

    def entry(self, path: str) -> Entry | None:
        self.asked += 1
        return self._tree.entry(path)

    def children(self, path: str) -> tuple[Entry, ...]:
        return self._tree.children(path)

    def read(self, path: str) -> bytes:
        return self._tree.read(path)


def chained(links: int) -> Counted:
    """Return a commit with a chain of symlinks to `d`, each of which goes up and down as often as its text can say."""
    files: dict[str, str | Link] = {"d/a.yaml": "{}"}
    files |= {f"l{n}": Link(f"{LONG}/{f'l{n + 1}' if n + 1 < links else 'd'}") for n in range(links)}
    return Counted(files)


def test_a_chain_of_long_symlinks_is_followed_as_far_as_it_may_be() -> None:
    tree = chained(30)
    found = resolve(tree, "", "l0/a.yaml")
    assert found is not None
    assert (found.path, len(found.links)) == ("d/a.yaml", 30)


@pytest.mark.parametrize("step", ["d/../", "./", "/"])
def test_all_paths_of_a_look_share_their_steps(step: str) -> None:
    """Each of 10,000 references through such a chain costs as much as the first."""
    tree = Counted({"d/a.yaml": "{}", "l": Link(f"d{step * 500}" if step == "/" else f"{step * 500}d")})
    spent, budgets = Spent(Budgets(max_files=1_000)), Budgets(max_files=1_000)
    with pytest.raises(
        Problem, match=r"more than 20,000 steps, 20 for each file of settings\.maxFiles"
    ) as raised:
        all(resolve(BoundedTree(tree, budgets), "", "l/a.yaml", spent) for _ in range(10_000))
    assert raised.value.reason is Reason.TooLarge
    assert tree.asked <= STEPS * budgets.max_files + 100


def test_a_symlink_that_is_too_long_is_read_few_times_however_many_name_it() -> None:
    """An inline patch is tried as a path first, and what leads nowhere is no error there."""
    budgets = Budgets(max_files=1_000)
    patches = "".join(f'- "l/x{number}: 1"\n' for number in range(900))
    files: dict[str, str | Link] = {
        "k/l": Link("a" * 100_000),
        "k/kustomization.yaml": f"patchesStrategicMerge:\n{patches}",
    }
    tree = Counted(files)
    with pytest.raises(Problem, match="following symlinks takes more than 20,000 steps"):
        Closure(BoundedTree(tree, budgets), budgets).visit("k")
    assert tree.asked < 100


def test_what_lies_simply_there_is_looked_up_at_once() -> None:
    tree = Counted({"a/b/c/d/e.yaml": "{}"})
    assert resolve(tree, "", "a/b/c/d/e.yaml") is not None
    assert resolve(tree, "a/b", "c/d/e.yaml") is not None
    assert tree.asked == 2


def test_all_references_of_a_kustomization_share_their_steps() -> None:
    files: dict[str, str | Link] = {
        "d/a.yaml": "{}",
        "k/kustomization.yaml": "resources:\n" + "- ../l/a.yaml\n" * 900,
    }
    files["l"] = Link(f"{LONG}/d")
    budgets = Budgets(max_files=1_000)
    with pytest.raises(Problem, match="following symlinks takes more than 20,000 steps"):
        Closure(BoundedTree(MemoryTree(files), budgets), budgets).visit("k")


def test_a_long_object_in_place_of_a_path_is_no_path() -> None:
    patch = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {k: " + "x" * 5_000 + "}}"
    files = {
        "k/kustomization.yaml": f"resources: [a.yaml]\npatchesStrategicMerge:\n- '{patch}'\n",
        "k/a.yaml": "{}",
    }
    closure = Closure(BoundedTree(MemoryTree(files), Budgets()))
    closure.visit("k")
    assert [each.path for each in closure.build("k").entries] == ["k/a.yaml", "k/kustomization.yaml"]
