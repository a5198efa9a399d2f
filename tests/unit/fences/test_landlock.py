"""What is taken away and granted at each ABI of Landlock, as the kernel reads it (linux/landlock.h)."""

from __future__ import annotations

import struct

import pytest

from setpoint.fences.landlock import NEWEST, Access, Right, attributes, handled, rule

ABIS = range(NEWEST + 1)


@pytest.mark.parametrize(("abi", "size"), [(1, 8), (2, 8), (3, 8), (4, 16), (5, 16), (6, 24)])
def test_the_attributes_are_as_large_as_the_abi_has_them(abi: int, size: int) -> None:
    assert len(attributes(abi, network=True)) == len(attributes(abi, network=False)) == size
    assert struct.unpack_from("=Q", attributes(abi, network=True))[0] == handled(abi)


@pytest.mark.parametrize(
    ("abi", "rights"),
    [(0, 0), (1, 0x1FFF), (2, 0x3FFF), (3, 0x7FFF), (4, 0x7FFF), (5, 0xFFFF), (6, 0xFFFF)],
)
def test_all_rights_that_an_abi_knows_are_handled(abi: int, rights: int) -> None:
    assert handled(abi) == rights


def test_tcp_and_scopes_are_taken_where_the_kernel_can() -> None:
    assert struct.unpack("=3Q", attributes(6, network=False))[1:] == (3, 3)
    assert struct.unpack("=3Q", attributes(6, network=True))[1:] == (0, 3), "signals and abstract sockets"
    assert struct.unpack("=2Q", attributes(4, network=False))[1] == 3


@pytest.mark.parametrize("abi", ABIS[1:])
@pytest.mark.parametrize("access", Access)
def test_a_rule_grants_no_right_that_is_not_handled(abi: int, access: Access) -> None:
    """The kernel refuses such a rule; and one of a file with rights of folders."""
    rights, descriptor = struct.unpack("=Qi", rule(abi, access, 7, folder=True))
    assert descriptor == 7
    assert rights == access.value & handled(abi)
    of_file, _ = struct.unpack("=Qi", rule(abi, access, 7, folder=False))
    folders = Right.READ_DIR | Right.REFER | Right.MAKE_REG | Right.MAKE_DIR | Right.MAKE_SYM
    assert not of_file & (folders | Right.REMOVE_DIR | Right.REMOVE_FILE)
    assert of_file == rights & of_file


def test_what_nobody_is_granted() -> None:
    never = Right.MAKE_CHAR | Right.MAKE_BLOCK | Right.MAKE_SOCK | Right.MAKE_FIFO | Right.IOCTL_DEV
    assert not [each for each in Access if each.value & never]
    assert not Access.WRITE.value & (Right.MAKE_SYM | Right.EXECUTE)
    assert not Access.READ.value & (Right.WRITE_FILE | Right.EXECUTE)
