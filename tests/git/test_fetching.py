"""Who fetches reads nothing: he is told what commits pin, knows mirrors by handles, and asks readers to let go of them."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.git.conftest import LOOPBACK_TOO, MAIN, MIB, TIMEOUT, at
from tests.git.test_cache import noise
from tests.kit.servers.githttp import GitHttp
from tests.kit.virtualtime import run

from setpoint.api.budgets import Budgets
from setpoint.api.reasons import Problem, Reason
from setpoint.git import fetching as module
from setpoint.git import workers
from setpoint.git.contents.reading import Reading
from setpoint.git.credentials import Credentials
from setpoint.git.fetching import Fetching, _Limit
from setpoint.git.links import Link, Pin
from setpoint.git.mirror import MIRRORS
from setpoint.git.refs import Selected
from setpoint.git.remotes import Repository, parse_url
from setpoint.git.room import Release
from setpoint.wall.messages import GitRef

FOREIGN = ("pygit2", "yaml", "pathspec", "setpoint.git.contents", "setpoint.git.worker.", "setpoint.tree", "setpoint.objects.yaml", "setpoint.objects.documents")  # fmt: skip
ONE, TWO, THREE = "1" * 40, "2" * 40, "3" * 40
Make = Callable[..., Fetching]


class Told:
    """What commits pin, as somebody tells it; whoever is not told of is fetched."""

    def __init__(self, links: dict[tuple[str, str], tuple[Link, ...]]) -> None:
        self.links_of, self.asked = links, list[tuple[str, str]]()

    async def holds(self, repository: Repository, sha: str) -> bool:
        return (repository.remote.url, sha) in self.links_of

    async def links(self, repository: Repository, sha: str) -> tuple[Link, ...]:
        self.asked.append((repository.remote.url, sha))
        return self.links_of[repository.remote.url, sha]


@pytest_asyncio.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Make who fetches, without anybody who reads."""
    made: list[Fetching] = []

    def making(
        *,
        limit: int = 512 * MIB,
        budgets: Budgets | None = None,
        release: Release = module.release_none,
    ) -> Fetching:
        terms = workers.Terms(environ={})
        budgets = budgets or Budgets()
        found = Fetching(
            tmp_path / "cache", limit=limit, terms=terms, hosts=LOOPBACK_TOO, budgets=budgets, release=release
        )
        made.append(found)
        return found

    yield making
    for each in made:
        await each.close()


async def brought(fetching: Fetching, repository: Repository) -> Selected:
    selected = await fetching.resolve(repository, MAIN, TIMEOUT)
    return await fetching.fetch(repository, MAIN, selected, TIMEOUT, None)


async def test_who_fetches_has_loaded_nothing_that_reads() -> None:
    code = f"import sys, setpoint.git.fetching\nprint([m for m in sys.modules if m.startswith({FOREIGN!r})])"
    done = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=subprocess.PIPE)
    assert (await done.communicate())[0].decode().strip() == "[]"


async def test_what_a_child_runs_is_there() -> None:
    assert importlib.util.find_spec(workers.MAIN) is not None
    assert workers.LAUNCHER[-1] == workers.MAIN


@pytest.mark.parametrize(
    "handle",
    [
        "",
        ONE,
        f"/{ONE}",
        f"a/{ONE}/",
        f"../{ONE}",
        f"a/../{ONE}",
        f".a/{ONE}",
        f"A/{ONE}",
        f"-a/{ONE}",
        f"{'a' * 64}/{ONE}",
        f"a/{ONE[:-1]}",
        f"a/{ONE}\n",
        f"a/{'A' * 40}",
        "a/../../../../../../../../../etc/passwd",
    ],
)
async def test_no_path_comes_of_what_is_no_handle(make: Make, handle: str) -> None:
    fetching = make()
    for deed in (fetching.mirror, fetching.damaged, lambda text: fetching.used(text, ONE)):
        with pytest.raises(ValueError, match="no handle"):
            deed(handle)


async def test_each_namespace_has_a_folder_with_its_mirrors_alone(
    make: Make, git_http: GitHttp, tmp_path: Path
) -> None:
    git_http.repo("app").commit({"a": "1"})
    fetching, app = make(), at(git_http.url("app"))
    for namespace in ("team", "other", ""):
        repository = replace(app, namespace=namespace)
        await brought(fetching, repository)
        handle = fetching.handle(repository)
        assert handle.startswith(f"{namespace or '_'}/")
        assert fetching.mirror(handle).current() is not None
    mirrors = tmp_path / "cache" / MIRRORS
    assert {each.name: len(list(each.iterdir())) for each in mirrors.iterdir()} == {
        "team": 1,
        "other": 1,
        "_": 1,
    }
    with pytest.raises(ValueError, match="no handle"):
        fetching.handle(replace(app, namespace="../team"))


