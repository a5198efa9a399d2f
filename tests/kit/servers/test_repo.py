"""The histories that tests write are exactly what was asked for."""

from pathlib import Path

import pytest
from tests.kit.servers.repo import Executable, GitError, Repo, Submodule, Symlink, git


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "app.git")


def test_entries_have_mode_and_content(repo: Repo) -> None:
    other = "1" * 40
    repo.commit(
        {
            "a.txt": "hello\n",
            "dir/b.bin": b"\x00\xff",
            "run.sh": Executable("#!/bin/sh\n"),
            "link": Symlink("dir/b.bin"),
            "sub": Submodule(other),
            'odd "name"\\ü.txt': "odd",
        }
    )
    listing = [line.split(maxsplit=3) for line in repo.git("ls-tree", "-r", "-z", "main").split("\0") if line]
    assert {name: (mode, kind) for mode, kind, _, name in listing} == {
        "a.txt": ("100644", "blob"),
        "dir/b.bin": ("100644", "blob"),
        "run.sh": ("100755", "blob"),
        "link": ("120000", "blob"),
        "sub": ("160000", "commit"),
        'odd "name"\\ü.txt': ("100644", "blob"),
    }
    assert repo.git("cat-file", "-p", "main:a.txt") == "hello"
    assert repo.git("cat-file", "-p", "main:link") == "dir/b.bin"
    assert repo.git("rev-parse", "main:sub") == other
    assert repo.git("fsck", "--strict") == ""


def test_commits_stack_and_none_deletes_files_and_folders(repo: Repo) -> None:
    first = repo.commit({"a": "1", "dir/b": "2", "dir/c": "3", "d": "4"}, "one")
    second = repo.commit({"a": None, "dir": None}, "two", author="Ada <ada@example.com>", at=1_700_000_000)
    assert repo.git("rev-parse", f"{second}^") == first
    assert repo.head() == second
    assert repo.git("ls-tree", "-r", "--name-only", "main") == "d"
    assert repo.git("log", "-1", "--format=%an <%ae> %at %s") == "Ada <ada@example.com> 1700000000 two"


def test_branches_move_as_by_force_push_and_disappear(repo: Repo) -> None:
    first = repo.commit({"a": "1"})
    second = repo.commit({"a": "2"})
    repo.commit({"b": "1"}, branch="other")
    repo.reset(first)
    assert repo.head() == first
    assert repo.commit({"a": "3"}) != second
    replaced = repo.commit({"z": "1"}, orphan=True)
    assert repo.git("rev-list", "main") == replaced
    repo.delete_branch("main")
    assert repo.find("refs/heads/main") is None
    assert repo.find("refs/heads/other") is not None
    repo.set_head("other")
    assert repo.git("rev-parse", "HEAD") == repo.head("other")


def test_tags_are_light_or_annotated(repo: Repo) -> None:
    sha = repo.commit({"a": "1"})
    assert repo.tag("v1") == sha
    annotated = repo.tag("v2", message="second")
    assert annotated != sha
    assert repo.git("rev-parse", "v2^{}") == sha
    repo.delete_tag("v1")
    assert repo.git("tag") == "v2"


def test_an_empty_repository_has_a_head_without_a_commit(repo: Repo) -> None:
    assert repo.find("HEAD") is None
    assert repo.git("symbolic-ref", "HEAD") == "refs/heads/main"


def test_the_configuration_of_this_machine_is_not_read() -> None:
    with pytest.raises(GitError):
        git("config", "--global", "user.name")
