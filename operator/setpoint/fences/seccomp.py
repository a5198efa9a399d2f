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
_UNCOUNTED: Final[Mapping[str, tuple[int | None, int | None]]] = {
    # Memory that belongs to no mapping, to the kernel, or to more than one process: no watch of RSS sees it.
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "userfaultfd": (323, 282),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semget": (64, 190),
    "msgget": (68, 186),
    "mq_open": (240, 180),
    "mlock": (149, 228),
    "mlockall": (151, 230),
    "mlock2": (325, 284),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "io_setup": (206, 0),
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    "fanotify_init": (300, 262),
    "landlock_create_ruleset": (444, 444),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    # Open files can be parked in a socket, and pages in pipes.
    "sendmsg": (46, 211),
    "sendmmsg": (307, 269),
    "splice": (275, 76),
    "vmsplice": (278, 75),
    "tee": (276, 77),
    "pidfd_open": (434, 434),
}
"""What holds memory or files that nobody counts. Who needs no network needs none of it; asyncio of Python 3.11 has no sendmsg (3.12 has)."""
_SOCKETS: Final = {"socket": (41, 198), "socketpair": (53, 199)}
_OWN: Final = {"kill": (62, 129), "tgkill": (234, 131)}
_LIMITS: Final = {"prlimit64": (302, 261)}
_FCNTL: Final = (72, 25)
_HOARDING: Final = (6, 7, 37, 38, 1031)
"""F_SETLK, SETLKW and their OFD kin, of which one file takes any number; F_SETPIPE_SZ."""
_FLOCK: Final = (73, 32)
_HARMLESS: Final = (1 | 4, 8)
"""LOCK_SH with LOCK_NB, and LOCK_UN: no lock that keeps somebody from reading, and no wait for one."""
_MMAP: Final = (9, 222)
_SHARED, _ANONYMOUS, _HUGE = 0x01, 0x20, 0x40000
"""MAP_SHARED (also a bit of MAP_SHARED_VALIDATE), MAP_ANONYMOUS, MAP_HUGETLB."""
_CLONE: Final = (56, 220)
_CLONE3: Final = (435, 435)
_CLONE_THREAD, _CLONE_FILES = 0x10000, 0x400
_PRCTL: Final = (157, 167)
_HIDING: Final = (1, 4)
"""PR_SET_PDEATHSIG, by which it outlives its parent, and PR_SET_DUMPABLE, by which its parent cannot see its open files."""
_FAMILIES: Final = (1, 2, 10, 16)
"""AF_UNIX, INET, INET6 and NETLINK: what resolving names and connecting takes."""

_X32: Final = 0x40000000
_ALLOW: Final = 0x7FFF0000
_NR, _ARCH, _FIRST, _SECOND, _FOURTH = 0, 4, 16, 24, 40
"""Where seccomp_data has the call, the architecture and the low half of an argument."""
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _END = 0x20, 0x15, 0x35, 0x45, 0x06


def program(machine: str, pid: int, *, network: bool) -> bytes:
    """Return the filter of a process: no other process, no signal to another.

    Only with `network` it may open sockets, change modes of files, and hold memory that is not in its RSS.

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
    else:
        rows += _none(_FCNTL[column], _SECOND, _HOARDING)
        rows += _only(_FLOCK[column], _HARMLESS, errno.EACCES, _SECOND)
        rows += _private(_MMAP[column])
    rows += _none(_PRCTL[column], _FIRST, _HIDING)
    for numbers in _OWN.values():
        rows += _only(numbers[column], (pid,), errno.EPERM)
    rows += _only(_LIMITS["prlimit64"][column], (0, pid), errno.EPERM)
    rows += _threads(_CLONE[column])
    return b"".join(struct.pack("HBBI", *row) for row in (*rows, _allow()))


def _refused(column: int, *, network: bool) -> Iterator[tuple[int, int]]:
    """Give the calls that are refused whatever they ask for, with the error that they meet."""
    tables = [(_CALLS, errno.EACCES), (_FORKS, errno.EPERM)]
    if not network:
        tables += [(_SOCKETS, errno.EACCES), (_MODES, errno.EACCES), (_UNCOUNTED, errno.EACCES)]
    for table, code in tables:
        for numbers in table.values():
            if (call := numbers[column]) is not None:
                yield call, code
    # Its flags are in memory, where no filter sees them; whoever hears that it is not there takes clone.
    yield _CLONE3[column], errno.ENOSYS


def _only(call: int, values: tuple[int, ...], code: int, place: int = _FIRST) -> list[Row]:
    """Allow a call only with one of some values as an argument, an int."""
    count = len(values)
    tests: list[Row] = [(_EQUAL, count - each, 0, value) for each, value in enumerate(values)]
    return [(_EQUAL, 0, count + 3, call), (_LOAD, 0, 0, place), *tests, _refuse(code), _allow()]


def _none(call: int, place: int, values: tuple[int, ...]) -> list[Row]:
    """Refuse a call with one of some values as an argument, an int."""
    count = len(values)
    tests: list[Row] = [(_EQUAL, count - each, 0, value) for each, value in enumerate(values)]
    return [(_EQUAL, 0, count + 3, call), (_LOAD, 0, 0, place), *tests, _allow(), _refuse(errno.EACCES)]


def _private(call: int) -> list[Row]:
    """Allow mmap for files, and for memory of this process alone.

    Shared memory without a file stays when its pages are given up (madvise), and is in no RSS then.
    """
    return [
        (_EQUAL, 0, 6, call),
        (_LOAD, 0, 0, _FOURTH),
        (_ANY_BIT, 3, 0, _HUGE),
        (_ANY_BIT, 0, 1, _ANONYMOUS),
        (_ANY_BIT, 1, 0, _SHARED),
        _allow(),
        _refuse(errno.EACCES),
    ]


def _threads(call: int) -> list[Row]:
    """Allow clone for threads alone, which have the open files of the process: others would be counted by nobody."""
    return [
        (_EQUAL, 0, 4, call),
        (_LOAD, 0, 0, _FIRST),
        (_ANY_BIT, 0, 1, _CLONE_THREAD),
        (_ANY_BIT, 1, 0, _CLONE_FILES),
        _refuse(errno.EPERM),
    ]


def _refuse(code: int) -> Row:
    """SECCOMP_RET_ERRNO."""
    return _END, 0, 0, 0x00050000 | code


def _allow() -> Row:
    """SECCOMP_RET_ALLOW."""
    return _END, 0, 0, _ALLOW
