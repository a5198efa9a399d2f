"""What whoever was taken over leaves in a mirror, locks, or answers: it costs him his own, and nobody else."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from tests.git.conftest import LOOPBACK_TOO, MAIN, MIB, TIMEOUT, World, at, trusting
from tests.git.test_cache import noise
from tests.kit.cluster.pki import Authority
from tests.kit.servers.githttp import GitHttp

from setpoint.api.budgets import Budgets
from setpoint.api.reasons import Problem, Reason
from setpoint.git import workers
from setpoint.git.contents.reading import Reading
from setpoint.git.fetching import Fetching, release_none
from setpoint.git.mirror import MIRRORS, Mirror
from setpoint.git.refs import Selected
from setpoint.git.room import Release
from setpoint.runtime import disk

pytestmark = pytest.mark.asyncio
DEEP = 1500  # levels: more than Python recurses
NAMES = tuple(f"g-{digit * 16}" for digit in "12345678")
Make = Callable[..., Fetching]


@pytest_asyncio.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Make who fetches into a cache of some size."""
    made: list[Fetching] = []

    def making(*, limit: int = 512 * MIB, release: Release = release_none) -> Fetching:
        terms = workers.Terms(environ={})
        cache = tmp_path / "cache"
        made.append(Fetching(cache, limit=limit, terms=terms, hosts=LOOPBACK_TOO, release=release))
        return made[-1]

    yield making
    for each in made:
        await each.close()
    assert disk.remove(tmp_path / "cache"), "whoever clears up after tests recurses"


class Served:
    """A repository on a server, and its mirror in the cache."""

    def __init__(self, server: GitHttp, name: str, size: int = 1000) -> None:
        self.repo, self.repository = server.repo(name), replace(at(server.url(name)), namespace=name)
        self.sha = self.repo.commit({"big": noise(size, len(name)), "a": name})

    async def fetched(self, fetching: Fetching) -> Mirror:
        """Fetch the commit, and return the mirror that has it."""
        selected = await fetching.resolve(self.repository, MAIN, TIMEOUT)
        await fetching.fetch(self.repository, MAIN, selected, TIMEOUT, None)
        return fetching.mirror(fetching.handle(self.repository))

    def held(self, fetching: Fetching) -> bool:
        """Return whether the cache has the commit."""
        return fetching.kept(fetching.handle(self.repository), self.sha)


def dig(folder: Path) -> None:
    """Make a folder deeper than any path and any recursion."""
    descriptor = os.open(folder, os.O_RDONLY)
    for _ in range(DEEP):
        os.mkdir("d", dir_fd=descriptor)
        below = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)


async def test_a_deep_folder_costs_whose_mirror_it_is_in(make: Make, git_http: GitHttp) -> None:
    """It is dropped as soon as anybody fetches, and keeps nobody's mirror from being dropped, or makes one be."""
    fetching = make(limit=3 * MIB)
    good, evil, last = (Served(git_http, name, MIB) for name in ("good", "evil", "last"))
    await good.fetched(fetching)
    forged = await evil.fetched(fetching)
    dig(forged.path)
    await last.fetched(fetching)
    assert not forged.path.exists()
    assert (good.held(fetching), last.held(fetching)) == (True, True)
    more = Served(git_http, "another", MIB)
    await more.fetched(fetching)
    assert (good.held(fetching), last.held(fetching), more.held(fetching)) == (False, True, True)


async def test_a_deep_folder_in_its_own_mirror_keeps_no_fetch_from_it(make: Make, git_http: GitHttp) -> None:
    fetching = make()
    app = Served(git_http, "app")
    mirror = await app.fetched(fetching)
    generation = mirror.current()
    assert generation is not None
    dig(mirror.path)
    dig(generation / "refs")
    app.sha = app.repo.commit({"a": "2"})
    await app.fetched(fetching)
    await app.fetched(fetching)
    assert app.held(fetching)


async def test_homes_of_dead_processes_go_however_deep(make: Make, git_http: GitHttp, tmp_path: Path) -> None:
    dead = tmp_path / "cache" / "run" / "1-1"
    (dead / "7").mkdir(parents=True)
    (dead / "alive").touch()
    dig(dead / "7")
    await Served(git_http, "app").fetched(make())
    assert not dead.exists()