async def test_no_login_outlives_its_repository(make: Make) -> None:
    def app(namespace: str) -> Repository:
        login = Credentials(username="ana", password=f"of {namespace}")
        return Repository(parse_url("https://h.example/a/app.git"), login, namespace)

    def logins() -> set[str]:
        gc.collect()
        found = (each for each in gc.get_objects() if isinstance(each, Credentials))
        return {each.password for each in found if each.password.startswith("of ")}

    fetching, links = make(), (Link("lib", "../lib.git", TWO), Link("b", "https://b.example/b.git", THREE))
    urls = ("https://h.example/a/lib.git", TWO), ("https://b.example/b.git", THREE)
    told = Told({("https://h.example/a/app.git", ONE): links, **dict.fromkeys(urls, ())})
    found = await fetching.pins(app("team"), ONE, told)
    await fetching.pins(app("other"), ONE, told)
    assert logins() == {"of team", "of other"}
    fetching.forget("team")
    assert logins() == {"of other"}
    asked = list(told.asked)
    assert await fetching.pins(app("team"), ONE, told) == found
    assert told.asked == asked


async def test_mirrors_of_earlier_versions_go(make: Make, git_http: GitHttp, tmp_path: Path) -> None:
    git_http.repo("app").commit({"a": "1"})
    mirrors = tmp_path / "cache" / MIRRORS
    for name in (ONE, TWO):
        (mirrors / name / "g-1").mkdir(parents=True)
    (mirrors / TWO / "current").symlink_to("g-1")
    await brought(make(), replace(at(git_http.url("app")), namespace="team"))
    assert {each.name for each in mirrors.iterdir()} == {"team"}


async def test_a_commit_in_use_is_marked_and_not_again_at_once(
    make: Make, git_http: GitHttp, monkeypatch: pytest.MonkeyPatch
) -> None:
    git_http.repo("app").commit({"a": "1"})
    fetching, repository = make(), at(git_http.url("app"))
    sha, handle = (await brought(fetching, repository)).sha, fetching.handle(repository)
    generation = fetching.mirror(handle).current()
    assert generation is not None
    mark = generation / "refs/setpoint/kept" / sha
    monkeypatch.setattr(module, "TOUCH_SECONDS", 1e9)
    for expected in (False, True):
        os.utime(mark, (0, 0))
        fetching.used(handle, sha)
        assert (mark.stat().st_mtime == 0) is expected
    monkeypatch.setattr(module, "TOUCH_SECONDS", 0.0)
    fetching.used(handle, sha)
    assert mark.stat().st_mtime > 0
    fetching.used(handle, THREE)
    outside = generation / "refs" / "outside"
    outside.touch()
    os.utime(outside, (0, 0))
    with pytest.raises(ValueError, match="no id"):
        fetching.used(handle, "../../outside")
    assert outside.stat().st_mtime == 0


