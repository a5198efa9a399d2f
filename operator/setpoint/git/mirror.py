"""Bare mirrors on the cache volume: layout, locks, size (shell, in parent and child processes).

    <cache>/key                     what credential digests are keyed with (mode 0600)
    <cache>/mirrors/<id>/lock       flock: exclusive for whoever writes; its mtime is when the mirror was last used
    <cache>/mirrors/<id>/current -> g-<random>      the generation to read
    <cache>/mirrors/<id>/g-<random>/                a bare repository; flock on its `reader` file: shared for readers

Packs pile up with every shallow fetch and nothing in libgit2 removes them, so a grown mirror is fetched anew into
a new generation; the old one goes when nobody reads it. A process that is killed leaves locks that the kernel
releases and files that the next writer sweeps.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pygit2
from pygit2.enums import ObjectType

from setpoint.git.remotes import Repository

MAX_PACKS = 24
PACK_FILES = 16  # packs that libgit2 keeps open in a process; each fetch adds one to a mirror
MAX_GROWTH = 16 * 2**20  # bytes beyond twice the largest pack
READER = "reader"


@dataclass(frozen=True, slots=True)
class Mirror:
    """One mirror's folder; all methods touch the disk and may raise OSError."""

    path: Path

    @property
    def id(self) -> str:
        """Its name in the cache."""
        return self.path.name

    def current(self) -> Path | None:
        """Return the generation to read, if there is one."""
        try:
            generation = self.path / (self.path / "current").readlink()
        except OSError:
            return None
        return generation if generation.is_dir() else None

    def reads(self, generation: str) -> bool:
        """Return whether a generation, by its path, is the one to read: `current` in two system calls and no more."""
        try:
            return generation.endswith("/" + os.readlink(f"{self.path}/current")) and os.path.isdir(
                generation
            )
        except OSError:
            return False

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Lock the mirror for writing, against threads and processes; waits as long as it takes."""
        descriptor = self._lock()
        try:
            os.utime(descriptor)
            sweep(self)
            try:
                yield
            except BaseException:
                sweep(self)  # a full volume should not stay so
                raise
        finally:
            os.close(descriptor)

    def touch(self) -> None:
        """Note that it is in use."""
        with suppress(OSError):
            os.utime(self.path / "lock")

    def used(self) -> float:
        """Return when it was last used, in seconds since the epoch; 0 if never."""
        try:
            return (self.path / "lock").stat().st_mtime
        except OSError:
            return 0.0

    def new(self) -> Path:
        """Name a generation in the making; `publish` makes it the current one."""
        return self.path / f"new-{secrets.token_hex(8)}"

    def publish(self, made: Path) -> Path:
        """Make a finished generation the one to read, in one step; the old one goes unless it is read."""
        (made / READER).touch(mode=0o600)
        generation = made.with_name(made.name.replace("new-", "g-", 1))
        made.rename(generation)
        link = self.path / f"link-{secrets.token_hex(8)}"
        link.symlink_to(generation.name)
        link.replace(self.path / "current")
        sweep(self)
        return generation

    def drop(self) -> bool:
        """Remove the mirror unless somebody reads or writes it; tell whether it is gone."""
        try:
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            shutil.rmtree(self.path, ignore_errors=True)
            return not self.path.exists()
        except OSError:
            return False  # the volume cannot be written
        try:
            if not _try_exclusive(descriptor):
                return False
            generations = list(self.path.glob("g-*"))
            if not all(_remove_unread(each) for each in generations):
                return False
            shutil.rmtree(self.path, ignore_errors=True)
            return not self.path.exists()
        finally:
            os.close(descriptor)

    def discard(self, generation: Path) -> None:
        """Make a damaged generation unreadable for whoever comes next."""
        with suppress(OSError):
            if (self.path / "current").readlink().name == generation.name:
                (self.path / "current").unlink()

    def _lock(self) -> int:
        while True:
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                # Whoever dropped the mirror took the file away that we waited for.
                if os.path.samestat(os.fstat(descriptor), (self.path / "lock").stat()):
                    return descriptor
            except FileNotFoundError:
                pass
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)


def mirror_of(cache: Path, key: bytes, repository: Repository) -> Mirror:
    """Return the mirror of a URL and credentials; its name gives neither away."""
    text = f"{repository.remote.url}\0{repository.credentials.digest}"
    return Mirror(cache / "mirrors" / hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:40])


def cache_key(cache: Path) -> bytes:
    """Read or make the key of the cache, the same for all processes that share it; OSError."""
    cache.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = cache / "key"
    if not path.exists():
        made = cache / f"key-{secrets.token_hex(8)}"
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, secrets.token_bytes(32))
        finally:
            os.close(descriptor)
        with suppress(FileExistsError):
            path.hardlink_to(made)
        made.unlink()
    return path.read_bytes()


def open_reader(generation: Path) -> int | None:
    """Take a reader's lock on a generation: a descriptor to close, or None if the generation is going away."""
    try:
        descriptor = os.open(generation / READER, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        if (generation / READER).exists():
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None


def sweep(mirror: Mirror) -> None:
    """Under the writer's lock: remove what killed writers left, and generations that nobody reads any more."""
    current = mirror.current()
    for each in mirror.path.iterdir():
        if each.name.startswith(("new-", "link-")):
            _remove(each)
        elif each.name.startswith("g-") and each != current:
            _remove_unread(each)
    if current:
        for lock in current.rglob("*.lock"):
            lock.unlink(missing_ok=True)
        _sweep_packs(current)


def packs(generation: Path) -> list[int]:
    """Return the sizes of the packs of a generation."""
    folder = generation / "objects" / "pack"
    try:
        return [entry.stat().st_size for entry in os.scandir(folder) if entry.name.endswith(".pack")]
    except FileNotFoundError:
        return []


def grown(generation: Path, limit: int) -> bool:
    """Return whether to replace a generation by a new one, in a cache of `limit` bytes."""
    sizes = packs(generation)
    if len(sizes) < 2:
        return False
    return len(sizes) >= MAX_PACKS or sum(sizes) > min(2 * max(sizes) + MAX_GROWTH, limit // 2)


def size(folder: Path) -> int:
    """Return the bytes below a folder; what vanishes meanwhile counts as nothing."""
    total = 0
    for root, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):
                total += os.lstat(os.path.join(root, name)).st_size
    return total


def mirrors(cache: Path) -> list[Mirror]:
    """Return all mirrors, the one that was used longest ago first."""
    folder = cache / "mirrors"
    found = [Mirror(each) for each in folder.iterdir() if each.is_dir()] if folder.is_dir() else []
    return sorted(found, key=lambda each: each.used())


def _sweep_packs(generation: Path) -> None:
    folder = generation / "objects" / "pack"
    if not folder.is_dir():
        return
    names = {each.name for each in folder.iterdir()}
    for name in names:
        # A pack counts once its index is there; libgit2 writes both under other names first.
        whole = (
            name.endswith((".pack", ".idx"))
            and {f"{name.rpartition('.')[0]}.pack", f"{name.rpartition('.')[0]}.idx"} <= names
        )
        if not whole:
            (folder / name).unlink(missing_ok=True)


def _remove_unread(generation: Path) -> bool:
    """Remove a generation if nobody holds its reader's lock."""
    try:
        descriptor = os.open(generation / READER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        _remove(generation)
        return not generation.exists()
    try:
        if not _try_exclusive(descriptor):
            return False
        (generation / READER).unlink(missing_ok=True)
        _remove(generation)
        return True
    finally:
        os.close(descriptor)


def _try_exclusive(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def session(cache: Path) -> tuple[Path, int]:
    """Make a private folder for this process's children, and remove those of processes that are gone.

    Returns the folder and a descriptor whose flock says that we live. OSError.
    """
    root = cache / "run"
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    for each in root.iterdir():
        _remove_dead(each)
    folder = root / f"{os.getpid()}-{time.monotonic_ns()}"
    folder.mkdir(mode=0o700)
    descriptor = os.open(folder / "alive", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return folder, descriptor


def _remove_dead(folder: Path) -> None:
    try:
        descriptor = os.open(folder / "alive", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return  # in the making, or going away
    try:
        if _try_exclusive(descriptor):
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


KEPT = "refs/setpoint/kept"


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


def touch(generation: Path, sha: str) -> None:
    """Note that a commit is in use."""
    with suppress(OSError):
        os.utime(generation / KEPT / sha)