async def test_no_symlink_in_a_mirror_is_followed(make: Make, git_http: GitHttp) -> None:
    """Not to another's generation, to be read, marked, locked or removed."""
    fetching = make()
    good, evil = Served(git_http, "good"), Served(git_http, "evil")
    theirs, mine = await good.fetched(fetching), await evil.fetched(fetching)
    generation, own = theirs.current(), mine.current()
    assert generation is not None
    assert own is not None
    before = sorted(theirs.path.rglob("*"))
    mark = generation / "refs/setpoint/kept" / good.sha
    os.utime(mark, (0, 0))
    handle = fetching.handle(evil.repository)
    # Its folder of what is kept is theirs.
    (own / "refs/setpoint/kept").rename(own / "refs/aside")
    (own / "refs/setpoint/kept").symlink_to(mark.parent)
    assert not fetching.kept(handle, good.sha)
    fetching.used(handle, good.sha)
    assert mark.stat().st_mtime == 0
    # The generation to read is theirs, by a file, and by a symlink as earlier versions had it.
    (mine.path / NAMES[0]).symlink_to(generation)
    (mine.path / "current").unlink()
    (mine.path / "current").write_text(NAMES[0])
    assert mine.current() is None
    (mine.path / "current").unlink()
    (mine.path / "current").symlink_to(generation)
    assert mine.current() is None
    for text in ("../good", str(generation), f"{own.name}/", f"{own.name}\n", ""):
        (mine.path / "current").unlink()
        (mine.path / "current").write_text(text)
        assert mine.current() is None, text
    assert mine.drop()
    assert sorted(theirs.path.rglob("*")) == before
    assert good.held(fetching)


async def test_strangers_in_a_mirror_are_removed_unread(make: Make, git_http: GitHttp) -> None:
    fetching = make()
    good, evil = Served(git_http, "good"), Served(git_http, "evil")
    theirs, mine = await good.fetched(fetching), await evil.fetched(fetching)
    generation = theirs.current()
    assert generation is not None
    os.mkfifo(mine.path / "g-pipe")
    (mine.path / "g-folder").mkdir()
    (mine.path / NAMES[0]).symlink_to(generation)
    (mine.path / NAMES[1]).write_text("no folder")
    (mine.path / NAMES[2]).mkdir()
    os.mkfifo(mine.path / NAMES[2] / "reader")
    (mine.path / "lock").touch()
    evil.sha = evil.repo.commit({"a": "2"})
    await evil.fetched(fetching)
    current = mine.current()
    assert current is not None
    assert {each.name for each in mine.path.iterdir()} == {"current", current.name}
    assert good.held(fetching)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a shared lock, as whoever may read a file can."""
    descriptor = os.open(path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    try:
        yield
    finally:
        os.close(descriptor)


async def test_no_lock_of_a_reader_holds_up_a_fetch(make: Make, git_http: GitHttp) -> None:
    fetching = make()
    app = Served(git_http, "app")
    mirror = await app.fetched(fetching)
    app.sha = app.repo.commit({"a": "2"})
    descriptors = [os.open(each, os.O_RDONLY) for each in mirror.path.rglob("*") if each.is_file()]
    for each in descriptors:
        fcntl.flock(each, fcntl.LOCK_SH)
    try:
        async with asyncio.timeout(60):
            await app.fetched(fetching)
    finally:
        for each in descriptors:
            os.close(each)
    assert app.held(fetching)


async def test_a_reader_that_never_lets_go_keeps_no_room(make: Make, git_http: GitHttp) -> None:
    """It is asked to, and those that nobody reads go first."""
    asked: list[str] = []

    async def release(namespace: str) -> None:
        asked.append(namespace)

    fetching = make(limit=2 * MIB, release=release)
    read, unread, more, last = (Served(git_http, each, MIB * 3 // 4) for each in ("r", "un", "mor", "last"))
    generation = (await read.fetched(fetching)).current()
    assert generation is not None
    with locked(generation / "reader"):
        await unread.fetched(fetching)
        await more.fetched(fetching)
        assert asked == ["r"]
        assert [each.held(fetching) for each in (read, unread, more)] == [True, False, True]
        fetching._room._limit = MIB
        await last.fetched(fetching)
        assert [each.held(fetching) for each in (read, unread, more, last)] == [False, False, False, True]


async def test_old_generations_that_are_read_are_few(make: Make, git_http: GitHttp) -> None:
    fetching = make()
    app = Served(git_http, "app")
    mirror = await app.fetched(fetching)
    for name in NAMES:
        (mirror.path / name).mkdir()
        (mirror.path / name / "reader").touch()
    descriptors = [os.open(mirror.path / name / "reader", os.O_RDONLY) for name in NAMES]
    for each in descriptors:
        fcntl.flock(each, fcntl.LOCK_SH)
    app.sha = app.repo.commit({"a": "2"})
    await app.fetched(fetching)
    assert len(list(mirror.path.glob("g-*"))) == 3, "the one to read, and two that are read"
    for each in descriptors:
        os.close(each)


async def test_who_reads_what_is_dropped_says_so_and_reads_again(
    make: Make, git_http: GitHttp, tmp_path: Path
) -> None:
    fetching = make()
    app = Served(git_http, "app", MIB)
    mirror, handle = await app.fetched(fetching), fetching.handle(app.repository)
    reading = Reading(tmp_path / "cache" / MIRRORS, Budgets(), fetching.damaged)
    tree = reading.tree(handle, app.sha)
    assert tree.read("a") == b"app"
    assert not mirror.drop()
    assert mirror.drop(read=True)
    assert not mirror.path.exists()
    with suppress(Problem):  # its pack may be open still
        assert tree.read("big") == noise(MIB, 3)
    assert not reading.holds(handle, app.sha)
    with pytest.raises(Problem, match="is fetched again"):
        reading.tree(handle, app.sha)
    await app.fetched(fetching)
    assert reading.holds(handle, app.sha)
    assert reading.tree(handle, app.sha).read("big") == noise(MIB, 3)
    reading.close()


async def test_who_waits_for_a_mirror_that_is_dropped_fetches_into_the_next(
    make: Make, git_http: GitHttp
) -> None:
    """The one that he is fenced to is gone, with its lock: another process takes the new one."""
    fetching = make()
    app = Served(git_http, "app")
    mirror = await app.fetched(fetching)
    app.sha = app.repo.commit({"a": "2"})
    with mirror.writing():
        task = asyncio.create_task(app.fetched(fetching))
        async with asyncio.timeout(60):
            while not any(_waits(each.process.pid) for each in fetching._children.all):  # type: ignore[union-attr]
                await asyncio.sleep(0.01)
        mirror.path.rename(mirror.path.with_name("aside"))
        mirror.lock.unlink()
    await task
    assert app.held(fetching)


def _waits(pid: int) -> bool:
    """Return whether a process waits for the lock of a file: then it is fenced, and has begun."""
    rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return any(row[1:3] == ["->", "FLOCK"] and row[5] == str(pid) for row in rows)


ANSWERING = """
import os, struct, sys
from setpoint.fences import launcher
from setpoint.git.worker import main
def write(stream, answer):
    stream.write(BODY)
    stream.flush()
