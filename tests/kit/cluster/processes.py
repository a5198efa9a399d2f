"""Child processes that cannot outlive their owner.

In: command lines. Out: `Child` handles. Each child leads a process group of its own, so that Ctrl-C in a
terminal does not end etcd before kube-apiserver, and the kernel kills it when its owner dies, however.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

PR_SET_PDEATHSIG = 1
POLL_SECONDS = 0.05
_LIBC = ctypes.CDLL(None, use_errno=True)
# The kernel's death signal follows the *thread* that forked, so all children are forked by one that stays.
_SPAWNER = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawner")


class ProcessError(RuntimeError):
    """A child ended or did not get ready; the message carries the end of its log."""


class Child:
    """One running program, whose output goes to a log file."""

    def __init__(self, name: str, command: Sequence[str | Path], log: Path) -> None:
        self.name = name
        self.command = [str(part) for part in command]
        self.log = log
        self._process = _SPAWNER.submit(self._spawn).result()

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its process group."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL for the whole group, and wait for the end of it."""
        if self.running:
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def tail(self, size: int = 3000) -> str:
        """The end of its log, for error messages."""
        return self.log.read_text(errors="replace")[-size:]

    def _spawn(self) -> subprocess.Popen[bytes]:
        owner = os.getpid()
        with self.log.open("ab") as output:
            return subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,
                preexec_fn=lambda: die_with(owner),  # noqa: PLW1509 - two system calls, no lock taken
            )


def die_with(owner: int) -> None:
    """Runs in the child, before exec."""
    if sys.platform == "linux":
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != owner:  # it died between fork and prctl
            os._exit(1)


def until(ready: Callable[[], bool], what: str, seconds: float, children: Sequence[Child] = ()) -> None:
    """Poll `ready` for things that offer no event; fail at once if one of the children has ended."""
    deadline = time.monotonic() + seconds
    while not ready():
        for child in children:
            if not child.running:
                raise ProcessError(f"{child.name} ended while waiting for {what}:\n{child.tail()}")
        if time.monotonic() > deadline:
            logs = "\n".join(f"--- {child.name}\n{child.tail()}" for child in children)
            raise ProcessError(f"no {what} after {seconds:.0f} s\n{logs}")
        time.sleep(POLL_SECONDS)


def lives(pid: int) -> bool:
    """Whether the process runs; a zombie has ended, even if nobody has asked for its exit status yet."""
    return birth(pid) is not None


def birth(pid: int) -> int | None:
    """When a process that runs began, in ticks since boot: numbers are given anew. None once it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    words = stat.rpartition(")")[2].split()  # from the third field of proc_pid_stat(5) on
    return None if words[0] == "Z" else int(words[19])


def interrupt_on_sigterm() -> None:
    """Make SIGTERM and SIGHUP act as Ctrl-C does, so that clean-up runs; handlers that exist are kept."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _interrupt)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)
