"""Memory that was freed goes back to the system, and nothing is done where nothing happens."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from tests.kit import virtualtime

from setpoint.runtime import malloc

FRAGMENTS = """
from setpoint.runtime import malloc as allocator

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

blocks = [bytes(2048) for _ in range(50_000)]
kept = blocks[-1:]  # the newest is above all the others
del blocks
before = resident()
allocator.trim()
print(before - resident())
"""


@pytest.mark.skipif(malloc._function("malloc_trim") is None, reason="needs the GNU C library")
def test_what_was_freed_below_what_is_used_goes_back() -> None:
    done = subprocess.run([sys.executable, "-c", FRAGMENTS], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 40_000 * 2048


def test_it_goes_back_once_for_much_work_and_never_without(monkeypatch: pytest.MonkeyPatch) -> None:
    trims: list[float] = []

    async def story() -> None:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(malloc, "trim", lambda: trims.append(loop.time()))
        monkeypatch.setattr(loop, "run_in_executor", lambda _, work: work())
        returns = malloc.TrimTimer()
        await asyncio.sleep(1000)
        for _ in range(5):
            returns.worked()
            await asyncio.sleep(1)
        await asyncio.sleep(1000)
        returns.worked()
        returns.close()
        await asyncio.sleep(1000)

    virtualtime.run(story())
    assert trims == [1000 + malloc.PAUSE]
