"""Objects of a bare repository, by libgit2: whether they are there, and how large (shell)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pygit2
from pygit2.enums import ConfigLevel, ObjectType

from setpoint.git.mirror import PACK_FILES

OBJECT_CACHE = 4 * 2**20  # bytes of libgit2's cache of parsed objects in a process


def quiet() -> None:
    """Keep libgit2 in this process from reading the machine's configuration, its cache small and its files few."""
    for level in (ConfigLevel.PROGRAMDATA, ConfigLevel.SYSTEM, ConfigLevel.XDG, ConfigLevel.GLOBAL):
        pygit2.settings.search_path[level] = ""
    pygit2.settings.cache_max_size(OBJECT_CACHE)
    pygit2.settings.mwindow_file_limit = PACK_FILES


@contextmanager
def freed(repository: pygit2.Repository) -> Iterator[pygit2.Repository]:
    """Close a repository's packs afterwards: it refers to itself, and would wait for the garbage collector."""
    try:
        yield repository
    finally:
        repository.free()


def header(repository: pygit2.Repository, oid: str | pygit2.Oid) -> tuple[int, int]:
    """Return the type and the size in bytes of an object, which is not unpacked for that.

    KeyError, ValueError, GitError if there is none.
    """
    kind, size = repository.odb.read_header(oid)
    return int(kind), int(size)


def readable(repository: pygit2.Repository, sha: str) -> bool:
    """Return whether a commit and its tree can be read; not one that is no commit by its header."""
    try:
        if header(repository, sha)[0] != ObjectType.COMMIT:
            return False
        commit = repository[sha]
        return isinstance(commit, pygit2.Commit) and bool(repository[commit.tree_id].id)
    except (pygit2.GitError, KeyError, ValueError, OSError):
        return False
