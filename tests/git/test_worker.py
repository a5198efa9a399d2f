"""The worker answers from real repositories, in plain values alone."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.kit.brokered import Brokered
from tests.kit.servers.repo import Repo, Submodule

from setpoint.api.budgets import DEFAULTS, Budgets
from setpoint.api.reasons import Reason
from setpoint.git.contents.reader import MirrorTree, Reader
from setpoint.git.contents.reading import Reading
from setpoint.render.program import Program
from setpoint.render.renderer import Renderer
from setpoint.tree.protocol import Entry
from setpoint.wall.inside import Describe, Described, Linked, Links
from setpoint.wall.messages import (
    Build,
    Built,
    Check,
    Checked,
    Compare,
    Compared,
    Drop,
    Failed,
    Fetch,
    Fetched,
    GitRef,
    Login,
    Look,
    Lost,
    Objects,
    Place,
    Placed,
    Places,
    Same,
)
from setpoint.worker.reader.answers import Answers
from setpoint.worker.reader.commits import MirrorCommits
from setpoint.worker.reader.read_sets import ReadSets

pytestmark = pytest.mark.asyncio

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\n"
MAIN = GitRef(branch="main")


class World:
    """One repository, and a worker that has its cache in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.repo = folder, Repo(folder / "app.git")
        self.worker = Brokered(folder / "cache")

    async def restart(self) -> None:
        """Start another worker on the same cache."""
        await self.worker.__aexit__(None, None, None)
        self.worker = Brokered(self.folder / "cache")
        await self.worker.__aenter__()

    def commits(self, budgets: Budgets = DEFAULTS) -> MirrorCommits:
        """Return what a reader reads with, in this process."""
        return MirrorCommits(Reading(self.folder / "cache" / "git" / "mirrors", budgets, lambda _: None))

    def place(self, **changes: Any) -> Place:
        whole = Place("team", f"file://{self.repo.path}", Login(), submodules=False, timeout=60.0)
        return replace(whole, **changes)

    async def check(self, **changes: Any) -> Checked:
        found = await self.worker.check(Check(self.place(**changes), MAIN))
        assert isinstance(found, Checked), found
        return found

    async def build(self, look: Look, *have: str) -> Built:
        found = await self.worker.build(Build(look, have))
        assert isinstance(found, Built), found
        return found

    async def forget(self) -> None:
        """End the reader, with what it remembers."""
        (reader,) = self.worker.broker.readers._pool.all
        reader.kill()
        await reader.ended

    async def dropped(self, at: Look, digest: str) -> Lost | Failed:
        """Have objects forgotten, which nobody waits for; return what is said where they are asked for then."""
        self.worker.drop(Drop("team", (digest,), ()))
        while isinstance(found := await self.worker.objects(Objects(at, digest)), Built):
            await asyncio.sleep(0)
        return found

    def wipe(self) -> None:
        """Take the cache away."""
        shutil.rmtree(self.folder / "cache")

    def lose(self, at: Checked) -> None:
        """Take a mirror away, as it is done for room."""
        shutil.rmtree(self.folder / "cache" / "git" / "mirrors" / at.handle)


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    await made.worker.__aenter__()
    yield made
    await made.worker.__aexit__(None, None, None)


def look(at: Checked, path: str = ".", *, submodules: bool = False, **spec: Any) -> Look:
    return Look("team", at.handle, at.sha, submodules, {"path": path, **spec})


async def test_a_commit_is_fetched_once_and_described(world: World) -> None:
    sha = world.repo.commit({"a.yaml": CONFIG % "a"}, "First\n\nMore")
    found = await world.check()
    assert (found.sha, found.revision, found.subject, found.held) == (
        sha,
        f"main@sha1:{sha}",
        "First",
        True,
    )
    assert await world.check() == found
    assert not any(part in found.handle for part in (str(world.folder), "app.git"))
    failed = await world.worker.check(Check(world.place(), GitRef(branch="none")))
    assert isinstance(failed, Failed)
    assert failed.reason is Reason.RefNotFound
    failed = await world.worker.check(Check(world.place(url="ftp://host/x"), MAIN))
    assert isinstance(failed, Failed)
    assert failed.reason is Reason.InvalidSpec


