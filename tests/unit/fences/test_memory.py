"""What the kernel says of a process, and what one that lies about its name can change of that: nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from setpoint.fences.memory import Sample, held, parsed, sample, unlinked

STATUS = """Name:\tpython3
Umask:\t0022
State:\tS (sleeping)
VmPeak:\t  102400 kB
VmHWM:\t   51200 kB
VmRSS:\t   40960 kB
RssAnon:\t   20480 kB
RssFile:\t   12288 kB
RssShmem:\t    8192 kB
VmData:\t   30720 kB
VmPTE:\t     120 kB
VmSwap:\t     64 kB
Threads:\t3
SigQ:\t0/64
"""
STAT = "42 (python3) S 1 42 42 0 -1 4194304 3000 0 0 0 250 50 7 9 20 0 3 0 100 104857600 10240 18446744073709551615"


def test_memory_of_every_kind_is_counted() -> None:
    found = parsed(STATUS, STAT, ticks=100)
    assert found == Sample(28672 * 1024, 120 * 1024, 64 * 1024, 3, 3.0)
    assert found.memory == (28672 + 120 + 64) * 1024


def test_one_that_ended_has_none() -> None:
    rest = "\n".join(line for line in STATUS.splitlines() if not line.startswith(("Vm", "Rss")))
    assert parsed(rest, STAT, ticks=100) == Sample(0, 0, 0, 3, 3.0)


def test_its_name_is_its_own_and_nothing_else() -> None:
    named = STATUS.replace("python3", "x\\nVmRSS:\\t0 kB", 1)
    assert parsed(named, STAT.replace("python3", ") S 1 1 1 1 1 (", 1), ticks=100) == parsed(
        STATUS, STAT, ticks=100
    )


@pytest.mark.parametrize(("status", "stat"), [("", STAT), (STATUS, ""), (STATUS, "42 (x) S 1 2"), ("x", "y")])
def test_what_is_no_status(status: str, stat: str) -> None:
    with pytest.raises(ValueError, match="status"):
        parsed(status, stat)


LIAR = """
import ctypes, mmap, sys, threading
held = mmap.mmap(-1, 32 * 2**20)
held.write(b"x" * 2**25)
own = b"y" * 2**25
threading.Thread(target=threading.Event().wait, daemon=True).start()
ctypes.CDLL(None).prctl(15, b") S 1\\nVmRSS: 1", 0, 0, 0)
while sum(__import__("os").times()[:2]) < 0.2:
    continue
print(flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc")
def test_a_process_that_shares_memory_and_lies() -> None:
    """Its resident pages are those of the memory that it may share, too."""
    with subprocess.Popen([sys.executable, "-c", LIAR], stdin=-1, stdout=-1) as child:
        assert child.stdout
        assert child.stdin
        child.stdout.readline()
        found = sample(child.pid)
        child.stdin.close()
    assert found
    assert 64 * 2**20 < found.resident < 256 * 2**20
    assert found.tables > 2**16
    assert found.threads == 2
    assert 0.1 < found.processor < 60


def test_one_that_is_gone() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert sample(child.pid) is None
    assert sample(os.getpid()) is not None


MAPS = [
    "7f0000000000-7f0000001000 r--p 00000000 00:1c 7 /scratch/a file (deleted)\n",
    "7f0000002000-7f0000004000 rw-s 00000000 00:1c 8 /scratch/b\n",
    "7f0000005000-7f0000007000 rw-s 00000000 00:1c 9 /scratchy/b (deleted)\n",
    "7f0000008000-7f0000009000 rw-s 00000000 00:01 9 /dev/zero (deleted)\n",
    "7f000000a000-7f000000b000 rw-p 00000000 00:00 0 \n",
    "7f000000c000-7f000000f000 rw-s 00000000 00:1c 10 /scratch/c\\012d (deleted)\n",
]


def test_what_is_mapped_and_in_no_folder() -> None:
    assert unlinked(MAPS, "/scratch") == unlinked(MAPS, "/scratch/") == 0x1000 + 0x3000
    assert unlinked(MAPS, "/scratch", {("00:1c", "7"), ("00:1d", "10")}) == 0x3000


HOLDER = """
import ctypes, mmap, os, sys
os.chdir(sys.argv[1])
def made(name, size):
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT)
    os.write(descriptor, b"x" * size)
    return descriptor
opened, seen, mapped, both = (made(name, 2**size) for name, size in zip(("opened", "seen", "mapped", "both"), range(20, 24)))
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_long
assert libc.mmap(None, ctypes.c_size_t(2**22), 1, 2, mapped, ctypes.c_long(0)) > 0
os.close(mapped)
kept = mmap.mmap(both, 2**23, mmap.MAP_SHARED)
for name in ("opened", "mapped", "both"):
    os.unlink(name)
print(flush=True)
sys.stdin.read()
"""


def test_files_that_are_in_no_folder_any_more_are_held(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdin=-1, stdout=-1) as child:
        assert child.stdout
        assert child.stdin
        child.stdout.readline()
        found = held(child.pid, str(tmp_path))
        elsewhere = held(child.pid, "/elsewhere")
        child.stdin.close()
    assert 2**20 + 2**22 + 2**23 <= found <= 2**20 + 2**22 + 2**23 + 2**16
    assert 2**20 + 2**23 <= elsewhere <= 2**20 + 2**23 + 2**16
    assert held(child.pid, str(tmp_path)) == 0
