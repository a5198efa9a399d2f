"""A folder as git stores it: what is listed is what is found by name, whoever made the tree object."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from setpoint.tree.folder import Folder, ForgedFolder
from setpoint.tree.protocol import Entry, EntryKind

OID = bytes(range(20))
names = st.binary(min_size=1, max_size=5).filter(lambda n: not {*b"/\0"} & {*n} and n not in (b".", b".."))


def raw(*entries: tuple[bytes, bytes]) -> bytes:
    return b"".join(mode + b" " + name + b"\0" + OID for mode, name in entries)


def test_every_kind_of_entry() -> None:
    modes = {
        b"100644": (EntryKind.BLOB, False),
        b"100755": (EntryKind.BLOB, True),
        b"100664": (EntryKind.BLOB, False),
        b"40000": (EntryKind.TREE, False),
        b"120000": (EntryKind.LINK, False),
        b"160000": (EntryKind.SUBMODULE, False),
    }
    for mode, (kind, executable) in modes.items():
        folder = Folder(raw((mode, b"name")))
        assert folder.entry("", "name") == Entry("name", kind, OID.hex(), executable)
        assert folder.entry("a/b", "name") == Entry("a/b/name", kind, OID.hex(), executable)
    assert (len(Folder(b"")), Folder(b"").entry("", "x"), [*Folder(b"").entries("")]) == (0, None, [])


@given(st.lists(names, unique=True), names)
def test_what_is_listed_is_what_is_found_in_whatever_order_it_was_forged(
    found: list[bytes], other: bytes
) -> None:
    folder = Folder(raw(*((b"100644", name) for name in found)))
    listed = {entry.name: entry for entry in folder.entries("")}
    assert sorted(listed) == sorted(name.decode("utf-8", "surrogateescape") for name in found)
    assert all(folder.entry("", name) == entry for name, entry in listed.items())
    assert (folder.entry("", other.decode("utf-8", "surrogateescape")) is not None) == (other in found)
    assert folder.entry("", "\ud800") is None


@pytest.mark.parametrize(
    "forged",
    [
        raw((b"100644", b"..")),
        raw((b"100644", b".")),
        raw((b"100644", b"")),
        raw((b"100644", b"a/b")),
        raw((b"100644", b"a"), (b"40000", b"a")),
        raw((b"100644", b"a"), (b"100644", b"b"), (b"100644", b"a")),
        raw((b"100944", b"a")),
        raw((b"+1", b"a")),
        raw((b"", b"a")),
        raw((b"100644", b"a"))[:-1],
        b"100644",
        b"100644 a",
        b"\xff" * 100,
    ],
)
def test_what_no_git_writes_is_refused(forged: bytes) -> None:
    with pytest.raises(ForgedFolder):
        Folder(forged)


def test_a_folder_takes_little_more_than_its_bytes() -> None:
    content = raw(*((b"100644", b"%08d" % number) for number in range(50_000)))
    assert Folder(content).size < 1.2 * len(content)
