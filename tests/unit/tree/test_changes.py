"""Which commits can change what a Sync reads: never one too few, and not those that change something elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.kit.memorytree import File, Link, MemoryTree

from setpoint.api.budgets import Budgets
from setpoint.api.reasons import Problem
from setpoint.api.sync import SyncSpec
from setpoint.render.inputs import Inputs, gather
from setpoint.tree.changes import ANYTHING, EVERYTHING, NOTHING, ReadSet, RecordingTree, TreeDiff, compare

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
FOLDERS = ("a", "a/b", "base", "c")
NAMES = (
    "kustomization.yaml",
    "kustomization.yml",
    "x.yaml",
    "y.yaml",
    "note.txt",
    "b",
    "Chart.yaml",
    ".gitmodules",
)
CONTENT: tuple[File, ...] = (
    CONFIG,
    "{}",
    "resources: [x.yaml]\n",
    "resources: [../base]\n",
    "resources: [../x.yaml, b]\n",
    "kind: Component\napiVersion: kustomize.config.k8s.io/v1alpha1\n",
    "unknown: [x]\n",
    "transformers: [x.yaml]\n",
    Link("../base"),
    Link("../base/x.yaml"),
    Link("x.yaml"),
    Link("nowhere"),
    Link("../c"),
    Link("c"),
)
SPECS = tuple(
    SyncSpec.model_validate({"source": {"name": "s"}, **fields})
    for fields in (
        {"path": "a"},
        {"path": "c"},
        {"path": "a/b", "exclude": ["x.yaml"]},
        {"path": "base", "kustomize": {"components": ["../c"]}},
        {"path": "."},
    )
)
PATHS = [*NAMES, *FOLDERS, *(f"{folder}/{name}" for folder in FOLDERS for name in NAMES)]
FILES = st.dictionaries(st.sampled_from(PATHS), st.sampled_from(CONTENT), max_size=12)


def tree_of(files: Mapping[str, File]) -> MemoryTree:
    """A tree of these files, without those that lie below another file."""
    return MemoryTree({p: f for p, f in files.items() if not any(p.startswith(f"{o}/") for o in files)})


def look(tree: MemoryTree, spec: SyncSpec) -> tuple[Inputs | str, ReadSet]:
    """The inputs, or the words of the problem, and what that depended on."""
    noting = RecordingTree(tree)
    try:
        return gather(noting, spec), noting.read_set()
    except Problem as problem:
        return problem.message, noting.read_set()


def read_set(tree: MemoryTree, path: str) -> ReadSet:
    return look(tree, SyncSpec.model_validate({"source": {"name": "s"}, "path": path}))[1]


@settings(max_examples=400, deadline=None)
@given(FILES, FILES, st.sets(st.sampled_from(PATHS), max_size=4))
@example({"a": Link("c"), "c/x.yaml": CONFIG}, {"a": Link("base"), "base/x.yaml": CONFIG}, set())
@example({"a/b": Link("../c"), "a/x.yaml": CONFIG}, {"c/y.yaml": CONFIG}, set())
def test_a_commit_that_touches_nothing_of_what_was_looked_at_gives_the_same_inputs_or_problem(
    files: dict[str, File], edits: dict[str, File], gone: set[str]
) -> None:
    old = tree_of(files)
    new = tree_of({p: f for p, f in {**files, **edits}.items() if p not in gone})
    changes = compare(old, new)
    for spec in SPECS:
        before, read_set = look(old, spec)
        assert changes.touch(read_set) or look(new, spec)[0] == before, spec.path


@settings(max_examples=100, deadline=None)
@given(FILES, FILES)
def test_every_file_that_differs_is_changed_or_lies_below_what_is(
    before: dict[str, File], after: dict[str, File]
) -> None:
    old, new = tree_of(before), tree_of(after)
    changes = compare(old, new)
    if changes == EVERYTHING:
        return
    for path in {*before, *after}:
        above = {path} | {path.rsplit("/", n)[0] for n in range(1, path.count("/") + 1)}
        if old.entry(path) != new.entry(path) and path not in FOLDERS:
            assert above & changes.paths, path
    assert compare(new, old) == changes


APPS: dict[str, File] = {
    "apps/one/x.yaml": CONFIG,
    "apps/two/kustomization.yaml": "resources: [x.yaml, ../../base]\n",
    "apps/two/x.yaml": CONFIG,
    "base/kustomization.yaml": "resources: [x.yaml]\n",
    "base/x.yaml": CONFIG,
    "base/unused.yaml": CONFIG,
    "README": "read me",
}


@pytest.mark.parametrize(
    ("edit", "touched"),
    [
        ({"README": "another"}, set()),
        ({"apps/three/x.yaml": CONFIG}, set()),
        ({"apps/one/x.yaml": "{}"}, {"apps/one"}),
        ({"apps/one/new/y.yaml": "{}"}, {"apps/one"}),
        ({"apps/two/unused.yaml": "{}"}, set()),
        ({"apps/two/x.yaml": "{}"}, {"apps/two"}),
        ({"apps/two/Kustomization": "{}"}, {"apps/two"}),
        ({"base/x.yaml": "{}"}, {"apps/two"}),
        ({"base/unused.yaml": "{}"}, set()),
        ({".gitmodules": ""}, {"apps/one", "apps/two"}),
    ],
    ids=lambda value: next(iter(value), "none") if isinstance(value, dict) else "",
)
def test_only_those_are_touched_that_looked_there(edit: dict[str, File], touched: set[str]) -> None:
    old = MemoryTree(APPS)
    changes = compare(old, MemoryTree({**APPS, **edit}))
    prints = {path: read_set(old, path) for path in ("apps/one", "apps/two")}
    assert {path for path, each in prints.items() if changes.touch(each)} == touched


def test_the_first_commit_after_a_chain_of_links_was_shortened_knows_the_new_chain() -> None:
    spec = SyncSpec.model_validate({"source": {"name": "s"}, "path": "now"})
    v: dict[str, File] = {"v1/x.yaml": CONFIG, "v2/x.yaml": CONFIG, "now": Link("v1")}
    direct, chained = MemoryTree(v), MemoryTree({**v, "now": Link("via"), "via": Link("v1")})
    (before, direct_print), (after, chained_print) = look(direct, spec), look(chained, spec)
    assert before == after
    moved = compare(chained, MemoryTree({**v, "now": Link("via"), "via": Link("v2")}))
    assert moved.touch(chained_print)
    assert not moved.touch(direct_print)


def test_equal_trees_are_not_read() -> None:
    old, new = MemoryTree(APPS), MemoryTree({**APPS, "apps/one/x.yaml": "{}"})
    assert compare(old, MemoryTree(APPS)) == NOTHING
    assert compare(old, new) == TreeDiff(
        frozenset({"apps/one/x.yaml"}), frozenset({"apps/one/x.yaml", "apps/one", "apps", ""})
    )
    assert new.read_folders == ["", "apps", "apps/one"]


def test_everything_touches_everyone() -> None:
    assert EVERYTHING.touch(read_set(MemoryTree(APPS), "apps/one"))
    assert not NOTHING.touch(ReadSet(frozenset({""}), frozenset({""})))


def test_of_long_paths_fewer_are_kept() -> None:
    """20,000 of 4,096 characters would be 80 MB for one look."""
    tree = RecordingTree(MemoryTree({"a": "b"}), Budgets(max_read_set=100))
    for number in range(10):
        tree.entry(f"{number}{'x' * 4_000}")
    assert tree.read_set() == ANYTHING
    short = RecordingTree(MemoryTree({"a": "b"}), Budgets(max_read_set=100))
    for number in range(90):
        short.entry(f"{number}{'x' * 100}")
    assert len(short.read_set().paths) == 91
