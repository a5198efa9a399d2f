"""Which system calls a fenced process may make, as a BPF program over struct seccomp_data (pure).

In: the machine, the process's own id, and whether it may have a network. Out: the bytes of the program. All that no row
names is allowed: the pod's own profile (RuntimeDefault) and Landlock take the rest.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator, Mapping
from typing import Final

Row = tuple[int, int, int, int]

_ARCHITECTURES: Final[Mapping[str, tuple[int, int]]] = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""AUDIT_ARCH_* of linux/audit.h, and the column of the tables below (asm/unistd.h; None: there is no such call)."""
_CALLS: Final[Mapping[str, tuple[int | None, int | None]]] = {
    # Programs and processes that do as they are told by another.
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    # Rings make calls that no filter sees.
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    # Signals, limits and turns of other processes of the same user.
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424),
    "setpriority": (141, 140),
    "sched_setaffinity": (203, 122),
    "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118),
    "sched_setattr": (314, 274),
    "ioprio_set": (251, 30),
    # Landlock takes it since ABI 3 only. Opening to write with nothing in it needs the right to write, at any ABI.
    "truncate": (76, 45),
    # Namespaces, in which it would have capabilities.
    "unshare": (272, 97),
    "setns": (308, 268),
}
_FORKS: Final = {"fork": (57, None), "vfork": (58, None)}
_MODES: Final = {"chmod": (90, None), "fchmodat": (268, 53), "fchmodat2": (452, 452)}
"""Of files, by path, which Landlock does not judge; libgit2 needs them."""
_SOCKETS: Final = {"socket": (41, 198), "socketpair": (53, 199)}
_OWN: Final = {"kill": (62, 129), "tgkill": (234, 131)}
_LIMITS: Final = {"prlimit64": (302, 261)}
_CLONE: Final = (56, 220)
_CLONE3: Final = (435, 435)
_CLONE_THREAD: Final = 0x10000
_FAMILIES: Final = (1, 2, 10, 16)
"""AF_UNIX, INET, INET6 and NETLINK: what resolving names and connecting takes."""

_X32: Final = 0x40000000
_ALLOW: Final = 0x7FFF0000
_NR, _ARCH, _FIRST = 0, 4, 16
"""Where seccomp_data has the call, the architecture and the low half of the first argument."""
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _END = 0x20, 0x15, 0x35, 0x45, 0x06


def program(machine: str, pid: int, *, network: bool) -> bytes:
    """Return the filter of a process: no other process, no signal to another; sockets, and modes of files, only with `network`.

    Raises ValueError for a machine whose calls are not known.
    """
    if machine not in _ARCHITECTURES:
        raise ValueError(f"there is no filter for {machine}")
    architecture, column = _ARCHITECTURES[machine]
    rows = [(_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, architecture), _refuse(errno.EACCES)]
    rows += [(_LOAD, 0, 0, _NR), (_AT_LEAST, 0, 1, _X32), _refuse(errno.EACCES)]
    for call, code in _refused(column, network=network):
        rows += [(_EQUAL, 0, 1, call), _refuse(code)]
    if network:
        rows += _only(_SOCKETS["socket"][column], _FAMILIES, errno.EACCES)
    for numbers in _OWN.values():
        rows += _only(numbers[column], (pid,), errno.EPERM)
    rows += _only(_LIMITS["prlimit64"][column], (0, pid), errno.EPERM)
    rows += _threads(_CLONE[column])
    return b"".join(struct.pack("HBBI", *row) for row in (*rows, _allow()))


def _refused(column: int, *, network: bool) -> Iterator[tuple[int, int]]:
    """Give the calls that are refused whatever they ask for, with the error that they meet."""
    tables = [(_CALLS, errno.EACCES), (_FORKS, errno.EPERM)]
    if not network:
        tables += [(_SOCKETS, errno.EACCES), (_MODES, errno.EACCES)]
    for table, code in tables:
        for numbers in table.values():
            if (call := numbers[column]) is not None:
                yield call, code
    # Its flags are in memory, where no filter sees them; whoever hears that it is not there takes clone.
    yield _CLONE3[column], errno.ENOSYS


def _only(call: int, values: tuple[int, ...], code: int) -> list[Row]:
    """Allow a call only with one of some values as its first argument, an int."""
    count = len(values)
    tests: list[Row] = [(_EQUAL, count - place, 0, value) for place, value in enumerate(values)]
    return [(_EQUAL, 0, count + 3, call), (_LOAD, 0, 0, _FIRST), *tests, _refuse(code), _allow()]


def _threads(call: int) -> list[Row]:
    """Allow clone for threads alone."""
    return [
        (_EQUAL, 0, 3, call),
        (_LOAD, 0, 0, _FIRST),
        (_ANY_BIT, 1, 0, _CLONE_THREAD),
        _refuse(errno.EPERM),
    ]


def _refuse(code: int) -> Row:
    """SECCOMP_RET_ERRNO."""
    return _END, 0, 0, 0x00050000 | code


def _allow() -> Row:
    """SECCOMP_RET_ALLOW."""
    return _END, 0, 0, _ALLOW
