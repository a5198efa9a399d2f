"""What a child that was taken over would try, as a program; and a kernel without Landlock, to run others on.

`python -m tests.kit.fenced PROGRAM ARGUMENTS` runs a program where landlock_create_ruleset(2) is not there.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
import sysconfig
from typing import Final

from setpoint.fences import kernel
from setpoint.fences.policy import LIBRARIES

PYTHON: Final = (*LIBRARIES, sysconfig.get_path("stdlib"), sys.base_prefix, sys.prefix, sys.executable)
"""What Python must read and run, where it plays a renderer: the real one is linked statically."""
SHELL: Final = (*LIBRARIES, "/bin", "/usr/bin", "/dev/zero")

ATTEMPTS: Final = """
import ctypes, errno, os, socket
def attempts(paths, abstract, run=True):
    '''What succeeds of what a process could do beyond its task, by name: "done", or the error.'''
    found = {}
    def tried(name, deed):
        try:
            deed()
            found[name] = "done"
        except OSError as error:
            found[name] = errno.errorcode.get(error.errno, str(error.errno))
    def connected():
        with socket.socket(socket.AF_UNIX) as other:
            other.connect(abstract)
    def forked():
        if (pid := os.fork()) == 0:
            os._exit(0)
        os.waitpid(pid, 0)
    def called(number, *arguments):
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syscall(number, *arguments) < 0:
            raise OSError(ctypes.get_errno(), "")
    def spawned(spawn):
        os.waitpid(spawn("/bin/true", ["true"], {}), 0)
    for name, path in paths.items():
        tried("read " + name, lambda: os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(1))
        tried("write " + name, lambda: open(os.path.join(path, "made") if os.path.isdir(path) else path, "ab"))
        tried("link " + name, lambda: os.symlink("/etc/passwd", os.path.join(path, "link")))
    for family in ("AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK", "AF_PACKET"):
        tried(family, lambda: socket.socket(getattr(socket, family), socket.SOCK_DGRAM).close())
    tried("socketpair", lambda: [each.close() for each in socket.socketpair()])
    tried("abstract", connected)
    tried("io_uring", lambda: called(425, 1, 0))
    # PTRACE_SEIZE, which does not stop the other process: a test that finds no fence says so, and hangs on nothing.
    tried("ptrace", lambda: called({"x86_64": 101}.get(os.uname().machine, 117), 0x4206, os.getppid(), 0, 0))
    tried("fork", forked)
    tried("spawn", lambda: spawned(os.posix_spawn))
    if run:
        tried("run", lambda: os.execv("/bin/true", ["true"]))
    tried("truncate", lambda: os.truncate(next(iter(paths.values())), 0))
    tried("mode", lambda: os.chmod(next(iter(paths.values())), 0o700))
    tried("signal", lambda: os.kill(os.getppid(), 0))
    tried("limit", lambda: __import__("resource").prlimit(os.getppid(), 7))
    tried("renice", lambda: os.setpriority(os.PRIO_PROCESS, os.getppid(), 19))
    tried("namespace", lambda: called({"x86_64": 272}.get(os.uname().machine, 97), 0x10000000))
    return found
"""
ALONE: Final = {
    "io_uring": "EACCES",
    "ptrace": "EACCES",
    "fork": "EPERM",
    "spawn": "EPERM",
    "run": "EACCES",
    "truncate": "EACCES",
    "signal": "EPERM",
    "limit": "EPERM",
    "renice": "EACCES",
    "namespace": "EACCES",
    "AF_PACKET": "EACCES",
}
"""What every child meets that tries to be or to touch another process."""


def without_landlock() -> None:
    """Make Landlock unknown to this process and to all that it starts."""
    load, equal, end = 0x20, 0x15, 0x06
    unknown = 0x00050000 | errno.ENOSYS
    rows = [(load, 0, 0, 0), (equal, 0, 1, 444), (end, 0, 0, unknown), (end, 0, 0, 0x7FFF0000)]
    libc = ctypes.CDLL(None)
    assert libc.prctl(38, ctypes.c_ulong(1), *[ctypes.c_ulong(0)] * 3) == 0
    kernel._filter(b"".join(struct.pack("HBBI", *row) for row in rows))
    assert kernel.landlock_abi() == 0


if __name__ == "__main__":
    without_landlock()
    os.execv(sys.argv[1], sys.argv[1:])
