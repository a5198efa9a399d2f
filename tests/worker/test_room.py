"""Children that take too much of the machine, each in its way, are ended for just that: real processes."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kit.watching import watched

from setpoint.fences.allowances import Allowance, Kind
from setpoint.runtime import disk
from setpoint.worker.room import Watch

MIB = 2**20
ROOM = {"memory": 256 * MIB, "threads": 4, "processor": 600.0, "seconds": 600.0, "scratch": 16 * MIB}
WAIT = "\nimport time; time.sleep(600)"
CHILDREN: dict[str, tuple[Kind, dict[str, float]]] = {
    "held = b'x' * (300 * 2**20)" + WAIT: (Kind.MEMORY, {}),
    # Shared with nobody, but could be: no private memory at all.
    "import mmap; held = mmap.mmap(-1, 300 * 2**20); [held.write(bytes(2**20)) for _ in range(300)]" + WAIT: (
        Kind.MEMORY,
        {},
    ),
    "import threading, time; [threading.Thread(target=time.sleep, args=(600,)).start() for _ in range(6)]": (
        Kind.THREADS,
        {},
    ),
    "while True: continue": (Kind.PROCESSOR, {"processor": 0.3}),
    "pass" + WAIT: (Kind.TIME, {"seconds": 0.3}),
    "open('file', 'wb').write(bytes(20 * 2**20))" + WAIT: (Kind.SCRATCH, {}),
    "import os\nfor n in range(20000): os.mkdir(str(n))" + WAIT: (Kind.SCRATCH, {}),
    "import os\nfor n in range(1000): os.mkdir('d'); os.chdir('d')" + WAIT: (Kind.SCRATCH, {}),
    "import os; file = open('file', 'w+b'); os.unlink('file'); file.write(bytes(20 * 2**20)); file.flush()"
    + WAIT: (Kind.SCRATCH, {}),
}


@pytest.fixture(autouse=True)
def nothing_deep_is_left(tmp_path: Path) -> Iterator[None]:
    """Remove what is too deep for pytest, which would fail at it some runs later."""
    yield
    for each in tmp_path.iterdir():
        disk.remove(each)


async def start(program: str, folder: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-I", "-S", "-c", program, cwd=folder)


def room(folder: Path, **other: float) -> Allowance:
    values = ROOM | other
    return Allowance(
        memory=int(values["memory"]),
        threads=int(values["threads"]),
        processor=values["processor"],
        seconds=values["seconds"],
        folder=folder,
        scratch=int(values["scratch"]),
    )


@pytest.mark.parametrize("program", CHILDREN)
async def test_a_child_that_takes_too_much(program: str, tmp_path: Path) -> None:
    kind, limits = CHILDREN[program]
    allowance = room(tmp_path, **limits)
    process, watch = await start(program, tmp_path), Watch()
    with watched(watch, process.pid, allowance, process.kill) as child, watch.working(process.pid):
        assert await asyncio.wait_for(process.wait(), 120) == -signal.SIGKILL
        assert watch.why(process.pid) is child.excess
    assert child.excess
    assert child.excess.kind is kind
    assert child.excess.figure > child.excess.limit


async def test_one_that_keeps_within_its_room_is_left_alone(tmp_path: Path) -> None:
    """While its neighbour is ended."""
    program = "held = b'x' * (64 * 2**20); open('file', 'wb').write(bytes(2**20)); print(flush=True); input()"
    watch = Watch()
    (folder := tmp_path / "a").mkdir()
    modest = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, cwd=folder, stdin=-1, stdout=-1
    )
    assert modest.stdout
    await modest.stdout.readline()
    greedy = await start("held = b'x' * (300 * 2**20)" + WAIT, tmp_path)
    with watched(watch, modest.pid, room(folder), modest.kill) as left, watch.working(modest.pid):
        with watched(watch, greedy.pid, room(tmp_path), greedy.kill) as ended, watch.working(greedy.pid):
            assert await asyncio.wait_for(greedy.wait(), 120) == -signal.SIGKILL
        seen = left.use  # while it is there: one that ends is seen with less and less
        await modest.communicate(b"\n")
    assert (modest.returncode, left.excess) == (0, None)
    assert 64 * MIB < seen.memory < 256 * MIB
    assert ended.excess


async def test_children_that_together_take_too_much(tmp_path: Path) -> None:
    watch = Watch({("git",): 256 * MIB})
    large, small = [await start(f"held = b'x' * ({size} * 2**20)" + WAIT, tmp_path) for size in (160, 120)]
    with (
        watched(watch, large.pid, room(tmp_path), large.kill, "git") as ended,
        watched(watch, small.pid, room(tmp_path), small.kill, "git") as left,
        watch.working(large.pid),
        watch.working(small.pid),
    ):
        assert await asyncio.wait_for(large.wait(), 120) == -signal.SIGKILL
        assert small.returncode is None
    assert ended.excess
    assert (ended.excess.kind, ended.excess.limit) == (Kind.TOGETHER, 256 * MIB)
    assert left.excess is None
    small.kill()
    await small.wait()
