"""What the kernel keeps a reader from: a real fork, which tries."""

from __future__ import annotations

import errno
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from setpoint.worker.reader import limits
from setpoint.worker.reader.limits import NO_MEMORY

FORK = """
import errno, mmap, os, resource, sys, threading
from setpoint.objects.documents import json_size
from setpoint.worker.reader.limits import NO_MEMORY, confine
def child():
    confine(128 * 2**20, 2**20)
    try:
        {deed}
    except MemoryError:
        return NO_MEMORY
    except OSError as error:
        return error.errno
    return 0
if (pid := os.fork()) == 0:
    code = 1
    try:
        code = child()
    finally:
        os._exit(code)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def ended(deed: str, cwd: Path) -> int:
    """Return the exit status of a confined fork that did something, or minus the signal that ended it."""
    program = FORK.replace("{deed}", deed)
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, check=True, timeout=120, cwd=cwd
    )
    return int(done.stdout)


ADDED = "kept = [{} for each in range(2**40)]"
DEEDS = {
    "bytearray(64 * 2**20)": 0,
    "bytearray(256 * 2**20)": NO_MEMORY,
    ADDED: NO_MEMORY,
    "'x' * 2**40": NO_MEMORY,
    # What aliases repeat takes no memory before it is written out.
    "json_size(['x' * 1000] * 200_000)": NO_MEMORY,
    "open('file', 'wb').write(b'x' * 2**20)": 0,
    "open('file', 'wb', buffering=0).write(b'x' * 2**20) + open('file', 'ab', buffering=0).write(b'x')": errno.EFBIG,
    "[os.dup(0) for each in range(200)]": 0,
    "[os.dup(0) for each in range(256)]": errno.EMFILE,
    "resource.setrlimit(resource.RLIMIT_CORE, (0, 0))": 0,
}


@pytest.mark.parametrize("deed", DEEDS)
def test_what_a_confined_fork_meets(deed: str, tmp_path: Path) -> None:
    assert ended(deed, tmp_path) == DEEDS[deed]


def test_a_thread_that_runs_out_of_memory_meets_it_too(tmp_path: Path) -> None:
    deed = "met = []; thread = threading.Thread(target=lambda: met.append(grow())); thread.start(); thread.join()"
    program = f"""def grow():
            try:
                kept = [dict() for each in range(2**40)]
            except MemoryError:
                return True
        {deed}; return NO_MEMORY if met == [True] else 1"""
    assert ended(program, tmp_path) == NO_MEMORY


def test_nothing_is_loosened_again(tmp_path: Path) -> None:
    """Each is a hard limit, which takes a privilege to raise: those of a test's process that is root are read."""
    names = ["DATA", "FSIZE", "NOFILE", "CORE", "MEMLOCK", "MSGQUEUE", "SIGPENDING"]
    deed = f"print(*[resource.getrlimit(getattr(resource, 'RLIMIT_' + name)) for name in {names}], file=open('seen', 'w'))"
    assert ended(deed, tmp_path) == 0
    expected = [128 * 2**20, 2**20, 256, 0, 0, 0, 64]
    assert (tmp_path / "seen").read_text().strip() == " ".join(str((each, each)) for each in expected)


def test_a_limit_that_is_lower_already_stays() -> None:
    assert limits._lower(256, 100) == 100
    assert limits._lower(256, 300) == 256
    assert limits._lower(256, resource.RLIM_INFINITY) == 256