main.write = write
launcher.main(int(sys.argv[1]), int(sys.argv[2]), main.become)
"""


def framed(answer: object) -> bytes:
    body = json.dumps(answer).encode()
    return struct.pack(">I", len(body)) + body


LISTED = {"ref": "refs/heads/main", "sha": "0" * 40, "revision": "main"}


@pytest.mark.parametrize(
    "answer",
    [
        struct.pack(">I", 2**32 - 1),
        struct.pack(">I", 2) + b"{]",
        struct.pack(">I", 60_000) + b"[" * 60_000,
        struct.pack(">I", 2) + b"\xff\xff",
        framed([]),
        framed({"result": LISTED}),
        framed({"id": 2, "result": LISTED}),
        framed({"id": True, "result": LISTED}),
        framed({"id": [], "result": LISTED}),
        framed({"id": 1, "result": LISTED, "more": 1}),
        framed({"id": 1, "result": LISTED | {"more": "x"}}),
        framed({"id": 1, "result": LISTED | {"sha": "../../x"}}),
        framed({"id": 1, "result": LISTED | {"sha": 7}}),
        framed({"id": 1, "result": LISTED | {"revision": "x" * 1025}}),
        framed({"id": 1, "problem": ["NoReason", "x"]}),
        framed({"id": 1, "problem": ["GitFailed", 7]}),
        framed({"id": 1, "problem": ["GitFailed", "x" * 20_000]}),
    ],
)
async def test_a_git_process_that_answers_what_none_of_ours_does_is_ended(
    world: World,
    git_https: GitHttp,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: bytes,
) -> None:
    """Its request fails at once, and the next one has another process."""
    sha = git_https.repo("app").commit({"a": "1"})
    (program := tmp_path / "answering.py").write_text(ANSWERING.replace("BODY", repr(answer)))
    app = trusting(git_https.url("app"), authority)
    with monkeypatch.context() as patch:
        patch.setattr(workers, "LAUNCHER", ("-P", "-s", str(program)))
        with pytest.raises(Problem, match="the Git process gave") as raised:
            await asyncio.wait_for(world.git.resolve(app, MAIN, TIMEOUT), 60)
    assert raised.value.reason is Reason.GitFailed
    assert world.git.fetching._children is not None
    async with asyncio.timeout(60):
        await asyncio.gather(*(each.ended for each in world.git.fetching._children.all))
    assert not world.git.fetching._children.all
    await world.git.fetching.close()
    selected: Selected = await world.git.resolve(app, MAIN, TIMEOUT)
    assert selected.sha == sha


async def test_an_answer_that_nobody_waits_for_any_more_is_none_that_is_forged(
    world: World, git_https: GitHttp, authority: Authority
) -> None:
    """Who gave up is answered while another request of the same child is at work."""
    sha = git_https.repo("app").commit({"a": "1"})
    app = trusting(git_https.url("app"), authority)
    await world.git.resolve(app, MAIN, TIMEOUT)
    assert world.git.fetching._children is not None
    (child,) = world.git.fetching._children.all
    tasks = [asyncio.create_task(world.git.resolve(app, MAIN, TIMEOUT)) for _ in range(2)]
    async with asyncio.timeout(60):
        while len(child._asked) < 2:
            await asyncio.sleep(0)
    tasks[0].cancel()
    assert (await tasks[1]).sha == sha
