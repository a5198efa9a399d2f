"""Commits that are small to fetch and large to read: trees that repeat, blanks that pack well, folders with many files.

Objects are written by libgit2 and zlib directly, not through files: that takes seconds at most.
"""

from __future__ import annotations

import hashlib
import struct
import subprocess
import zlib
from collections.abc import Iterable
from pathlib import Path

import pygit2
from pygit2.enums import FileMode

WHO = pygit2.Signature("bomb", "bomb@example.org", 1_700_000_000)
MIB = 2**20
CONFIG = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"


class Bombs:
    """Writes commits into a bare repository, each on the branch `main`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.repository = pygit2.Repository(str(path))

    def file(self, data: bytes) -> pygit2.Oid:
        """Write a blob."""
        return self.repository.create_blob(data)

    def folder(self, entries: Iterable[tuple[str, pygit2.Oid, FileMode]]) -> pygit2.Oid:
        """Write a tree."""
        builder = self.repository.TreeBuilder()
        for name, oid, mode in entries:
            builder.insert(name, oid, mode)
        return builder.write()

    def files(self, number: int, data: bytes = CONFIG) -> pygit2.Oid:
        """Write a folder of equal files: one blob, however many they are."""
        blob = self.file(data)
        return self.folder((f"{n:06}.yaml", blob, FileMode.BLOB) for n in range(number))

    def nested(self, levels: int, width: int, inside: pygit2.Oid) -> pygit2.Oid:
        """Write `width ** levels` ways to one folder, with one tree for each level."""
        for _ in range(levels):
            inside = self.folder((f"{n:02}", inside, FileMode.TREE) for n in range(width))
        return inside

    def chain(self, levels: int, inside: pygit2.Oid) -> pygit2.Oid:
        """Write folders of one folder each."""
        return self.nested(levels, 1, inside)

    def blanks(self, mib: int) -> pygit2.Oid:
        """Write a blob of blanks as a pack of its own, which is a thousandth of them; nothing holds them in memory."""
        header = b"blob %d\0" % (mib * MIB)
        part, sha, check = b" " * MIB, hashlib.sha1(header, usedforsecurity=False), 1
        for _ in range(mib):
            sha.update(part)
            check = zlib.adler32(part, check)
        # A full flush makes each part independent of those before it, so that the parts are all alike.
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = packer.compress(part) + packer.flush(zlib.Z_FULL_FLUSH)
        end = zlib.compressobj(9, zlib.DEFLATED, -15).flush()
        stream = b"\x78\xda" + packed * mib + end + struct.pack(">I", check)
        self._pack(_entry_header(3, mib * MIB) + stream)
        return pygit2.Oid(sha.digest())

    def commit(self, tree: pygit2.Oid) -> str:
        """Commit a tree, and give the id of the commit; all loose objects become one pack."""
        head = "refs/heads/main"
        parents = [self.repository.references[head].target] if head in self.repository.references else []
        return str(self.repository.create_commit(head, WHO, WHO, "Bomb", tree, parents))

    def _pack(self, entry: bytes) -> None:
        data = b"PACK" + struct.pack(">II", 2, 1) + entry
        data += hashlib.sha1(data, usedforsecurity=False).digest()
        command = ["git", "-C", str(self._path), "index-pack", "--stdin"]
        subprocess.run(command, input=data, check=True, capture_output=True)


def _entry_header(kind: int, size: int) -> bytes:
    """Return the head of an object in a pack: its type and size, 4 bits and then 7 in a byte (gitformat-pack(5))."""
    found, size = [kind << 4 | size & 15], size >> 4
    while size:
        found[-1] |= 128
        found.append(size & 127)
        size >>= 7
    return bytes(found)
