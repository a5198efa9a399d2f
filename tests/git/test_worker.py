"""The worker answers from real repositories, in plain values alone."""

from __future__ import annotations

import shutil
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.kit.servers.repo import Repo, Submodule

from setpoint.api.budgets import Budgets
from setpoint.api.reasons import Reason
from setpoint.git.reader import MirrorTree, Reader
from setpoint.git.remotes import Repository
from setpoint.git.repositories import Git
from setpoint.render.renderer import Renderer
from setpoint.tree.protocol import Entry
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
from setpoint.worker.inprocess import InProcess

pytestmark = pytest.mark.asyncio

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\n"
MAIN = GitRef(branch="main")


class World:
    """One repository, and a worker that has its cache in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.repo = folder, Repo(folder / "app.git")
        self.worker = self.start()

    def start(self) -> InProcess:
        git = Git(self.folder / "cache", cache_limit=2**28, environ={})
        # More than a setting may allow, to see what the seam itself does not let pass.
        renderer = Renderer(Path("kustomize"), self.folder / "render", budgets=Budgets(max_depth=500))
        return InProcess(git, renderer, allow_file=True)

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

    def wipe(self) -> None:
        """Take the cache away."""
        shutil.rmtree(self.folder / "cache")


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    await made.worker.close()


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
        world.worker.drop(Drop("team", (built.digest,), ()))
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
    assert await world.worker.compare(step) == Compared((built.read_set, broken.read_set))
    assert await world.worker.compare(replace(step, old="0" * 40)) == Compared(everything=True)
    assert await world.worker.compare(replace(step, handle="unknown")) == Compared(everything=True)


async def test_what_the_cache_lost_is_lost_until_it_is_checked_again(world: World) -> None:
    first = world.repo.commit({"a.yaml": CONFIG % "a"})
    world.repo.commit({"a.yaml": CONFIG % "b"})
    at = await world.check()
    built = await world.build(look(at))
    older = Fetch(world.place(), first, remote=False)
    assert isinstance(await world.worker.fetch(older), Fetched), "it came with the branch"
    world.wipe()
    assert await world.worker.build(Build(look(at), (built.digest,))) == Lost()
    assert await world.worker.fetch(older) == Lost()
    step = Compare(at.handle, at.sha, at.sha, False, ())
    assert await world.worker.compare(step) == Compared(everything=True)
    again = await world.worker.objects(Objects(look(at), built.digest))
    assert again == replace(built, read_set="", held=False), "what is remembered needs no commit"
    world.worker.drop(Drop("team", (built.digest,), ()))
    assert await world.worker.objects(Objects(look(at), built.digest)) == Lost()
    assert await world.worker.places(Places(look(at), built.digest)) == Placed()
    assert isinstance(await world.worker.fetch(replace(older, remote=True)), Fetched)
    at = await world.check()
    assert (await world.build(look(at))).objects == built.objects
    gone = await world.worker.fetch(Fetch(world.place(), "0" * 40, remote=True))
    assert isinstance(gone, Failed)


async def test_another_worker_knows_no_handle_until_it_has_checked(world: World) -> None:
    world.repo.commit({"a.yaml": CONFIG % "a"})
    at = await world.check()
    built = await world.build(look(at))
    await world.worker.close()
    world.worker = world.start()
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
    found = await world.worker.build(Build(look(at, "app"), ()))
    assert isinstance(found, Failed)
    assert (found.reason, found.message) == (
        Reason.RenderFailed,
        "app/a.yaml:1: ConfigMap/a has more than 64 levels of nesting",
    )
    assert found.read_set


async def test_reading_a_list_of_submodules_holds_up_no_other_namespace(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While paths of .gitmodules are looked up, others ask what the cache has; nobody asks on the event loop."""
    pinned = world.repo.commit({"a": "1"})
    lists = '[submodule "lib"]\n\tpath = lib\n\turl = ../app.git\n'
    world.repo.commit({".gitmodules": lists, "lib": Submodule(pinned)})
    other = await world.check(namespace="other")
    entry, has, commits = MirrorTree.entry, Git.has, world.worker.commits
    answers: list[bool] = []
    askers: list[threading.Thread] = []

    def looking(tree: MirrorTree, path: str) -> Entry | None:
        if path == "lib":
            answered = threading.Event()

            def ask() -> None:
                if commits.holds(other.handle, other.sha, submodules=False):
                    answered.set()

            threading.Thread(target=ask, daemon=True).start()
            answers.append(answered.wait(5))
        return entry(tree, path)

    def asking(git: Git, repository: Repository, sha: str, *, submodules: bool = False) -> bool:
        askers.append(threading.current_thread())
        return has(git, repository, sha, submodules=submodules)

    with monkeypatch.context() as patched:
        patched.setattr(MirrorTree, "entry", looking)
        patched.setattr(Git, "has", asking)
        checked = await world.check(submodules=True)
        fetched = await world.worker.fetch(Fetch(world.place(submodules=True), checked.sha, remote=False))
    assert isinstance(fetched, Fetched)
    assert answers
    assert all(answers)
    assert threading.main_thread() not in askers


async def test_submodules_that_pin_each_other_cost_what_they_are(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of six commits pins the one before four times: 5,460 folders, of six commits."""
    names = [f"m{n}" for n in range(4)]
    lists = "".join(f'[submodule "{n}"]\n\tpath = {n}\n\turl = ../app.git\n' for n in names)
    sha = world.repo.commit({"a": "1"})
    for _ in range(6):
        sha = world.repo.commit({".gitmodules": lists, **dict.fromkeys(names, Submodule(sha))})
    holds, asked = Reader.holds, []

    def counting(reader: Reader, sha: str) -> bool:
        asked.append(sha)
        return holds(reader, sha)

    monkeypatch.setattr(Reader, "holds", counting)
    checked = await world.check(submodules=True)
    assert checked.held
    assert len(asked) < 100
    tree = world.worker.commits.tree(checked.handle, checked.sha, submodules=True)
    assert tree is not None
    assert tree.read("m0/m1/m2/m3/m0/m1/a") == b"1"
    assert len(asked) < 200
