"""A broker with real readers: each namespace has its own, and what one dies of is nobody else's."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.kit.brokered import Brokered
from tests.kit.cluster import binaries
from tests.kit.servers.repo import Repo, Submodule

from setpoint.api.reasons import Reason
from setpoint.wall.messages import (
    Build,
    Built,
    Check,
    Checked,
    Compare,
    Compared,
    Failed,
    GitRef,
    Login,
    Look,
    Objects,
    Place,
    Same,
)
from setpoint.worker.child import Key

pytestmark = pytest.mark.asyncio

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\n"
MAIN = GitRef(branch="main")
HUNGRY = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata: {{k: [{'{a: b},' * 500_000}]}}\n"
"""3.5 MB that are many more when they are read."""


class World:
    """A repository, and a broker."""

    def __init__(self, repo: Repo, worker: Brokered) -> None:
        self.repo, self.worker = repo, worker

    async def check(self, namespace: str = "team", *, submodules: bool = False) -> Checked:
        place = Place(namespace, f"file://{self.repo.path}", Login(), submodules, 60.0)
        found = await self.worker.check(Check(place, MAIN))
        assert isinstance(found, Checked), found
        return found

    async def build(self, at: Checked, path: str = ".", namespace: str = "team", **fields: Any) -> Any:
        submodules = fields.pop("submodules", False)
        return await self.worker.build(
            Build(Look(namespace, at.handle, at.sha, submodules, {"path": path}), ())
        )

    def pids(self) -> dict[tuple[str, int], int]:
        """Return the readers that take requests: their namespaces, and whether they are for one request alone."""
        return {
            (each.key.namespace, each.key.alone): each.pid
            for each in self.worker.broker.readers._pool.all
            if each.usable
        }


Make = Callable[..., Any]


@pytest_asyncio.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    made: list[Brokered] = []

    async def start(**settings: Any) -> World:
        kustomize = str(binaries.ensure("kustomize")["kustomize"])
        worker = Brokered(tmp_path / "cache", kustomize=kustomize, **settings)
        await worker.__aenter__()
        made.append(worker)
        return World(Repo(tmp_path / "app.git"), worker)

    yield start
    for each in made:
        await each.__aexit__(None, None, None)


@pytest_asyncio.fixture
async def world(make: Make) -> World:
    found: World = await make()
    return found


async def test_objects_come_from_a_reader_of_the_namespace(world: World) -> None:
    world.repo.commit(
        {"a/a.yaml": CONFIG % "a", "k/a.yaml": CONFIG % "a", "k/kustomization.yaml": "resources: [a.yaml]"}
    )
    at = await world.check()
    plain, built = await world.build(at, "a"), await world.build(at, "k")
    assert [each.objects[0].manifest["metadata"]["name"] for each in (plain, built)] == ["a", "a"]
    assert list(world.pids()) == [("team", 0)]
    other = await world.check("other")
    assert isinstance(await world.build(other, "a", "other"), Built)
    assert sorted(world.pids()) == [("other", 0), ("team", 0)]


async def test_a_commit_that_is_known_asks_no_reader(world: World) -> None:
    world.repo.commit({"a.yaml": CONFIG % "a"})
    at = await world.check()
    for pid in world.pids().values():
        os.kill(pid, signal.SIGKILL)
    while world.pids():
        await asyncio.sleep(0)
    assert await world.check() == at
    assert not world.pids()


async def test_a_sync_of_another_namespace_has_a_reader_that_sees_its_mirror_alone(world: World) -> None:
    """What that tenant writes into its spec is read where no other commit of the Source's namespace is."""
    world.repo.commit({"a.yaml": CONFIG % "a"})
    at = await world.check()
    built = await world.build(at, ".", "guest")
    assert isinstance(built, Built)
    (guest,) = (each for each in world.worker.broker.readers._pool.all if each.key.namespace == "guest")
    assert guest.key.folders == (str(world.worker.broker.commits._fetching.mirror(at.handle).path),)
    world.repo.commit({"b.yaml": "x"})
    new = await world.check()
    step = Compare(at.handle, at.sha, new.sha, False, (built.read_set,))
    assert await world.worker.compare(step) == Compared((built.read_set,))
    world.repo.commit({"b/b.yaml": "x", "b.yaml": None})
    deep = await world.build(new, "b.yaml", "guest")
    assert isinstance(deep, Failed)


async def test_a_reader_that_is_killed_at_work_costs_nobody_an_answer(world: World) -> None:
    files = {f"p{n}/a{m}.yaml": CONFIG % f"a{m}" for n in range(8) for m in range(40)}
    world.repo.commit(files)
    at = await world.check()
    asked = [asyncio.create_task(world.build(at, f"p{n}")) for n in range(8)]
    while (
        not (child := world.worker.broker.readers._pool.find(Key("team", _folder(world)))) or not child.busy
    ):
        await asyncio.sleep(0)
    os.kill(child.pid, signal.SIGKILL)
    for each in await asyncio.gather(*asked):
        assert isinstance(each, Built), each
        assert len(each.objects) == 40


