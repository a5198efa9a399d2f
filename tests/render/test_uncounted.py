"""A process without a network holds no memory that nobody counts, and can do all that reading and rendering takes."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

from tests.kit.fenced import PYTHON
from tests.kit.gitfolder import GitFolder
from tests.render.conftest import config

from setpoint.fences.policy import Policy
from setpoint.fences.seccomp import _ARCHITECTURES, _UNCOUNTED
from setpoint.render.sandbox import Limits, Sandbox

FENCED = """
import asyncio, ctypes, errno, json, os, socket, sys, threading
import orjson, pygit2
from setpoint.fences import kernel
from setpoint.fences.landlock import Access, Grant
work, given = sys.argv[1:3]
"""
"""The start of a process that fences itself as a fork of a launcher does: with what it needs loaded and made."""

USEFUL = (
    FENCED
    + """
loop = asyncio.new_event_loop()
near, far = socket.socketpair()
pygit2.settings.homedir = work
grants = [Grant(each, Access.READ) for each in sys.argv[3:]] + [Grant(given, Access.READ), Grant(work, Access.WRITE)]
def listing():
    repository = pygit2.Repository(given)
    commit = repository[repository.head.target]
    return {entry.name: entry.data.decode() for entry in commit.tree}
pygit2.settings.owner_validation = False
for level in range(1, 5):
    pygit2.settings.search_path[level] = ""
async def echo():
    reader, writer = await asyncio.open_connection(sock=far)
    writer.write(await reader.readexactly(2**20))
    await writer.drain()
async def work_on():
    answering = asyncio.create_task(echo())
    reader, writer = await asyncio.open_connection(sock=near)
    writer.write(b"x" * 2**20)
    await writer.drain()
    echoed = len(await reader.readexactly(2**20))
    await answering
    found = await asyncio.to_thread(listing)
    with open(os.path.join(work, "kept"), "wb") as file:
        file.write(orjson.dumps(found))
    return echoed
kernel.fence(grants, kernel.landlock_abi(), network=False)
print(loop.run_until_complete(work_on()))
"""
)

HOARDING = (
    FENCED
    + """
import fcntl, mmap
calls, flags = json.loads(given), mmap.MAP_SHARED | mmap.MAP_ANONYMOUS
pipe, file = os.pipe()[1], os.open(os.path.join(work, "file"), os.O_RDWR | os.O_CREAT)
unix = socket.socketpair()[0]
kernel.fence([Grant(work, Access.WRITE)], kernel.landlock_abi(), network=False)
libc, found = ctypes.CDLL(None, use_errno=True), {}
def tried(name, deed):
    try:
        deed()
        found[name] = "done"
    except OSError as error:
        found[name] = errno.errorcode.get(error.errno, str(error.errno))
def called(number):
    if libc.syscall(ctypes.c_long(number), *[ctypes.c_long(0)] * 6) < 0:
        raise OSError(ctypes.get_errno(), "")
for name, number in calls.items():
    tried(name, lambda: called(number))
tried("park", lambda: socket.send_fds(unix, [b"x"], [file]))
tried("pipe", lambda: fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 2**20))
tried("lock", lambda: fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 7))
tried("shared", lambda: mmap.mmap(-1, 4096, flags))
def hidden():
    if libc.prctl(4, 0, 0, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "")
tried("hide", hidden)
tried("memfd", lambda: os.memfd_create("x"))
tried("flock", lambda: fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB))
tried("unlock", lambda: fcntl.flock(file, fcntl.LOCK_UN))
tried("wait for a lock", lambda: fcntl.flock(file, fcntl.LOCK_SH))
tried("exclusive lock", lambda: fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB))
os.write(file, b"x" * 4096)
tried("mapped", lambda: mmap.mmap(file, 4096, mmap.MAP_SHARED))
tried("private", lambda: mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
print(json.dumps(found))
"""
)
ALLOWED = {"flock", "unlock", "mapped", "private"}


def run(program: str, *arguments: str) -> str:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, timeout=120).stdout


def test_what_a_reader_does_needs_none_of_it(repo: GitFolder, tmp_path: Path) -> None:
    """With asyncio's own loop, made before the fence: uvloop has a ring of calls, and dies without."""
    repo.put({"a.yaml": config("a")}).commit()
    (work := tmp_path / "work").mkdir()
    assert run(USEFUL, str(work), str(repo.root), *PYTHON) == f"{2**20}\n"
    assert json.loads((work / "kept").read_text()) == {"a.yaml": config("a")}


def test_what_was_taken_over_hoards_nothing(tmp_path: Path) -> None:
    machine = _ARCHITECTURES[platform.machine()][1]
    calls = {name: numbers[machine] for name, numbers in _UNCOUNTED.items() if numbers[machine] is not None}
    found = json.loads(run(HOARDING, str(tmp_path), json.dumps(calls)))
    assert set(found) >= set(calls) | ALLOWED
    assert {name for name, code in found.items() if code == "done"} == ALLOWED
    assert {code for name, code in found.items() if name not in ALLOWED} == {"EACCES"}


async def test_kustomize_needs_none_of_it(kustomize: Path, tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [a.yaml]\nnamePrefix: x-\n")
    (tmp_path / "a.yaml").write_text(config("a"))
    sandbox = Sandbox(Policy())
    limits = Limits(timeout=60, memory=256 * 2**20, output=2**20)
    done = await sandbox.run([str(kustomize), "build", "."], tmp_path, {}, limits)
    sandbox.close()
    assert (done.status, done.stderr) == (0, b"")
    assert b"name: x-a" in done.stdout
