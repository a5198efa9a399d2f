"""A process without memory ends, wherever Python finds that out: in a thread, on the event loop, or where it is only logged."""

from __future__ import annotations

import subprocess
import sys

import pytest

from setpoint.worker.reader.limits import NO_MEMORY

SCRIPT = """
import asyncio, logging, threading
from setpoint.worker.reader.ending import Threads, listen

def hungry(*_):
    raise MemoryError

def wrapped():
    try:
        hungry()
    except MemoryError:
        raise ValueError("told as something else")

class Unraisable:
    __del__ = hungry

async def main():
    loop = asyncio.get_running_loop()
    loop.set_default_executor(Threads(2))
    listen(loop)
    assert await asyncio.to_thread(lambda: 1) == 1
    {case}
    await asyncio.sleep(60)

asyncio.run(main())
"""
CASES = {
    "in a thread": "await asyncio.to_thread(hungry)",
    "in a callback of the loop": "loop.call_soon(hungry)",
    "behind another error": "loop.call_soon(wrapped)",
    "in a thread of its own": "threading.Thread(target=hungry).start()",
    "where a thread hands over": "loop._default_executor.submit(lambda: 1).add_done_callback(hungry)",
    "where it is logged": "logging.getLogger('x').error('x', exc_info=MemoryError())",
    "where nobody can hear of it": "Unraisable()",
}


@pytest.mark.parametrize("case", CASES)
def test_it_ends(case: str) -> None:
    script = SCRIPT.replace("{case}", CASES[case])
    done = subprocess.run([sys.executable, "-c", script], check=False, timeout=50, capture_output=True)
    assert done.returncode == NO_MEMORY, done.stderr.decode()


def test_other_errors_end_nothing() -> None:
    script = SCRIPT.replace("{case}", "loop.call_soon(lambda: 1 / 0); await asyncio.sleep(0); return")
    done = subprocess.run([sys.executable, "-c", script], check=False, timeout=50, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
