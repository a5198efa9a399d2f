"""The cache: two processes at once, wiped, damaged, too small, full, not writable."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.git.conftest import MIB, MakeWorld, World, trusting
from tests.kit.cluster.pki import Authority
from tests.kit.servers.githttp import GitHttp
from tests.kit.servers.repo import Repo, git

from setpoint.api.reasons import Problem, Reason
from setpoint.git import mirror
from setpoint.git.remotes import Repository
from setpoint.runtime.disk import taken
from setpoint.wall.messages import GitRef

pytestmark = pytest.mark.asyncio


def noise(size: int, seed: int = 0) -> bytes:
    """Return bytes that do not compress."""
    return random.Random(seed).randbytes(size)


def generation_of(world: World, repository: Repository) -> Path:
    found = world.git.fetching._mirror(repository).current()
    assert found is not None
    return found


@pytest.fixture
def repo(git_https: GitHttp) -> Repo:
    """A repository over HTTPS."""
    return git_https.repo("app")


@pytest.fixture
def repository(git_https: GitHttp, authority: Authority) -> Repository:
    """How to reach it."""
    return trusting(git_https.url("app"), authority)


async def test_two_operators_fetch_into_one_mirror_at_once(
    make_world: MakeWorld, repo: Repo, repository: Repository
) -> None:
    names = [f"b{n}" for n in range(6)]
    commits = [
        repo.commit({"a": name, "big": noise(200_000, n)}, branch=name) for n, name in enumerate(names)
    ]
    worlds = [make_world(), make_world()]
    checks = [world.check(repository, GitRef(branch=name)) for name in names for world in worlds]
    found = await asyncio.gather(*checks)
    assert [each.sha for each in found[::2]] == [each.sha for each in found[1::2]] == commits
    assert generation_of(worlds[0], repository) == generation_of(worlds[1], repository)
    for world in worlds:
        assert [world.read(repository, sha, "a").decode() for sha in commits] == names
    git("-C", generation_of(worlds[0], repository), "fsck", "--no-dangling")


async def test_a_wiped_cache_is_filled_again(world: World, repo: Repo, repository: Repository) -> None:
    """With a child that lives on, whose home was in there as well."""
    sha = repo.commit({"a": "1"})
    await world.check(repository)
    for each in world.cache.iterdir():
        shutil.rmtree(each) if each.is_dir() else each.unlink()
    assert not world.git.has(repository, sha)
    assert (await world.check(repository)).sha == sha
    assert world.read(repository, sha, "a") == b"1"


async def test_a_wiped_mirror_is_filled_again(world: World, repo: Repo, repository: Repository) -> None:
    sha = repo.commit({"a": "1"})
    await world.check(repository)
    shutil.rmtree(world.git.fetching._mirror(repository).path)
    assert not world.git.has(repository, sha)
    await world.check(repository)
    assert world.read(repository, sha, "a") == b"1"


def overwrite(path: Path, at: int, length: int) -> None:
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xff" * length)


@pytest.mark.parametrize(
    "damage", ["no pack", "no index", "empty pack", "overwritten", "no config", "no refs"]
)
async def test_a_damaged_mirror_is_made_anew(
    make_world: MakeWorld, repo: Repo, repository: Repository, damage: str
) -> None:
    sha = repo.commit({"a": "1", "b": noise(5000)})
    first = make_world()
    await first.check(repository)
    generation = generation_of(first, repository)
    await first.git.close()
    for pack in generation.glob("objects/pack/*.pack"):
        match damage:
            case "no pack":
                pack.unlink()
            case "no index":
                pack.with_suffix(".idx").unlink()
            case "empty pack":
                pack.unlink()
                pack.touch()
            case "overwritten":
                overwrite(pack, 12, pack.stat().st_size - 40)
    if damage == "no config":
        (generation / "config").unlink()
        (generation / "HEAD").unlink()
    if damage == "no refs":
        shutil.rmtree(generation / "refs")
    second = make_world()
    assert not second.git.has(repository, sha)
    assert (await second.check(repository)).sha == sha
    assert (second.read(repository, sha, "a"), second.read(repository, sha, "b")) == (b"1", noise(5000))


async def test_damage_that_only_reading_finds_is_repaired(
    make_world: MakeWorld, repo: Repo, repository: Repository
) -> None:
    repo.commit({"a": "1"})
    first = make_world()
    await first.check(repository)
    sha = repo.commit({"folder/big": noise(50_000)})
    await first.check(repository)
    generation = generation_of(first, repository)
    await first.git.close()
    largest = max(generation.glob("objects/pack/*.pack"), key=lambda each: each.stat().st_size)
    overwrite(largest, largest.stat().st_size // 2, 100)
    second = make_world()
    assert second.git.has(repository, sha)
    with pytest.raises(Problem) as caught:
        second.read(repository, sha, "folder/big")
    assert caught.value.transient
    assert not second.git.has(repository, sha)
    await second.check(repository)
    assert second.read(repository, sha, "folder/big") == noise(50_000)


async def test_the_mirrors_used_longest_ago_are_dropped(
    make_world: MakeWorld, git_https: GitHttp, authority: Authority
) -> None:
    world = make_world(limit=4 * MIB)
    repositories, heads = [], []
    for n in range(6):
        heads.append(git_https.repo(f"r{n}").commit({"big": noise(MIB, n)}))
        repositories.append(trusting(git_https.url(f"r{n}"), authority))
        await world.check(repositories[-1])
        os.utime(world.git.fetching._mirror(repositories[-1]).lock, (n, n))
    held = [world.git.has(each, heads[n]) for n, each in enumerate(repositories)]
    assert held == [False, False, False, True, True, True]
    assert taken(world.cache, 2**40) < 4 * MIB


async def test_what_is_being_read_is_not_dropped(
    make_world: MakeWorld, git_https: GitHttp, authority: Authority
) -> None:
    """Neither by us nor by another process; and once it is let go of, it goes."""
    world, other = make_world(limit=2 * MIB), make_world(limit=2 * MIB)
    first = trusting(git_https.url("first"), authority)
    sha = git_https.repo("first").commit({"big": noise(MIB), "x": "1"})
    await world.check(first)
    tree = world.git.tree(first, sha)
    for n, who in enumerate((world, other)):
        git_https.repo(f"r{n}").commit({"big": noise(MIB, n + 1)})
        await who.check(trusting(git_https.url(f"r{n}"), authority))
        assert tree.read("big") == noise(MIB)
        assert tree.read("x") == b"1"
    del tree
    git_https.repo("last").commit({"big": noise(MIB, 9)})
    await world.check(trusting(git_https.url("last"), authority))
    assert not world.git.has(first, sha)


async def test_a_repository_larger_than_the_cache(
    make_world: MakeWorld, repo: Repo, repository: Repository
) -> None:
    world = make_world(limit=2 * MIB)
    small = repo.commit({"a": "1"})
    await world.check(repository)
    repo.commit({"big": noise(4 * MIB)})
    problem = await world.fails(repository)
    assert problem.reason is Reason.CacheFull
    assert "2 MiB" in problem.message
    assert world.read(repository, small, "a") == b"1"
    assert taken(world.cache, 2**40) < MIB


async def test_who_does_not_fit_into_the_empty_cache_drops_nobody_s_mirror(
    make_world: MakeWorld, volume: Path, git_https: GitHttp, authority: Authority
) -> None:
    """On a volume that is the limit, nobody knows before; then it is once in an hour for a namespace."""
    for world, size in ((make_world(limit=2 * MIB), 4), (make_world(cache=volume / "cache"), 2)):
        sha = git_https.repo(f"small{size}").commit({"big": noise(MIB // 4, size)})
        small = trusting(git_https.url(f"small{size}"), authority)
        large = trusting(git_https.url(f"large{size}"), authority)
        git_https.repo(f"large{size}").commit({"big": noise(size * MIB)})
        for attempt in range(3):
            await world.check(small)
            problem = await world.fails(large)
            assert problem.reason is Reason.CacheFull
            assert "cache.size" in problem.message
            held = world.git.has(small, sha)
            assert held or (attempt == 0 and size == 2)


async def test_no_more_mirrors_are_dropped_than_make_enough_room(
    make_world: MakeWorld, volume: Path, git_https: GitHttp, authority: Authority
) -> None:
    world = make_world(cache=volume / "cache")
    repositories, heads = [], []
    for n in range(4):
        heads.append(git_https.repo(f"r{n}").commit({"big": noise(MIB // 3, n)}))
        repositories.append(trusting(git_https.url(f"r{n}"), authority))
        await world.check(repositories[-1])
        os.utime(world.git.fetching._mirror(repositories[-1]).lock, (n, n))
    sha = git_https.repo("last").commit({"big": noise(MIB * 2 // 3, 9)})
    last = trusting(git_https.url("last"), authority)
    await world.check(last)
    assert world.git.has(last, sha)
    held = [world.git.has(each, heads[n]) for n, each in enumerate(repositories)]
    assert held[-1]
    assert held == sorted(held)


async def test_a_repository_that_changes_much_stays_below_the_limit(
    make_world: MakeWorld, repo: Repo, repository: Repository
) -> None:
    world = make_world(limit=4 * MIB)
    for n in range(8):
        sha = repo.commit({"big": noise(MIB, n)})
        await world.check(repository)
        assert world.read(repository, sha, "big") == noise(MIB, n)
        assert taken(world.cache, 2**40) < 5 * MIB


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """A memory-backed volume of 2 MiB, as the chart's."""
    folder = tmp_path / "volume"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "none", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"needs the right to mount a tmpfs: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