async def test_objects_are_made_once_and_known_by_their_digest(world: World) -> None:
    world.repo.commit({"app/a.yaml": f"# one\n{CONFIG % 'a'}---\nx: 1\n", "b.yaml": CONFIG % "b"})
    at = await world.check()
    built = await world.build(look(at, "app"))
    assert [(o.where, o.index, o.line, o.manifest["metadata"]) for o in built.objects] == [
        ("app/a.yaml:2", 1, 2, {"name": "a"})
    ]
    assert (built.skipped, built.twice) == (1, ())
    same = await world.worker.build(Build(look(at, "app"), ("other", built.digest)))
    assert isinstance(same, Same)
    assert same.digest == built.digest
    # Once more, whether it is remembered or not.
    for _ in range(2):
        again = await world.worker.objects(Objects(look(at, "app"), built.digest))
        assert isinstance(again, Built)
        assert (again.objects, again.read_set) == (built.objects, "")
        await world.forget()
    wrong = await world.worker.objects(Objects(look(at, "app"), "another"))
    assert isinstance(wrong, Failed)
    assert wrong.reason is Reason.InternalError


async def test_a_step_between_commits_touches_who_read_what_it_changes(world: World) -> None:
    world.repo.commit({"app/a.yaml": CONFIG % "a", "b/b.yaml": "{"})
    old = await world.check()
    built = await world.build(look(old, "app"))
    broken = await world.worker.build(Build(look(old, "b"), ()))
    assert isinstance(broken, Failed)
    assert broken.reason is Reason.RenderFailed
    assert "b/b.yaml" in broken.message
    missing = await world.worker.build(Build(look(old, "none"), ()))
    assert isinstance(missing, Failed)
    assert missing.reason is Reason.PathNotFound
    names = (built.read_set, broken.read_set, missing.read_set)
    assert len(set(names)) == 3
    world.repo.commit({"b/b.yaml": CONFIG % "b"})
    new = await world.check()
    step = Compare(new.handle, old.sha, new.sha, False, names)
    assert await world.worker.compare(step) == Compared((broken.read_set,))
    world.worker.drop(Drop("team", (), (built.read_set,)))
    while await world.worker.compare(step) != Compared((built.read_set, broken.read_set)):
        await asyncio.sleep(0)  # nobody waits for what is forgotten
    assert await world.worker.compare(replace(step, old="0" * 40)) == Compared(everything=True)
    assert await world.worker.compare(replace(step, handle="unknown")) == Compared(everything=True)


async def test_a_mirror_that_is_lost_is_lost_until_it_is_checked_again(world: World) -> None:
    first = world.repo.commit({"a.yaml": CONFIG % "a"})
    world.repo.commit({"a.yaml": CONFIG % "b"})
    at = await world.check()
    built = await world.build(look(at))
    older = Fetch(world.place(), first, remote=False)
    assert isinstance(await world.worker.fetch(older), Fetched), "it came with the branch"
    world.lose(at)
    assert await world.worker.build(Build(look(at), (built.digest,))) == Lost()
    assert await world.worker.fetch(older) == Lost()
    step = Compare(at.handle, at.sha, at.sha, False, ())
    assert await world.worker.compare(step) == Compared(everything=True)
    again = await world.worker.objects(Objects(look(at), built.digest))
    assert again == replace(built, read_set="", held=False), "what is remembered needs no commit"
    assert await world.dropped(look(at), built.digest) == Lost()
    assert await world.worker.places(Places(look(at), built.digest)) == Placed()
    assert isinstance(await world.worker.fetch(replace(older, remote=True)), Fetched)
    at = await world.check()
    assert (await world.build(look(at))).objects == built.objects
    gone = await world.worker.fetch(Fetch(world.place(), "0" * 40, remote=True))
    assert isinstance(gone, Failed)


