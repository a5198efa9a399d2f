"""A local folder as a tree, and paths inside a tree: compared with what git and the file system say."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from setpoint.api.reasons import Problem, Reason
from setpoint.runtime.lru import Lru
from setpoint.tree.local import LocalTree
from setpoint.tree.paths import Outside, below, resolve
from setpoint.tree.protocol import EntryKind


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "a/b").mkdir(parents=True)
    (root / "a/b/x.yaml").write_text("x: 1\n")
    (root / "a/run").write_text("#!/bin/sh\n")
    (root / "a/run").chmod(0o755)
    (root / "é.txt").write_bytes(b"\xff\x00")
    (root / "link").symlink_to("a/b")
    (root / "out").symlink_to("../..")
    os.mkfifo(root / "pipe")
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    return root


def test_ids_are_those_of_git(folder: Path) -> None:
    tree = LocalTree(folder)
    for path in ("a/b/x.yaml", "a/run", "é.txt"):
        said = subprocess.run(
            ["git", "hash-object", str(folder / path)], check=True, capture_output=True, text=True
        )
        entry = tree.entry(path)
        assert entry is not None
        assert (entry.kind, entry.oid) == (EntryKind.BLOB, said.stdout.strip())
        assert entry.executable == (path == "a/run")
        assert tree.read(path) == (folder / path).read_bytes()


def test_children_are_sorted_and_leave_out_git_and_what_is_no_file(folder: Path) -> None:
    assert [(e.path, e.kind.value) for e in LocalTree(folder).children("")] == [
        ("a", "tree"),
        ("link", "link"),
        ("out", "link"),
        ("é.txt", "blob"),
    ]
    assert [e.path for e in LocalTree(folder).children("a")] == ["a/b", "a/run"]
    assert LocalTree(folder).children("a/run") == ()


def test_links_are_links_and_nothing_is_looked_up_through_them(folder: Path) -> None:
    tree = LocalTree(folder)
    assert tree.read("link") == b"a/b"
    for path in ("link/x.yaml", "out/root", "gone", ".git", ".git/HEAD", "a/run/x", "pipe"):
        assert tree.entry(path) is None
    with pytest.raises(Problem, match="a is not a file") as raised:
        tree.read("a")
    assert raised.value.reason is Reason.PathNotFound


def test_a_file_that_may_not_be_read_is_named(folder: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    (folder / "a/run").chmod(0)
    with pytest.raises(Problem, match="a/run cannot be read: Permission denied"):
        LocalTree(folder).entry("a/run")


steps = st.lists(
    st.sampled_from(["..", ".", "", "a", "b", "x.yaml", "link", "run", "gone"]), min_size=1, max_size=7
)


@given(start=st.sampled_from(["", "a", "a/b"]), text=steps.map("/".join))
def test_paths_resolve_as_the_file_system_resolves_them(
    tmp_path_factory: pytest.TempPathFactory, start: str, text: str
) -> None:
    root = tmp_path_factory.getbasetemp() / "resolve"
    if not root.exists():
        (root / "a/b").mkdir(parents=True)
        (root / "a/b/x.yaml").write_text("x")
        (root / "a/run").write_text("x")
        (root / "link").symlink_to("./a/../a/b")
        (root / "a/b/link").symlink_to("../../link")
    try:
        found = resolve(LocalTree(root), start, text)
    except Outside:
        return
    real = Path(os.path.realpath(root / start / text))
    if found is None:
        assert not (root / start / text).exists() or not below(str(real), str(root))
    else:
        assert root / found.path == real


def test_a_path_leaves_the_repository_in_no_way(folder: Path) -> None:
    for text in ("..", "a/../..", "/etc", "out", "out/x", "link/../../.."):
        with pytest.raises(Outside):
            resolve(LocalTree(folder), "", text)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 12)), max_size=40))
def test_the_cache_keeps_what_was_used_last_within_its_limit(puts: list[tuple[int, int]]) -> None:
    cache: Lru[int, tuple[int, int]] = Lru(10)
    for key, weight in puts:
        assert cache.put(key, (key, weight), weight) == (key, weight)
        assert (cache.get(key) is not None) == (weight <= 10)
        assert sum(found[1] for each in range(6) if (found := cache.get(each))) <= 10
