"""What is lost in a mirror while its generation stays is noticed by whoever reads it, and fetched again."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.kit.brokered import Brokered
from tests.kit.servers.repo import Repo
from tests.worker.test_broker import CONFIG, World

from setpoint.wall.messages import Build, Built, Checked, Compare, Compared, Look, Lost

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with Brokered(tmp_path / "cache") as worker:
        yield World(Repo(tmp_path / "app.git"), worker)


def generation(world: World, at: Checked) -> Path:
    found = world.worker.broker._fetching.mirror(at.handle).current()
    assert found is not None
    return found


def scatter(place: Path) -> None:
    """Make loose objects of all packs."""
    packs = [(each.read_bytes(), each) for each in (place / "objects/pack").glob("*.pack")]
    for each in (place / "objects/pack").iterdir():
        each.unlink()
    for data, _ in packs:
        subprocess.run(["git", "-C", str(place), "unpack-objects", "-q"], input=data, check=True)


async def end_readers(world: World) -> None:
    for pid in world.pids().values():
        os.kill(pid, signal.SIGKILL)
    for child in list(world.worker.broker.readers._pool.all):
        await child.exit


async def test_packs_that_are_gone(world: World) -> None:
    world.repo.commit({"a.yaml": CONFIG % "a"})
    at = await world.check()
    assert isinstance(await world.build(at), Built)
    for each in (generation(world, at) / "objects/pack").iterdir():
        each.unlink()
    await end_readers(world)
    assert await world.build(at) == Lost()
    assert (await world.check()).held
    assert isinstance(await world.build(at), Built)


async def test_a_file_that_only_a_guest_reads(world: World) -> None:
    """One Source serves the Syncs of many namespaces; of its own there may be none."""
    world.repo.commit({"a.yaml": CONFIG % "a", "d/b.yaml": CONFIG % "b"})
    at = await world.check()
    place = generation(world, at)
    scatter(place)
    blob = subprocess.run(
        ["git", "-C", str(world.repo.path), "rev-parse", f"{at.sha}:d/b.yaml"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    (place / "objects" / blob[:2] / blob[2:]).unlink()
    await end_readers(world)
    assert await world.build(at, "d", "guest") == Lost()
    assert (await world.check()).held
    assert generation(world, at) != place
    assert isinstance(await world.build(at, "d", "guest"), Built)
    # A second word of it, within the hour, costs the Source nothing.
    place = generation(world, at)
    for each in (place / "objects/pack").iterdir():
        each.unlink()
    await end_readers(world)
    await world.build(at, "d", "guest")
    assert generation(world, at) == place


async def test_a_comparison_says_that_a_commit_is_not_there(world: World) -> None:
    world.repo.commit({"a.yaml": CONFIG % "a"})
    at = await world.check()
    for missing in (("1" * 40, at.sha), (at.sha, "1" * 40), ("1" * 40, "1" * 40)):
        step = Compare(at.handle, *missing, submodules=False, read_sets=())
        assert await world.worker.compare(step) == Compared(everything=True)
    same = Compare(at.handle, at.sha, at.sha, submodules=False, read_sets=())
    assert await world.worker.compare(same) == Compared()


async def test_what_a_reader_was_asked_before_is_not_blamed_on_who_comes_after(world: World) -> None:
    """A reader that is over its limit ends with one request; that is asked once more before it is refused."""
    world.repo.commit({"a.yaml": CONFIG % "a"})
    at = await world.check()
    assert isinstance(await world.build(at), Built)
    (child,) = world.worker.broker.readers._pool.all
    look = Look("team", at.handle, at.sha, False, {"path": "."})

    child.watched.allowance = child.watched.allowance.__class__(1, 32, 600.0, 1800.0)
    answer = await world.worker.build(Build(look, ()))
    while not child.exit.done():
        answer = await world.worker.build(Build(look, ()))
        assert isinstance(answer, Built), answer