async def test_what_takes_more_memory_than_a_reader_has_is_refused_alone(make: Make) -> None:
    world: World = await make(reader_memory=96 * 2**20, max_yaml_values=10**7)
    world.repo.commit({"bomb/a.yaml": HUNGRY, **{f"p{n}/a.yaml": CONFIG % "a" for n in range(4)}})
    at = await world.check()
    found = await asyncio.gather(world.build(at, "bomb"), *(world.build(at, f"p{n}") for n in range(4)))
    assert isinstance(found[0], Failed)
    assert found[0].reason is Reason.TooLarge
    assert found[0].message == (
        "to read this takes more than the 96 MiB of memory of settings.readerMemory; make several Syncs of it, "
        "or raise the setting"
    )
    assert all(isinstance(each, Built) for each in found[1:]), found[1:]


async def test_a_reader_that_is_never_at_rest_is_replaced_before_it_is_ended(world: World) -> None:
    world.repo.commit({"a.yaml": CONFIG % "a"})
    at = await world.check()
    before = world.pids()
    (child,) = world.worker.broker.readers._pool.all
    child.watched.use = replace(child.watched.use, processor=child.watched.allowance.processor / 2)
    assert isinstance(await world.build(at), Built)
    assert world.pids().keys() == before.keys()
    assert world.pids() != before


async def test_more_namespaces_than_readers(make: Make) -> None:
    world: World = await make(readers=2)
    world.repo.commit({"a.yaml": CONFIG % "a"})
    names = [f"team-{n}" for n in range(6)]
    for _ in range(2):
        checked = await asyncio.gather(*(world.check(each) for each in names))
        built = await asyncio.gather(
            *(world.build(at, ".", each) for each, at in zip(names, checked, strict=True))
        )
        assert all(isinstance(each, Built) for each in built)
    assert len(world.worker.broker.readers._pool.all) <= 2


async def test_read_sets_of_a_reader_that_is_gone_are_touched(world: World) -> None:
    world.repo.commit({"a/a.yaml": CONFIG % "a"})
    at = await world.check()
    built = await world.build(at, "a")
    world.repo.commit({"b.yaml": "x"})
    new = await world.check()
    step = Compare(at.handle, at.sha, new.sha, False, (built.read_set,))
    assert await world.worker.compare(step) == Compared()
    (pid,) = world.pids().values()
    os.kill(pid, signal.SIGKILL)
    while world.pids():
        await asyncio.sleep(0)
    assert await world.worker.compare(step) == Compared((built.read_set,))
    again = await world.worker.objects(
        Objects(Look("team", at.handle, at.sha, False, {"path": "a"}), built.digest)
    )
    assert isinstance(again, Built)
    same = await world.worker.build(
        Build(Look("team", at.handle, at.sha, False, {"path": "a"}), (built.digest,))
    )
    assert isinstance(same, Same)


async def test_submodules_are_told_to_whoever_reads(world: World, tmp_path: Path) -> None:
    inner, innermost = Repo(tmp_path / "inner.git"), Repo(tmp_path / "innermost.git")
    last = innermost.commit({"c.yaml": CONFIG % "c"})
    modules = '[submodule "sub"]\n path = sub\n url = file://%s\n'
    pinned = inner.commit(
        {"b.yaml": CONFIG % "b", "sub": Submodule(last), ".gitmodules": modules % innermost.path}
    )
    world.repo.commit({"a.yaml": CONFIG % "a", "sub": Submodule(pinned), ".gitmodules": modules % inner.path})
    at = await world.check(submodules=True)
    for namespace in ("team", "guest"):
        built = await world.build(at, ".", namespace, submodules=True)
        assert [each.manifest["metadata"]["name"] for each in built.objects] == ["a", "b", "c"], namespace


async def test_submodules_that_are_switched_on_at_a_commit_that_is_known(
    world: World, tmp_path: Path
) -> None:
    inner = Repo(tmp_path / "inner.git")
    pinned = inner.commit({"b.yaml": CONFIG % "b"})
    modules = '[submodule "lib"]\n path = app/lib\n url = ../inner.git\n'
    world.repo.commit({"app/a.yaml": CONFIG % "a", "app/lib": Submodule(pinned), ".gitmodules": modules})
    at = await world.check()
    for wanted, names in ((False, ["a"]), (True, ["a", "b"]), (False, ["a"]), (True, ["a", "b"])):
        at = await world.check(submodules=wanted)
        built = await world.build(at, "app", submodules=wanted)
        assert isinstance(built, Built), built
        assert [each.manifest["metadata"]["name"] for each in built.objects] == names


async def test_a_broker_loads_nothing_that_reads_what_tenants_wrote() -> None:
    script = (
        "import sys, setpoint.worker.process\n"
        "loaded = {'pygit2', 'yaml', 'pathspec', 'setpoint.objects.yaml', 'setpoint.tree.changes'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {sorted(loaded)}' if loaded else 0)"
    )
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def _folder(world: World) -> tuple[str, ...]:
    return (str(world.worker.broker.readers._plan.mirrors / "team"),)
