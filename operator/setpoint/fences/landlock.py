"""What a fenced process may do with which files, as Landlock's bytes for an ABI (pure).

In: an ABI (0: the kernel has no Landlock) and grants. Out: the attributes of landlock_create_ruleset(2) and the rights of
each rule. A right that an ABI does not know is not handled by it, so it is not taken away: docs/security.md says what
stays possible.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum, IntFlag
from typing import Final

NEWEST: Final = 6
"""The newest ABI that is used; a newer kernel knows it as well."""


class Right(IntFlag):
    """LANDLOCK_ACCESS_FS_* of linux/landlock.h."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


_SINCE: Final = {1: Right(2**13 - 1), 2: Right.REFER, 3: Right.TRUNCATE, 5: Right.IOCTL_DEV}
_OF_FILES: Final = Right.EXECUTE | Right.WRITE_FILE | Right.READ_FILE | Right.TRUNCATE | Right.IOCTL_DEV
_TCP: Final = 0b11
"""LANDLOCK_ACCESS_NET_BIND_TCP and CONNECT_TCP, since ABI 4."""
_SCOPES: Final = 0b11
"""LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET and SIGNAL, since ABI 6."""


class Access(Enum):
    """What a grant allows below its path."""

    READ = Right.READ_FILE | Right.READ_DIR
    RUN = READ | Right.EXECUTE
    WRITE = (
        READ
        | Right.WRITE_FILE
        | Right.TRUNCATE
        | Right.REFER
        | Right.MAKE_REG
        | Right.MAKE_DIR
        | Right.REMOVE_FILE
        | Right.REMOVE_DIR
    )
    """Files and folders; no symlinks, which would lead whoever reads them later to elsewhere."""
    LINK = WRITE | Right.MAKE_SYM


@dataclass(frozen=True, slots=True)
class Grant:
    """A file, or a folder with all below it, and what is allowed there."""

    path: str
    access: Access


def handled(abi: int) -> Right:
    """Return the rights that an ABI takes away where no rule grants them."""
    found = Right(0)
    for since, rights in _SINCE.items():
        if since <= abi:
            found |= rights
    return found


def attributes(abi: int, *, network: bool) -> bytes:
    """Return struct landlock_ruleset_attr as large as an ABI has it; without `network` TCP is taken away too."""
    fields = [int(handled(abi))]
    if abi >= 4:
        fields.append(0 if network else _TCP)
    if abi >= 6:
        fields.append(_SCOPES)
    return struct.pack(f"={len(fields)}Q", *fields)


def rule(abi: int, access: Access, descriptor: int, *, folder: bool) -> bytes:
    """Return struct landlock_path_beneath_attr for an open path; a file takes no rights of folders."""
    rights = access.value & handled(abi)
    if not folder:
        rights &= _OF_FILES
    return struct.pack("=Qi", int(rights), descriptor)
