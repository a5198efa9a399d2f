"""Who reads writes nothing: he is told what commits pin, tells what is damaged, and holds no lock that he does not need."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kit.fenced import PYTHON
from tests.kit.servers.repo import Repo, Submodule

from setpoint.api.budgets import Budgets
from setpoint.api.reasons import Problem, Reason
from setpoint.fences import kernel
from setpoint.git.contents import reading as module
from setpoint.git.contents.reading import Reading
from setpoint.git.links import Link, Pin
from setpoint.git.mirror import MIRRORS, Mirror, mirror_at

APP, LIB, OTHER = (f"{space}/{digit * 40}" for space, digit in (("team", "a"), ("team", "b"), ("other", "c")))
MODULES = '[submodule "lib"]\n\tpath = lib\n\turl = ../lib.git\n'


class World:
    """Mirrors in a folder, and one who reads them."""

    def __init__(self, folder: Path) -> None:
        self.mirrors, self.damaged = folder / "cache" / MIRRORS, list[str]()
        self.repos = {handle: Repo(folder / f"{n}.git") for n, handle in enumerate((APP, LIB, OTHER))}
        self.reading = Reading(self.mirrors, Budgets(), self.damaged.append)

    def publish(self, handle: str) -> Path:
        """Fetch a repository as it is now into a new generation of its mirror."""
        mirror = self.mirror(handle)
        mirror.path.mkdir(parents=True, exist_ok=True)
        with mirror.writing():
            made = mirror.new()
            shutil.copytree(self.repos[handle].path, made)
            return mirror.publish(made)

    def mirror(self, handle: str) -> Mirror:
        return mirror_at(self.mirrors, handle)

    def commit(self, handle: str, **files: str | Submodule) -> str:
        sha = self.repos[handle].commit({name.replace("_", "."): value for name, value in files.items()})
        self.publish(handle)
        return sha


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.reading.close()


def test_submodules_are_those_that_it_is_told(world: World) -> None:
    lib = world.commit(LIB, b="2")
    sha = world.commit(APP, a="1", _gitmodules=MODULES, lib=Submodule(lib))
    reading = world.reading
    assert reading.links(APP, sha) == (Link("lib", "../lib.git", lib),)
    assert reading.links(LIB, lib) == ()
    pins = {(APP, sha): (Pin("lib", LIB, lib),), (LIB, lib): ()}
    assert reading.holds(APP, sha, pins)
    assert reading.tree(APP, sha, pins).read("lib/b") == b"2"
    assert reading.tree(APP, sha).entry("lib/b") is None
    assert reading.commit(APP, sha).sha == sha
    absent = {**pins, (APP, sha): (Pin("lib", LIB, "0" * 40),), (LIB, "0" * 40): ()}
    assert not reading.holds(APP, sha, absent)
    assert not reading.holds(APP, "0" * 40)
    assert not reading.holds(OTHER, sha), "there is no such mirror"


def test_where_it_is_not_told_what_a_commit_pins_it_is_asked_again(world: World) -> None:
    lib = world.commit(LIB, b="2")
    sha = world.commit(APP, a="1", _gitmodules=MODULES, lib=Submodule(lib))
    for pins in ({}, {(APP, sha): (Pin("lib", LIB, lib),)}):
        for ask in (world.reading.holds, world.reading.tree):
            with pytest.raises(Problem, match="asked again") as raised:
                ask(APP, sha, pins)
            assert (raised.value.reason, raised.value.transient) == (Reason.GitFailed, True)


def test_what_is_not_there_is_fetched_again(world: World) -> None:
    sha = world.commit(APP, a="1")
    for ask in (world.reading.tree, world.reading.commit, world.reading.links):
        with pytest.raises(Problem, match="fetched again") as raised:
            ask(OTHER, sha)
        assert raised.value.transient


def test_damage_is_told_whenever_it_is_met_and_not_read_again_until_it_is_replaced(world: World) -> None:
    sha = world.commit(APP, a="1")
    generation = world.mirror(APP).current()
    assert generation is not None
    (generation / "HEAD").unlink()
    before = sorted(generation.rglob("*"))
    for times in (1, 2):
        assert not world.reading.holds(APP, sha)
        assert world.damaged == [APP] * times, "what is told unasked may be lost"
    assert world.mirror(APP).current() == generation, "it writes nothing"
    assert sorted(generation.rglob("*")) == before
    world.publish(APP)
    assert world.reading.holds(APP, sha)
    assert world.damaged == [APP, APP]


def damage(world: World, sha: str) -> Path:
    """Damage the file `a` of a commit and nothing else; returns the generation."""
    generation = world.mirror(APP).current()
    assert generation is not None
    for pack in generation.glob("objects/pack/*.pack"):
        moved = pack.rename(generation / pack.name)
        for index in generation.glob("objects/pack/pack-*"):
            index.unlink()
        command = ["git", "-C", str(generation), "unpack-objects", "-q"]
        subprocess.run(command, stdin=moved.open("rb"), check=True)
    oid = world.repos[APP].git("rev-parse", f"{sha}:a")
    damaged = generation / "objects" / oid[:2] / oid[2:]
    damaged.chmod(0o600)
    damaged.write_bytes(b"\0" * 20)
    return generation


def test_damage_that_only_reading_finds_is_told(world: World) -> None:
    sha = world.commit(APP, a="1")
    generation = damage(world, sha)
    with pytest.raises(Problem, match="fetched again"):
        world.reading.tree(APP, sha).read("a")
    assert world.damaged == [APP]
    assert world.mirror(APP).current() == generation, "it writes nothing"
    assert not world.reading.holds(APP, sha)
    world.publish(APP)
    assert world.reading.tree(APP, sha).read("a") == b"1"


def test_damage_of_what_was_replaced_meanwhile_is_told_to_nobody(world: World) -> None:
    sha = world.commit(APP, a="1")
    damage(world, sha)
    tree = world.reading.tree(APP, sha)
    world.publish(APP)
    with pytest.raises(Problem, match="fetched again"):
        tree.read("a")
    assert world.damaged == []
    assert world.reading.tree(APP, sha).read("a") == b"1"


def test_it_lets_go_of_what_was_replaced(world: World) -> None:
    first = world.commit(APP, a="1")
    old = world.mirror(APP).current()
    assert world.reading.holds(APP, first)
    second = world.commit(APP, a="2")
    assert world.reading.holds(APP, second)
    with world.mirror(APP).writing():
        pass  # whoever writes next removes what nobody reads
    assert old is not None
    assert not old.exists()
    assert not world.mirror(APP).drop()


def test_few_stay_open_and_those_that_are_in_use(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_READERS", 1)
    shas = {handle: world.commit(handle, a=handle) for handle in (APP, LIB, OTHER)}
    tree = world.reading.tree(APP, shas[APP])
    assert all(world.reading.holds(handle, sha) for handle, sha in shas.items())
    assert world.mirror(LIB).drop(), "it was closed for the last"
    assert not world.mirror(APP).drop()
    assert tree.read("a") == APP.encode()


@pytest.mark.parametrize("handle", ["../" + "a" * 40, "team/..", "a" * 40])
def test_no_path_comes_of_what_is_no_handle(world: World, handle: str) -> None:
    with pytest.raises(ValueError, match="no handle"):
        world.reading.holds(handle, "0" * 40)


FENCED = """
import json, sys
from pathlib import Path
from setpoint.api.budgets import Budgets
from setpoint.api.reasons import Problem
from setpoint.fences import kernel
from setpoint.fences.landlock import Access, Grant
from setpoint.git.contents.reading import Reading
mirrors, readable, app, other, sha, elsewhere = sys.argv[1:7]
grants = [Grant(path, Access.READ) for path in (readable, *sys.argv[7:])]
kernel.fence(grants, kernel.landlock_abi(), network=False)
reading = Reading(Path(mirrors), Budgets(), lambda handle: None)
tree = reading.tree(app, sha)
print(json.dumps([reading.holds(app, sha), tree.read("a").decode(), reading.holds(other, elsewhere)]))
"""


def test_it_needs_no_more_than_to_read_its_own_mirrors(world: World) -> None:
    if not kernel.landlock_abi():
        pytest.skip("the kernel has no Landlock")
    sha, elsewhere = world.commit(APP, a="1"), world.commit(OTHER, a="3")
    assert world.reading.holds(OTHER, elsewhere)
    own = world.mirrors / "team"
    command = [sys.executable, "-c", FENCED, str(world.mirrors), str(own), APP, OTHER, sha, elsewhere]
    done = subprocess.run([*command, *PYTHON], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [True, "1", False]
