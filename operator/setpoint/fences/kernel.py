"""Puts this process behind a fence that it can never leave: no new privileges, Landlock, seccomp (shell, by ctypes).

Everywhere but on Linux these do nothing, as there is nothing to call.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import stat
import struct
import sys
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from setpoint.fences import landlock, seccomp
from setpoint.fences.landlock import Grant

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_SECCOMP: Final = 22
_PR_SET_NO_NEW_PRIVS: Final = 38
_SECCOMP_MODE_FILTER: Final = 2
# The same numbers for all machines, and the flag and the type of linux/landlock.h.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION: Final = 1
_PATH_BENEATH: Final = 1


def landlock_abi() -> int:
    """Return the newest ABI of Landlock that this kernel has and we use; 0 if it has none, or may not be asked."""
    if sys.platform != "linux":
        return 0
    try:
        return min(_call(_CREATE_RULESET, None, 0, _VERSION), landlock.NEWEST)
    except OSError:
        return 0


def die_with(parent: int) -> None:
    """Die when the parent does; also if it did already."""
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def fence(grants: Iterable[Grant], abi: int, *, network: bool) -> None:
    """Take from this process, and from all that it becomes, the files beside `grants`, signals to others, and new processes.

    With `abi` 0 all files stay. `network`: whether it keeps its sockets; without, what holds memory that nobody
    counts goes too (`seccomp`). A path that is not there grants nothing. The process must have one thread only. OSError if the kernel refuses.
    """
    if sys.platform != "linux":
        return
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if abi:
        _restrict(grants, abi, network=network)
    try:
        _filter(seccomp.program(platform.machine(), os.getpid(), network=network))
    except ValueError as error:
        raise OSError(errno.ENOSYS, str(error)) from None


def _restrict(grants: Iterable[Grant], abi: int, *, network: bool) -> None:
    attributes = landlock.attributes(abi, network=network)
    rules = _call(_CREATE_RULESET, ctypes.create_string_buffer(attributes), len(attributes), 0)
    try:
        for each in grants:
            _add(rules, each, abi)
        _call(_RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)


def _add(rules: int, grant: Grant, abi: int) -> None:
    try:
        descriptor = os.open(grant.path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        made = landlock.rule(abi, grant.access, descriptor, folder=folder)
        _call(_ADD_RULE, rules, _PATH_BENEATH, ctypes.create_string_buffer(made), 0)
    finally:
        os.close(descriptor)


def _filter(code: bytes) -> None:
    rows = ctypes.create_string_buffer(code)
    program = ctypes.create_string_buffer(struct.pack("HL", len(code) // 8, ctypes.addressof(rows)))
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(program))


@lru_cache(maxsize=1)
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: object) -> int:
    given = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result = int(_libc().syscall(ctypes.c_long(number), *given))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _prctl(option: int, value: int, pointer: int = 0) -> None:
    arguments = [ctypes.c_ulong(each) for each in (value, pointer, 0, 0)]
    if _libc().prctl(ctypes.c_int(option), *arguments) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}: {os.strerror(ctypes.get_errno())}")
