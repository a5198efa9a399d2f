"""The child process that starts renderers: `python -I -S launcher.py SOCKET_FD PARENT_PID`.

Python takes longer to start than kustomize to build, so one launcher serves all renders: it locks itself in
once (no new privileges, no network), and each renderer is a fork of it that inherits the lock. It uses the
standard library alone. Forking here instead of in the operator also means: no threads, and 10 MB to copy.

Protocol, JSON in packets. In: {"id", "argv", "cwd", "env", "output": bytes} with two file descriptors (stdout,
stderr), or {"kill": id}. Out: {"id", "pid"}, later {"id", "status"}: the exit code, or minus the signal. At the
end of the socket, which is the death of the parent too, every renderer is killed.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import resource
import selectors
import signal
import socket
import struct
import sys
from typing import Any, Final, NoReturn

PACKET: Final = 65536
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP: Final = 22
_SECCOMP_MODE_FILTER: Final = 2
_FILES: Final = 256
_CANNOT_START: Final = 127

# linux/audit.h and asm/unistd.h: architecture, socket(2), io_uring_setup(2) (which can open sockets as well).
_ARCHITECTURES: Final = {"x86_64": (0xC000003E, 41, 425), "aarch64": (0xC00000B7, 198, 425)}
_X32: Final = 0x40000000
_ALLOW: Final = 0x7FFF0000
_DENY: Final = 0x00050000 | 13
"""SECCOMP_RET_ERRNO with EACCES."""


def lock_in() -> None:
    """Take the network from this process and all that it starts; raises OSError where the kernel cannot."""
    if platform.machine() not in _ARCHITECTURES:
        raise OSError(f"there is no filter for {platform.machine()}")
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    code = _filter(*_ARCHITECTURES[platform.machine()])
    rows = ctypes.create_string_buffer(code)
    program = ctypes.create_string_buffer(struct.pack("HL", len(code) // 8, ctypes.addressof(rows)))
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(program))


def _filter(architecture: int, socket_call: int, ring_call: int) -> bytes:
    """Assemble a BPF program over struct seccomp_data: nr at 0, arch at 4, the low half of args[0] at 16."""
    load, equal, at_least, end = 0x20, 0x15, 0x35, 0x06
    rows = [
        (load, 0, 0, 4),
        (equal, 0, 6, architecture),
        (load, 0, 0, 0),
        (at_least, 4, 0, _X32),
        (equal, 3, 0, ring_call),
        (equal, 0, 3, socket_call),
        (load, 0, 0, 16),
        (equal, 1, 0, int(socket.AF_UNIX)),
        (end, 0, 0, _DENY),
        (end, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("HBBI", *row) for row in rows)


def _prctl(option: int, value: int, pointer: int = 0) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = [ctypes.c_ulong(each) for each in (value, pointer, 0, 0)]
    if libc.prctl(ctypes.c_int(option), *arguments) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}: {os.strerror(ctypes.get_errno())}")


def _die_with(parent: int) -> None:
    """Die when the parent does; also if it did already."""
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


class Launcher:
    """The loop: requests from the socket, exits from SIGCHLD."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._running: dict[int, int] = {}

    def serve(self) -> None:
        """Serve until the socket ends."""
        woken, wake = socket.socketpair()
        woken.setblocking(False)
        wake.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._channel, selectors.EVENT_READ)
            selector.register(woken, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select()}
                if woken in ready:
                    woken.recv(PACKET)
                    self._reap()
                if self._channel in ready and not self._request():
                    break
        for pid in self._running:
            _kill(pid)

    def _request(self) -> bool:
        data, descriptors, _, _ = socket.recv_fds(self._channel, PACKET, 2)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        if not data:
            return False
        message: dict[str, Any] = json.loads(data)
        if "kill" in message:
            for pid in [pid for pid, each in self._running.items() if each == message["kill"]]:
                _kill(pid)
            return True
        pid = self._fork(message, descriptors)
        self._running[pid] = message["id"]
        for descriptor in descriptors:
            os.close(descriptor)
        self._send({"id": message["id"], "pid": pid})
        return True

    def _fork(self, message: dict[str, Any], descriptors: list[int]) -> int:
        parent = os.getpid()
        if pid := os.fork():
            return pid
        try:
            _become(message, descriptors, parent)
        except OSError as error:
            os.write(2, f"Error: {error.strerror}\n".encode())
        finally:
            os._exit(_CANNOT_START)

    def _reap(self) -> None:
        while self._running:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            self._send({"id": self._running.pop(pid), "status": os.waitstatus_to_exitcode(status)})

    def _send(self, message: dict[str, int]) -> None:
        self._channel.send(json.dumps(message).encode())


def _become(message: dict[str, Any], descriptors: list[int], parent: int) -> NoReturn:
    """Turn this fork into the renderer: own process group, no files but the three standard ones."""
    os.setpgid(0, 0)
    _die_with(parent)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # Python ignores these two, and what is ignored stays so across execve.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    os.dup2(descriptors[0], 1)
    os.dup2(descriptors[1], 2)
    # One file may not grow beyond the limit of the output; the kernel ends whoever tries.
    resource.setrlimit(resource.RLIMIT_FSIZE, (message["output"], message["output"]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, _FILES))
    os.chdir(message["cwd"])
    os.execve(message["argv"][0], message["argv"], message["env"])  # noqa: S606 - no shell is the point


def _kill(pid: int) -> None:
    """Kill a process group; before its own setpgid the process alone."""
    for kill in (os.killpg, os.kill):
        try:
            kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def main(descriptor: int, parent: int) -> None:
    """Serve the socket at `descriptor` for the process `parent`."""
    _die_with(parent)
    if sys.platform == "linux":
        try:
            lock_in()
        except OSError as error:
            sys.exit(f"renderers cannot be kept from the network, so none is started: {error}")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A renderer that held this socket could have programs started.
    os.set_inheritable(descriptor, False)
    Launcher(socket.socket(fileno=descriptor)).serve()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