async def test_with_a_cache_that_is_lost_goes_what_was_remembered(world: World) -> None:
    """What a reader remembers it gives; it sees nothing of a folder that was made anew, so then there is another one."""
    first = world.repo.commit({"a.yaml": CONFIG % "a"})
    at = await world.check()
    built = await world.build(look(at))
    older = Fetch(world.place(), first, remote=False)
    step = Compare(at.handle, at.sha, at.sha, False, (built.read_set,))
    assert await world.worker.compare(step) == Compared()
    world.wipe()
    again = await world.worker.objects(Objects(look(at), built.digest))
    assert again == replace(built, read_set="", held=False), "what is remembered needs no commit"
    assert await world.worker.build(Build(look(at), (built.digest,))) == Lost()
    assert await world.worker.places(Places(look(at), built.digest)) == Placed()
    await world.worker.broker.readers.release("team")
    assert await world.worker.objects(Objects(look(at), built.digest)) == Lost()
    assert await world.worker.compare(step) == Compared(everything=True)
    assert await world.worker.fetch(older) == Lost()
    at = await world.check()
    assert (await world.build(look(at))).objects == built.objects
    step = replace(step, handle=at.handle)
    assert await world.worker.compare(step) == Compared((built.read_set,)), "of a reader that is gone"


async def test_another_worker_knows_no_handle_until_it_has_checked(world: World) -> None:
    world.repo.commit({"a.yaml": CONFIG % "a"})
    at = await world.check()
    built = await world.build(look(at))
    await world.restart()
    assert await world.worker.build(Build(look(at), ())) == Lost()
    assert (await world.check()).handle == at.handle, "the mirrors stay"
    assert await world.worker.compare(
        Compare(at.handle, at.sha, at.sha, False, (built.read_set,))
    ) == Compared((built.read_set,))
    assert (await world.build(look(at))).objects == built.objects


async def test_two_namespaces_have_two_handles(world: World) -> None:
    world.repo.commit({"a.yaml": CONFIG % "a"})
    mine, other = await world.check(), await world.check(namespace="other")
    assert mine.handle != other.handle
    assert replace(other, handle=mine.handle) == mine


async def test_submodules_are_seen_where_they_are_asked_for(world: World, tmp_path: Path) -> None:
    inner = Repo(tmp_path / "inner.git")
    pinned = inner.commit({"b.yaml": CONFIG % "b"})
    modules = f'[submodule "sub"]\n path = sub\n url = file://{inner.path}\n'
    world.repo.commit({"a.yaml": CONFIG % "a", "sub": Submodule(pinned), ".gitmodules": modules})
    at = await world.check(submodules=True)
    names = [o.manifest["metadata"]["name"] for o in (await world.build(look(at, submodules=True))).objects]
    assert names == ["a", "b"]
    names = [o.manifest["metadata"]["name"] for o in (await world.build(look(at))).objects]
    assert names == ["a"]


async def test_names_of_files_are_shown_in_one_line(world: World) -> None:
    world.repo.commit({"app/a\nb.yaml": CONFIG % "a"})
    built = await world.build(look(await world.check(), "app"))
    assert [each.where for each in built.objects] == ["app/a\\nb.yaml:1"]


async def test_what_cannot_cross_is_named_with_its_file(world: World) -> None:
    deep = "[" * 150 + "]" * 150
    world.repo.commit({"app/a.yaml": f"{CONFIG % 'a'}data: {deep}\n"})
    at = await world.check()
    # More than a setting may allow, to see what the seam itself does not let pass.
    budgets = Budgets(max_depth=500)
    program = Program(Path("kustomize"))
    renderer = Renderer(program, world.folder / "render", budgets=budgets)
    answers = Answers(world.commits(budgets), renderer, ReadSets("here"))
    found = await answers.build(Build(look(at, "app"), ()))
    assert isinstance(found, Failed)
    assert (found.reason, found.message) == (
        Reason.RenderFailed,
        "app/a.yaml:1: ConfigMap/a has more than 64 levels of nesting",
    )
    assert found.read_set


