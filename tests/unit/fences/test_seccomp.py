"""What a fenced process may ask the kernel for: the program is run on calls, as the kernel would."""

from __future__ import annotations

import errno
import struct

import pytest

from setpoint.fences.seccomp import program

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
OWN, OTHER = 1234, 1235
THREAD, PROCESS = 0x3D0F00, 0x11
# From asm/unistd.h of both machines, not from the module.
SOCKET, PAIR = {"x86_64": 41, "aarch64": 198}, {"x86_64": 53, "aarch64": 199}
CLONE, KILL, TGKILL = (
    {"x86_64": 56, "aarch64": 220},
    {"x86_64": 62, "aarch64": 129},
    {"x86_64": 234, "aarch64": 131},
)
PRLIMIT, PTRACE = {"x86_64": 302, "aarch64": 261}, {"x86_64": 101, "aarch64": 117}
READ, OPENAT, EXECVE, FUTEX = (
    {"x86_64": 0, "aarch64": 63},
    {"x86_64": 257, "aarch64": 56},
    {"x86_64": 59, "aarch64": 221},
    {"x86_64": 202, "aarch64": 98},
)
ALLOWED = 0


FCNTL, MMAP = {"x86_64": 72, "aarch64": 25}, {"x86_64": 9, "aarch64": 222}
UNCOUNTED = {
    "x86_64": {
        *(319, 447, 323, 29, 30, 31, 64, 68, 240, 149, 151, 325, 248, 249, 250, 321, 298),
        *(46, 307, 275, 278, 276, 434, 206, 253, 294, 300, 444, 188, 189, 190),
    },
    "aarch64": {
        *(279, 447, 282, 194, 196, 195, 190, 186, 180, 228, 230, 284, 217, 218, 219, 280, 241),
        *(211, 269, 76, 75, 77, 434, 0, 26, 262, 444, 5, 6, 7),
    },
}
PRIVATE, SHARED, VALIDATED, ANONYMOUS, HUGE = 0x02, 0x01, 0x03, 0x20, 0x40000


def answer(machine: str, call: int, *arguments: int, network: bool, architecture: int | None = None) -> int:
    """Return the error that a call meets, 0 for none."""
    code = program(machine, OWN, network=network)
    rows = list(struct.iter_unpack("HBBI", code))
    given = (*arguments, *[0] * (6 - len(arguments)))
    data = struct.pack("=IIQ6Q", call, architecture or ARCHITECTURES[machine], 0, *given)
    value, place = 0, 0
    while True:
        kind, yes, no, operand = rows[place]
        place += 1
        if kind == 0x20:
            (value,) = struct.unpack_from("=I", data, operand)
        elif kind == 0x06:
            return 0 if operand == 0x7FFF0000 else operand & 0xFFFF
        else:
            true = {0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand)}[kind]
            place += yes if true else no


@pytest.mark.parametrize("machine", ARCHITECTURES)
@pytest.mark.parametrize("network", [True, False])
def test_what_it_may(machine: str, network: bool) -> None:
    for call in (READ, OPENAT, EXECVE, FUTEX):
        assert answer(machine, call[machine], network=network) == ALLOWED
    assert answer(machine, CLONE[machine], THREAD, network=network) == ALLOWED
    for call in (KILL, TGKILL, PRLIMIT):
        assert answer(machine, call[machine], OWN, network=network) == ALLOWED
    assert answer(machine, PRLIMIT[machine], 0, network=network) == ALLOWED


