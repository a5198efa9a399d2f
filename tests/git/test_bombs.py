"""Commits that are small to fetch and large to read, from a real server: refused by counts and headers, before they are unpacked."""

from __future__ import annotations

import asyncio
import hashlib
import resource
from pathlib import Path

import pytest
from pygit2.enums import FileMode
from tests.git.conftest import MAIN, MakeWorld, World, at
from tests.kit.bombs import CONFIG, MIB, Bombs
from tests.kit.servers.githttp import GitHttp

from setpoint.api.budgets import Budgets
from setpoint.api.reasons import Problem, Reason
from setpoint.api.sync import SyncSpec
from setpoint.git.child import Child
from setpoint.git.remotes import Repository
from setpoint.render.inputs import gather
from setpoint.tree.changes import EVERYTHING, compare
from setpoint.tree.protocol import Tree

pytestmark = pytest.mark.asyncio

TREE, FILE = FileMode.TREE, FileMode.BLOB


@pytest.fixture
def bombs(git_http: GitHttp) -> Bombs:
    return Bombs(git_http.repo("app").path)


@pytest.fixture
def repository(git_http: GitHttp) -> Repository:
    return at(git_http.url("app"))


def refusal(tree: Tree, path: str = ".") -> str:
    with pytest.raises(Problem) as raised:
        gather(tree, SyncSpec.model_validate({"source": {"name": "s"}, "path": path}))
    assert raised.value.reason is Reason.TooLarge
    return raised.value.message


def reads(world: World) -> int:
    """How many objects of the repository were read so far."""
    return sum(reader.read for reader in world.git.reading._readers.values())


def peak(pid: int) -> int:
    """The most memory that a process ever had, in bytes."""
    line = next(
        row for row in Path(f"/proc/{pid}/status").read_text().splitlines() if row.startswith("VmHWM")
    )
    return int(line.split()[1]) * 1024


def packed(world: World) -> int:
    return sum(each.stat().st_size for each in world.cache.rglob("*.pack"))


async def test_trees_that_repeat_and_folders_that_are_long_or_deep(
    world: World, bombs: Bombs, repository: Repository
) -> None:
    """Ten million paths are a few kilobytes; each refusal costs as many objects as there are different ones on the way."""
    many, files = bombs.nested(5, 100, bombs.files(10)), bombs.files(100_000)
    inside = bombs.files(1)
    tree = bombs.folder(
        [("paths", bombs.nested(6, 10, bombs.files(10)), TREE), ("deep", bombs.chain(500, inside), TREE),
         ("wide", many, TREE), ("fine", bombs.files(1_000), TREE)]
    )  # fmt: skip
    bombs.commit(tree)
    sha = (await world.check(repository)).sha
    assert packed(world) < MIB
    old = world.git.tree(repository, sha)
    assert "files, more than the 50,000 of settings.maxFiles; " in refusal(old, "paths")
    assert "files, more than the 50,000 of settings.maxFiles; " in refusal(old, "wide")
    assert reads(world) < 250, "one for each folder that was walked, not for each path"
    assert "levels of nesting, more than the 64 of settings.maxDepth; " in refusal(old, "deep")
    assert (
        len(gather(old, SyncSpec.model_validate({"source": {"name": "s"}, "path": "fine"})).manifests)
        == 1_000
    )
    bombs.commit(
        bombs.folder(
            [
                ("paths", bombs.nested(6, 10, bombs.files(10, CONFIG + b"#")), TREE),
                ("many", files, TREE),
            ]
        )
    )
    new = world.git.tree(repository, (await world.check(repository)).sha)
    before = reads(world)
    assert compare(old, new, Budgets(max_files=5_000)) == EVERYTHING
    assert reads(world) - before < 10_000
    words = (
        "many: 100,000 files and folders in one folder, more than the 50,000 of settings.maxFolderEntries; "
    )
    assert words in refusal(new, "many")


async def test_blanks_that_are_unpacked_by_nobody(
    world: World, bombs: Bombs, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """600 MiB in 2.8 MB or less: it is fetched, as it may be of no use to any Sync, and refused by its header where it is read."""
    tree = bombs.folder([("a.yaml", bombs.blanks(600), FILE), ("b.yaml", bombs.file(CONFIG), FILE)])
    bombs.commit(tree)
    peaks: dict[int, int] = {}
    kill = Child.kill

    def measured(child: Child) -> None:
        if child.process.pid not in peaks:  # it may be told twice
            peaks[child.process.pid] = peak(child.process.pid)
        kill(child)

    monkeypatch.setattr(Child, "kill", measured)
    sha = (await world.check(repository)).sha
    assert packed(world) < 3 * MIB
    (fetched,) = peaks.values()
    assert fetched < 150 * MIB, "the process that fetched it unpacked it"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    found = world.git.tree(repository, sha)
    with pytest.raises(Problem) as raised:
        found.read("a.yaml")
    assert raised.value.reason is Reason.TooLarge
    assert raised.value.message == (
        "a.yaml: 629,145,600 bytes in one file, more than the 16,777,216 of settings.maxFileSize; "
        "leave it out of what the Sync reads, or split it, or raise the setting"
    )
    assert found.read("b.yaml") == CONFIG
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before < 50 * MIB


async def test_a_fetch_over_budget_keeps_the_commit_before(
    make_world: MakeWorld, bombs: Bombs, repository: Repository, tmp_path: Path
) -> None:
    budgets = {
        "max_fetch_objects": Budgets(max_fetch_objects=100),
        "max_fetch_size": Budgets(max_fetch_size=64 * 1024),
        "max_fetch_unpacked": Budgets(max_fetch_unpacked=100_000),
        "max_file_size": Budgets(max_file_size=10_000),
    }
    worlds = {name: make_world(cache=tmp_path / name, budgets=each) for name, each in budgets.items()}
    good = bombs.commit(bombs.files(1))
    for world in worlds.values():
        assert (await world.check(repository)).sha == good
    noise = [bombs.file(hashed(n)) for n in range(200)]
    bombs.commit(bombs.folder((f"{n:0100}.yaml", each, FILE) for n, each in enumerate(noise)))
    problems = await asyncio.gather(*(world.fails(repository) for world in worlds.values()))
    for (name, world), problem in zip(worlds.items(), problems, strict=True):
        assert problem.reason is Reason.TooLarge, (name, problem)
        assert f"settings.{camel(name)}; " in problem.message, problem
        assert repository.remote.url in problem.message
        assert world.read(repository, good, "000000.yaml") == CONFIG
        assert packed(world) < 10_000, "what is over budget is not kept"
    assert "Git object" in problems[3].message, "a folder, by its header, before it is read"
    raised = make_world(cache=tmp_path / "max_file_size")
    assert (await raised.check(repository, MAIN)).sha != good


def hashed(number: int) -> bytes:
    """What does not pack well."""
    return b"".join(hashlib.sha256(f"{number} {n}".encode()).digest() for n in range(64))


def camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(each.capitalize() for each in others)
