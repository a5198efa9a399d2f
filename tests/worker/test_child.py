"""A reader as the broker has it: what it forgets, which folders it sees, and what there is when it cannot be started."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.kit.brokered import Brokered
from tests.kit.servers.repo import Repo

from setpoint.api.reasons import Problem
from setpoint.fences.launching import Connection, LaunchError, Started
from setpoint.git.child import launch
from setpoint.git.workers import LAUNCHER as GIT
from setpoint.wall.inside import Told
from setpoint.wall.messages import Build, Built, Check, Compare, Compared, Drop, GitRef, Login, Look, Place
from setpoint.worker.child import DROPS, MOST_DROPS, Child, Key
from setpoint.worker.readers import LAUNCHER

pytestmark = pytest.mark.asyncio

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"


class World:
    """A broker, and the repository of a team."""

    def __init__(self, folder: Path, worker: Brokered) -> None:
        self.repo, self.worker = Repo(folder / "app.git"), worker
        self.readers = worker.broker.readers
        self.mirrors = folder / "cache/git/mirrors/team"
        self.key = Key("team", (str(self.mirrors),))

    async def check(self) -> Any:
        place = Place("team", f"file://{self.repo.path}", Login(), submodules=False, timeout=60.0)
        return await self.worker.check(Check(place, GitRef(branch="main")))

    async def child(self) -> Child:
        """Return the team's reader, started if there is none."""

        async def ask(child: Child) -> Child:
            return child

        return await self.readers.use(self.key, ask)


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with Brokered(tmp_path / "cache", kustomize="/nowhere") as worker:
        yield World(tmp_path, worker)


@contextmanager
def crowded(free: int) -> Iterator[None]:
    """Leave this process so many file descriptors within the block."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(map(int, os.listdir("/proc/self/fd"))) + 4
    with ExitStack() as taken:
        taken.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, limits[1]))
        held: list[int] = []
        try:
            while True:
                held.append(os.dup(0))
                taken.callback(os.close, held[-1])
        except OSError:
            for each in held[len(held) - free :]:
                os.close(each)
        yield
        for each in held[len(held) - free :]:
            os.dup2(0, each)


def names(count: int) -> tuple[str, ...]:
    return tuple(f"{n:064x}" for n in range(count))


async def test_a_burst_of_drops_is_forgotten_by_the_reader_that_is_there(world: World) -> None:
    world.repo.commit({"a/a.yaml": CONFIG})
    at = await world.check()
    built = await world.worker.build(Build(Look("team", at.handle, at.sha, False, {"path": "a"}), ()))
    assert isinstance(built, Built)
    world.repo.commit({"b.yaml": "x"})
    step = Compare(at.handle, at.sha, (await world.check()).sha, False, (built.read_set,))
    assert await world.worker.compare(step) == Compared()
    child = await world.child()
    for each in names(3 * DROPS):
        world.readers.drop(Drop("team", (each,), ()))
    world.readers.drop(Drop("team", (), (built.read_set,)))
    while await world.worker.compare(step) != Compared((built.read_set,)):
        assert child.usable
    assert await world.child() is child


async def test_a_reader_that_forgets_too_late_is_ended(world: World) -> None:
    child = await world.child()
    world.readers.drop(Drop("team", names(MOST_DROPS + 1), ()))
    assert (await child.exit).status == -signal.SIGKILL


async def test_a_reader_for_one_request_has_nothing_to_forget(world: World) -> None:
    async def ask(child: Child) -> int:
        world.readers.drop(Drop("team", names(MOST_DROPS + 1), ()))
        assert await child.caller.call(Told("team/x", "0" * 40, ())) is None
        return child.key.alone

    assert await world.readers.use(world.key._replace(alone=7), ask) == 7


async def test_a_folder_that_is_replaced_while_its_reader_starts_is_not_seen(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Connection.start

    async def start(self: Connection, *args: Any) -> Started:
        started = await real(self, *args)
        world.mirrors.rename(world.mirrors.with_name("old"))
        world.mirrors.mkdir()
        return started

    monkeypatch.setattr(Connection, "start", start)
    child = await world.child()
    assert not child.stands()
    monkeypatch.undo()
    assert (await world.child()).stands()


@pytest.mark.parametrize("free", [0, 2])
async def test_without_file_descriptors_no_reader_is_started_and_none_is_lost(
    world: World, free: int
) -> None:
    await world.child()  # its launcher runs
    before = len(os.listdir("/proc/self/fd"))
    with crowded(free), pytest.raises(Problem, match="no reader can be started"):
        await world.readers.use(world.key._replace(alone=7), lambda _: pytest.fail("there is one"))
    while len(os.listdir("/proc/self/fd")) != before:
        await asyncio.sleep(0.01)  # its folder is removed by a thread
    assert await world.readers.use(world.key._replace(alone=8), _alone) == 8


@pytest.mark.parametrize("free", [0, 2, 3])
async def test_without_file_descriptors_no_launcher_is_started(world: World, free: int) -> None:
    before = len(os.listdir("/proc/self/fd"))
    loop = world.worker._tasks[0].get_loop()
    with crowded(free), pytest.raises(LaunchError, match="the launcher of readers cannot be started"):
        Connection(loop, LAUNCHER, {}, "readers")
    assert len(os.listdir("/proc/self/fd")) == before


async def test_without_file_descriptors_no_process_for_git_is_started(world: World) -> None:
    connection = Connection(world.worker._tasks[0].get_loop(), GIT, {}, "Git workers")
    try:
        with crowded(1), pytest.raises(LaunchError, match="no sockets"):
            await launch(connection, {})
        with crowded(0), pytest.raises(LaunchError, match="has no room"):
            await connection.start({"long": "x" * 70_000}, ())
    finally:
        connection.close()


async def _alone(child: Child) -> int:
    return child.key.alone