@pytest.mark.parametrize("machine", ARCHITECTURES)
@pytest.mark.parametrize("network", [True, False])
def test_it_has_no_other_process(machine: str, network: bool) -> None:
    assert answer(machine, CLONE[machine], PROCESS, network=network) == errno.EPERM
    assert answer(machine, CLONE[machine], THREAD & ~0x400, network=network) == errno.EPERM, (
        "files of its own"
    )
    assert answer(machine, 435, network=network) == errno.ENOSYS
    for call in (KILL, TGKILL, PRLIMIT):
        assert answer(machine, call[machine], OTHER, network=network) == errno.EPERM
    for target in (0, 2**32 - 1):
        assert answer(machine, KILL[machine], target, network=network) == errno.EPERM, "its group, or all"
    for number in (PTRACE[machine], 424, 425, 426, 427, 438):
        assert answer(machine, number, network=network) == errno.EACCES
    if machine == "x86_64":
        assert {answer(machine, fork, network=network) for fork in (57, 58)} == {errno.EPERM}


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_files_that_landlock_does_not_judge(machine: str) -> None:
    truncate, mode = {"x86_64": (76, 268), "aarch64": (45, 53)}[machine]
    assert {answer(machine, truncate, network=network) for network in (True, False)} == {errno.EACCES}
    assert {answer(machine, call, network=False) for call in (mode, 452)} == {errno.EACCES}
    assert answer(machine, mode, network=True) == ALLOWED


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_sockets(machine: str) -> None:
    for family in range(46):
        assert answer(machine, SOCKET[machine], family, network=False) == errno.EACCES
        expected = ALLOWED if family in {1, 2, 10, 16} else errno.EACCES
        assert answer(machine, SOCKET[machine], family, network=True) == expected
    assert answer(machine, PAIR[machine], 1, network=False) == errno.EACCES


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_what_holds_memory_that_nobody_counts(machine: str) -> None:
    """Only who talks to servers may: a filter that refuses sendmsg would cut it off."""
    for call in UNCOUNTED[machine]:
        assert answer(machine, call, network=False) == errno.EACCES, call
        assert answer(machine, call, network=True) == ALLOWED, call
    for command in range(1, 1100):
        hoards = command in {6, 7, 37, 38, 1031}
        expected = errno.EACCES if hoards else ALLOWED
        assert answer(machine, FCNTL[machine], 3, command, network=False) == expected
        assert answer(machine, FCNTL[machine], 3, command, network=True) == ALLOWED


@pytest.mark.parametrize("machine", ARCHITECTURES)
@pytest.mark.parametrize("network", [True, False])
def test_it_cannot_hide(machine: str, network: bool) -> None:
    call = {"x86_64": 157, "aarch64": 167}[machine]
    for option in range(70):
        expected = errno.EACCES if option in {1, 4} else ALLOWED
        assert answer(machine, call, option, network=network) == expected


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_memory_is_its_own_or_a_files(machine: str) -> None:
    for flags in (PRIVATE, PRIVATE | ANONYMOUS, SHARED, VALIDATED):
        assert answer(machine, MMAP[machine], 0, 4096, 3, flags, network=False) == ALLOWED
    for flags in (SHARED | ANONYMOUS, VALIDATED | ANONYMOUS, PRIVATE | ANONYMOUS | HUGE, SHARED | HUGE):
        assert answer(machine, MMAP[machine], 0, 4096, 3, flags, network=False) == errno.EACCES
        assert answer(machine, MMAP[machine], 0, 4096, 3, flags, network=True) == ALLOWED


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_calls_by_other_numbers_are_refused(machine: str) -> None:
    """A 32-bit program's (int 0x80), and those of x32."""
    for architecture in (0x40000003, 0x40000028):
        assert answer(machine, 3, network=True, architecture=architecture) == errno.EACCES
    assert answer(machine, 0x40000000 | SOCKET[machine], network=True) == errno.EACCES


def test_a_machine_whose_calls_are_not_known() -> None:
    with pytest.raises(ValueError, match="riscv64"):
        program("riscv64", OWN, network=False)


@pytest.mark.parametrize("machine", ARCHITECTURES)
def test_locks(machine: str) -> None:
    """Only those that keep nobody from reading, and that are there at once: LOCK_SH 1, EX 2, NB 4, UN 8."""
    call = {"x86_64": 73, "aarch64": 32}[machine]
    allowed = {flags for flags in range(16) if answer(machine, call, 3, flags, network=False) == ALLOWED}
    assert allowed == {1 | 4, 8}
    assert answer(machine, call, 3, 2, network=False) == errno.EACCES
    assert answer(machine, call, 3, 2, network=True) == ALLOWED