async def test_a_reader_is_asked_to_let_go_of_what_is_dropped_for_room(
    make: Make, git_http: GitHttp, tmp_path: Path
) -> None:
    """Once, where the mirror is being read; what stays in use stays: a reader ends when it has nothing to do."""
    asked: list[str] = []

    async def release(namespace: str) -> None:
        asked.append(namespace)
        if namespace == "idle":
            readers[namespace].close()

    fetching = make(limit=2 * MIB, release=release)
    readers = {
        name: Reading(tmp_path / "cache" / MIRRORS, Budgets(), fetching.damaged) for name in ("idle", "busy")
    }
    names = ("idle", "busy", "unread", "last")
    shas = {}
    for n, name in enumerate(names):
        shas[name] = git_http.repo(name).commit({"big": noise(MIB * 3 // 4, n)})
        repository = replace(at(git_http.url(name)), namespace=name)
        if name == "last":
            continue
        await brought(fetching, repository)
        if name in readers:
            assert readers[name].holds(fetching.handle(repository), shas[name])
    handles = {name: fetching.handle(replace(at(git_http.url(name)), namespace=name)) for name in names}
    # Of three, the last fetch dropped the oldest, whose reader let go of it.
    assert asked == ["idle"]
    assert not fetching.mirror(handles["idle"]).path.exists()
    tree = readers["busy"].tree(handles["busy"], shas["busy"])
    await brought(fetching, replace(at(git_http.url("last")), namespace="last"))
    assert asked == ["idle", "busy"], "it is asked first, as it was used longest ago"
    assert tree.read("big") == noise(MIB * 3 // 4, 1)
    assert not fetching.mirror(handles["unread"]).path.exists()
    for reader in readers.values():
        reader.close()


async def test_all_that_a_commit_pins_is_told_by_handles(make: Make) -> None:
    fetching = make()
    outer, inner, leaf = (f"https://git.example.org/{name}.git" for name in ("outer", "inner", "leaf"))
    told = Told(
        {
            (outer, ONE): (Link("in", "../inner.git", TWO), Link("again", inner, TWO)),
            (inner, TWO): (Link("leaf", leaf, THREE),),
            (leaf, THREE): (),
        }
    )
    repository = replace(at(outer), namespace="team")
    names = {url: fetching.handle(replace(at(url), namespace="team")) for url in (outer, inner, leaf)}
    expected = {
        (names[outer], ONE): (Pin("in", names[inner], TWO), Pin("again", names[inner], TWO)),
        (names[inner], TWO): (Pin("leaf", names[leaf], THREE),),
        (names[leaf], THREE): (),
    }
    assert await fetching.pins(repository, ONE, told) == expected
    assert told.asked == [(outer, ONE), (inner, TWO), (leaf, THREE)]
    assert await fetching.pins(repository, ONE, told) == expected
    assert len(told.asked) == 3, "what a commit pins stays the same"


@pytest.mark.parametrize(
    ("link", "reason", "words"),
    [
        (Link("a", "ftp://host/x", ONE), Reason.InvalidSpec, "submodule a: submodule URL"),
        (Link("a", "../../../../x", ONE), Reason.InvalidSpec, "leaves the server"),
        (Link("a", "../x", "HEAD"), Reason.GitFailed, "is none"),
        (Link("a", "../x", "../" * 13 + "x"), Reason.GitFailed, "is none"),
        (Link("a" * 5000, "../x", ONE), Reason.GitFailed, "is none"),
        (Link("self", "../app.git", ONE), Reason.GitFailed, "nested too deeply"),
    ],
    ids=["scheme", "beyond the server", "a name", "a path", "a long path", "itself"],
)
async def test_who_tells_what_a_commit_pins_may_say_anything(
    make: Make, link: Link, reason: Reason, words: str
) -> None:
    url = "https://git.example.org/app.git"
    with pytest.raises(Problem, match=words) as raised:
        await make().pins(at(url), ONE, Told({(url, ONE): (link,)}))
    assert raised.value.reason is reason


async def test_nor_does_he_tell_of_more_than_the_budget_has(make: Make) -> None:
    url = "https://git.example.org/app.git"
    links = tuple(Link(f"m{n}", "no URL at all", ONE) for n in range(11))
    with pytest.raises(Problem, match=r"settings\.maxSubmodules") as raised:
        await make(budgets=Budgets(max_submodules=10)).pins(at(url), ONE, Told({(url, ONE): links}))
    assert raised.value.reason is Reason.TooLarge


class Served(Fetching):
    """Its servers take two seconds for each answer."""

    async def _call(self, repository: Repository, request: Mapping[str, Any], limit: _Limit) -> Any:
        await asyncio.sleep(2)
        if request["op"] == "list":
            return {"ref": "main", "sha": request["ref"]["commit"], "revision": ""}
        return {"sha": request["selected"]["sha"]}


class Slow:
    """Somebody who takes his time to tell what a commit pins: the second, a submodule that is not there."""

    async def holds(self, _repository: Repository, _sha: str) -> bool:
        await asyncio.sleep(100)
        return False

    async def links(self, repository: Repository, _sha: str) -> tuple[Link, ...]:
        await asyncio.sleep(100)
        return (Link("lib", "../lib.git", TWO),) if "app" in repository.remote.url else ()


def test_the_time_of_who_reads_is_not_the_servers(tmp_path: Path) -> None:
    async def main() -> None:
        fetching = Served(tmp_path / "cache", limit=2**20)
        repository = Repository(parse_url("https://git.example.org/app.git"))
        selected = Selected("main", ONE, "")
        assert await fetching.fetch(repository, GitRef(branch="main"), selected, 6.5, Slow()) == selected
        with pytest.raises(Problem, match=r"no answer within 5\.5 s"):
            await fetching.fetch(repository, GitRef(branch="main"), selected, 5.5, Slow())

    run(main())