async def test_a_reader_that_stands_still_holds_up_no_other_namespace(world: World) -> None:
    pinned = world.repo.commit({"a": "1"})
    lists = '[submodule "lib"]\n\tpath = lib\n\turl = ../app.git\n'
    world.repo.commit({".gitmodules": lists, "lib": Submodule(pinned), "a.yaml": CONFIG % "a"})
    mine, other = await world.check(), await world.check(namespace="other")
    (reader,) = [each for each in world.worker.broker.readers._pool.all if each.key.namespace == "team"]
    os.kill(reader.pid, signal.SIGSTOP)
    asked = [
        asyncio.create_task(world.check(submodules=True)),
        asyncio.create_task(world.build(look(mine))),
    ]
    while reader.busy < len(asked):
        await asyncio.sleep(0)
    assert (await world.check(namespace="other", submodules=True)).held
    built = await world.build(replace(look(other), namespace="other"))
    assert [each.manifest["metadata"]["name"] for each in built.objects] == ["a"]
    assert not any(each.done() for each in asked)
    os.kill(reader.pid, signal.SIGCONT)
    await asyncio.gather(*asked)


async def test_reading_a_list_of_submodules_holds_up_nothing_else_of_its_reader(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While paths of .gitmodules are looked up, other threads ask what the cache has."""
    pinned = world.repo.commit({"a": "1"})
    lists = '[submodule "lib"]\n\tpath = lib\n\turl = ../app.git\n'
    world.repo.commit({".gitmodules": lists, "lib": Submodule(pinned)})
    at = await world.check()
    commits, entry, answers = world.commits(), MirrorTree.entry, list[bool]()

    def looking(tree: MirrorTree, path: str) -> Entry | None:
        if path == "lib":
            answered = threading.Event()

            def ask() -> None:
                if commits.holds(at.handle, at.sha, submodules=False):
                    answered.set()

            threading.Thread(target=ask, daemon=True).start()
            answers.append(answered.wait(5))
        return entry(tree, path)

    monkeypatch.setattr(MirrorTree, "entry", looking)
    found = await asyncio.to_thread(commits.links, Links(at.handle, at.sha))
    assert isinstance(found, Linked)
    assert [each.path for each in found.submodules] == ["lib"]
    assert answers == [True]


async def test_submodules_that_pin_each_other_cost_what_they_are(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of six commits pins the one before four times: 5,460 folders, of six commits."""
    names = [f"m{n}" for n in range(4)]
    lists = "".join(f'[submodule "{n}"]\n\tpath = {n}\n\turl = ../app.git\n' for n in names)
    sha = world.repo.commit({"a.yaml": CONFIG % "a"})
    for _ in range(6):
        sha = world.repo.commit({".gitmodules": lists, **dict.fromkeys(names, Submodule(sha))})
    checked = await world.check(submodules=True)
    assert checked.held
    built = await world.build(look(checked, "m0/m1/m2/m3/m0/m1", submodules=True))
    assert [each.manifest["metadata"]["name"] for each in built.objects] == ["a"]
    told = await world.worker.broker.commits.told(checked.handle, checked.sha, submodules=True)
    assert told is not None
    assert len(told) == 7
    holds, asked, commits = Reader.holds, list[str](), world.commits()

    def counting(reader: Reader, sha: str) -> bool:
        asked.append(sha)
        return holds(reader, sha)

    monkeypatch.setattr(Reader, "holds", counting)
    for each in told:
        commits.told(each)
    assert isinstance(commits.describe(Describe(checked.handle, checked.sha, submodules=True)), Described)
    assert len(asked) < 100
    tree = commits.tree(checked.handle, checked.sha, submodules=True)
    assert tree is not None
    assert tree.read("m0/m1/m2/m3/m0/m1/a.yaml") == (CONFIG % "a").encode()
    assert len(asked) < 200