async def test_a_full_volume(make_world: MakeWorld, volume: Path, repo: Repo, repository: Repository) -> None:
    world = make_world(cache=volume / "cache")
    small = repo.commit({"a": "1"})
    await world.check(repository)
    repo.commit({"big": noise(4 * MIB)})
    problem = await world.fails(repository)
    assert problem.reason is Reason.CacheFull
    assert world.read(repository, small, "a") == b"1"
    (volume / "filler").write_bytes(b"x" * (shutil.disk_usage(volume).free - 8192))
    repo.commit({"big": None, "half": noise(MIB // 2)})
    assert (await world.fails(repository)).reason is Reason.CacheFull
    (volume / "filler").unlink()
    sha = (await world.check(repository)).sha
    assert world.read(repository, sha, "half") == noise(MIB // 2)


async def test_a_full_volume_makes_room_first(
    make_world: MakeWorld, volume: Path, git_https: GitHttp, authority: Authority
) -> None:
    world = make_world(cache=volume / "cache")
    for n in range(5):
        sha = git_https.repo(f"r{n}").commit({"big": noise(MIB * 3 // 4, n)})
        repository = trusting(git_https.url(f"r{n}"), authority)
        await world.check(repository)
        assert world.read(repository, sha, "big") == noise(MIB * 3 // 4, n)


async def test_a_volume_that_cannot_be_written(
    make_world: MakeWorld, volume: Path, repo: Repo, repository: Repository
) -> None:
    subprocess.run(["mount", "-o", "remount,ro", volume], check=True)
    repo.commit({"a": "1"})
    problem = await make_world(cache=volume / "cache").fails(repository)
    assert problem.reason is Reason.CacheFull
    assert "read-only" in problem.message


async def test_a_volume_that_cannot_be_written_any_more_has_nothing_to_drop(
    make_world: MakeWorld, volume: Path, git_https: GitHttp, authority: Authority
) -> None:
    """Where another mirror would make room, if it could be removed."""
    world = make_world(cache=volume / "cache")
    for name in ("other", "app"):
        git_https.repo(name).commit({"a": "1"})
        await world.check(trusting(git_https.url(name), authority))
    git_https.repo("app").commit({"a": "2"})
    subprocess.run(["mount", "--bind", volume, volume], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", volume], check=True)
        problem = await world.fails(trusting(git_https.url("app"), authority))
    finally:
        subprocess.run(["umount", "--lazy", volume], check=True)
    assert problem.reason is Reason.CacheFull
    assert "read-only" in problem.message


async def test_a_read_only_volume_is_still_read(
    make_world: MakeWorld, volume: Path, repo: Repo, repository: Repository
) -> None:
    first = make_world(cache=volume / "cache")
    sha = repo.commit({"a": "1"})
    await first.check(repository)
    await first.git.close()
    # Landlock lets go of the folders of a process a moment after that has ended; until then the volume is busy.
    async with asyncio.timeout(60):
        while subprocess.run(
            ["mount", "-o", "remount,ro", volume], check=False, capture_output=True
        ).returncode:
            await asyncio.sleep(0.02)
    world = make_world(cache=volume / "cache")
    assert world.git.has(repository, sha)
    assert world.read(repository, sha, "a") == b"1"
    assert (await world.fails(repository)).reason is Reason.CacheFull


async def test_homes_of_dead_processes_are_removed(
    make_world: MakeWorld, repo: Repo, repository: Repository
) -> None:
    repo.commit({"a": "1"})
    world = make_world()
    dead = world.cache / "run" / "1-1"
    dead.mkdir(parents=True)
    (dead / "alive").touch()
    other = make_world()
    await other.check(repository)
    await world.check(repository)
    assert not dead.exists()
    assert len(list((world.cache / "run").iterdir())) == 2


@pytest.mark.parametrize("lost", ["HEAD", "objects", "config"])
async def test_a_wipe_that_leaves_half_of_what_a_child_works_with(
    make_world: MakeWorld, repo: Repo, repository: Repository, lost: str
) -> None:
    world = make_world()
    repo.commit({"a": "1"})
    await world.check(repository)
    (scratch,) = world.cache.glob("run/*/*/scratch.git")
    (shutil.rmtree if lost == "objects" else os.unlink)(scratch / lost)
    sha = repo.commit({"a": "2"})
    assert (await world.check(repository)).sha == sha


def open_files(below: Path, pid: int | str = "self") -> list[str]:
    """Return the files under a folder that a process has open, also those that were deleted."""
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return sorted(each for each in found if each.startswith(str(below)))


async def test_many_commits_keep_few_files_open(
    make_world: MakeWorld, repo: Repo, repository: Repository
) -> None:
    world = make_world()
    for number in range(mirror.MAX_PACKS + 4):
        repo.commit({"a": str(number)}, f"{number}")
        selected = await world.check(repository)
        assert world.read(repository, selected.sha, "a") == str(number).encode()
        held = open_files(world.cache)
        assert len(held) <= mirror.PACK_FILES + 2, held
        held = [each for pid in world.pids() for each in open_files(world.cache / "mirrors", pid)]
        assert len(held) <= 2, held
    held = open_files(world.cache)
    assert not [each for each in held if each.endswith("(deleted)")], held
