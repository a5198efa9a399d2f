"""Bare mirrors on the cache volume: layout, locks, size (shell, in parent and child processes).

    <cache>/key                     what credential digests are keyed with (mode 0600)
    <cache>/locks/<handle>          flock: exclusive for whoever writes; its mtime is when the mirror was last used
    <cache>/mirrors/<handle>/current                the name of the generation to read: a file, replaced as a whole
    <cache>/mirrors/<handle>/g-<random>/            a bare repository; flock on its `reader` file: shared for readers

A handle is <namespace>/<id>, so that one folder has all that a namespace has, and nothing else.
Packs pile up with every shallow fetch and nothing in libgit2 removes them, so a grown mirror is fetched anew into
a new generation; the old one goes when nobody reads it. A process that is killed leaves locks that the kernel
releases and files that the next writer sweeps.

Who fetches may have been taken over, and writes what he likes into his mirror; who reads may lock what he can open. So the
lock of who writes lies where no reader sees it, no symlink in a mirror is followed, what has no name of ours is removed
unread, however deep it is, and a reader's lock puts off the end of a mirror, but does not prevent it.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from setpoint.git.files import beneath
from setpoint.git.files.session import try_exclusive
from setpoint.git.remotes import Repository
from setpoint.runtime import disk

MAX_PACKS = 24
PACK_FILES = 16  # packs that libgit2 keeps open in a process; each fetch adds one to a mirror
MAX_GROWTH = 16 * 2**20  # bytes beyond twice the largest pack
MAX_OLD = 2  # old generations that stay for those who read them
MIRRORS = "mirrors"
LOCKS = "locks"
CURRENT = "current"
READER = "reader"
KEPT = "refs/setpoint/kept"
NOBODY = "_"  # the folder of what is asked for no namespace
_ID = re.compile(r"[0-9a-f]{40}")
_NAME = len("g-") + 16 + 1  # bytes that are read of a name: one more than it has
_GENERATION = re.compile(r"g-[0-9a-f]{16}")
_HANDLE = re.compile(r"(?:_|[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)/[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class Mirror:
    """One mirror's folder; all methods touch the disk and may raise OSError."""

    path: Path

    @property
    def id(self) -> str:
        """Its name in the cache."""
        return self.path.name

    @property
    def namespace(self) -> str:
        """The namespace that it belongs to, as its handle begins."""
        return self.path.parent.name

    @property
    def handle(self) -> str:
        """How it is called, which gives neither URL nor login away."""
        return f"{self.namespace}/{self.id}"

    @property
    def lock(self) -> Path:
        """The file that is locked by who writes; it lies apart, as no reader may lock it."""
        return self.path.parent.parent.parent / LOCKS / self.namespace / self.id

    def prepare(self) -> None:
        """Make what a process that fetches is fenced to: it cannot do so itself. OSError."""
        self.path.mkdir(parents=True, exist_ok=True)
        os.close(self._opened())

    def current(self) -> Path | None:
        """Return the generation to read, if there is one."""
        with suppress(OSError), beneath.folder(self.path) as here:
            name = beneath.text(CURRENT, here, _NAME)
            whole = beneath.is_folder(name, here) and beneath.is_file(f"{name}/{READER}", here)
            if _GENERATION.fullmatch(name) and whole:
                return self.path / name
        return None

    def reads(self, generation: str) -> bool:
        """Return whether a generation, by its path, is the one to read."""
        return generation == str(self.current())

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Lock the mirror for writing, against threads and processes; waits as long as it takes. OSError."""
        descriptor = self._locked()
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
            os.utime(self.lock)

    def used(self) -> float:
        """Return when it was last used, in seconds since the epoch; 0 if never."""
        try:
            return self.lock.stat().st_mtime
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
        link.write_text(generation.name, "ascii")
        link.replace(self.path / CURRENT)
        sweep(self)
        return generation

    def drop(self, *, read: bool = False) -> bool:
        """Remove the mirror, unless somebody writes it, or reads it and `read` is not set; tell whether it is gone.

        Who has a pack open may go on to read that; else he finds out, and it is fetched again.
        """
        try:
            descriptor = self._opened()
        except OSError:
            return False  # the volume cannot be written
        try:
            if not try_exclusive(descriptor) or not (read or self._unread()):
                return False
            with suppress(OSError):
                (self.path / CURRENT).unlink()  # first, so that nobody begins to read what is half gone
            gone = disk.remove(self.path)
            if gone:
                self.lock.unlink(missing_ok=True)
            return gone
        finally:
            os.close(descriptor)

    def discard(self, generation: Path) -> None:
        """Make a damaged generation unreadable for whoever comes next."""
        with suppress(OSError):
            if self.reads(str(generation)):
                (self.path / CURRENT).unlink()

    def _unread(self) -> bool:
        """Have no reader come any more; tells whether there is none. OSError."""
        found = [self.path / each for each in beneath.folders(self.path) if _GENERATION.fullmatch(each)]
        current = self.current()
        # The one to read comes last: it is closed only if nobody reads another.
        return all(_closed(each) for each in sorted(found, key=lambda each: each == current))

    def _opened(self) -> int:
        self.lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return os.open(self.lock, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def _locked(self) -> int:
        while True:
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = self._opened()
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                # Whoever dropped the mirror took the file away that we waited for.
                if os.path.samestat(os.fstat(descriptor), self.lock.stat()) and self.path.is_dir():
                    return descriptor
            except FileNotFoundError:
                pass
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)


def mirror_of(cache: Path, key: bytes, repository: Repository) -> Mirror:
    """Return the mirror that a namespace has of a URL and credentials; its name gives neither away. ValueError as `mirror_at`."""
    text = f"{repository.remote.url}\0{repository.credentials.digest}"
    name = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:40]
    return mirror_at(cache / MIRRORS, f"{repository.namespace or NOBODY}/{name}")


def mirror_at(folder: Path, handle: str) -> Mirror:
    """Return the mirror with a handle, in the folder of all mirrors. ValueError for what is no handle: no path may come of it."""
    if not _HANDLE.fullmatch(handle):
        raise ValueError("no handle of a mirror")
    return Mirror(folder / handle)


def drop_misplaced(cache: Path) -> None:
    """Remove mirrors that lie where earlier versions had them, straight below the folder of all; OSError."""
    for name in beneath.folders(cache / MIRRORS):
        if _ID.fullmatch(name):
            disk.remove(cache / MIRRORS / name)


def open_reader(generation: Path) -> int | None:
    """Take a reader's lock on a generation: a descriptor to close, or None if the generation is going away."""
    try:
        with beneath.folder(generation) as here:
            descriptor = beneath.file(READER, here)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
                if beneath.is_file(READER, here):
                    return descriptor
            except OSError:
                pass
            os.close(descriptor)
    except OSError:
        pass
    return None


def sweep(mirror: Mirror) -> None:
    """Under the writer's lock: remove what killed writers left, strangers, and generations that nobody reads any more. OSError.

    A reader's lock keeps the newest of the old ones.
    """
    current = mirror.current()
    for place, name in enumerate(_old(mirror, current)):
        if _closed(mirror.path / name) or place >= MAX_OLD:
            disk.remove(mirror.path / name)
    if current is None:
        return
    for file in beneath.files(current):
        if file.name.endswith(".lock"):
            file.unlink(missing_ok=True)
    _sweep_packs(current)


def _old(mirror: Mirror, current: Path | None) -> list[str]:
    """Return the generations but for the current one, the newest first, and remove all that has no name of ours; OSError."""
    with os.scandir(mirror.path) as entries:
        found = [each for each in entries if current is None or each.name not in (CURRENT, current.name)]
    old = []
    for each in found:
        if _GENERATION.fullmatch(each.name) and each.is_dir(follow_symlinks=False):
            old.append((each.stat(follow_symlinks=False).st_mtime_ns, each.name))
        else:
            disk.remove(mirror.path / each.name)
    return [name for _, name in sorted(old, reverse=True)]


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


def mirrors(cache: Path) -> list[Mirror]:
    """Return all mirrors, the one that was used longest ago first; OSError."""
    folder = cache / MIRRORS
    handles = [
        f"{space}/{name}" for space in beneath.folders(folder) for name in beneath.folders(folder / space)
    ]
    found = [Mirror(folder / each) for each in handles if _HANDLE.fullmatch(each)]
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
            disk.remove(folder / name)


def _closed(generation: Path) -> bool:
    """Have no reader come any more; tells whether there is none. What nobody can lock, nobody reads."""
    try:
        with beneath.folder(generation) as here:
            descriptor = beneath.file(READER, here)
            try:
                if not try_exclusive(descriptor):
                    return False
                os.unlink(READER, dir_fd=here)
            finally:
                os.close(descriptor)
    except OSError:
        pass
    return True


def touch(generation: Path, sha: str) -> None:
    """Note that a commit is in use. ValueError for what is no id of a commit."""
    with _kept(generation, sha) as folder:
        if folder is not None:
            with suppress(OSError):
                os.utime(sha, dir_fd=folder, follow_symlinks=False)


def kept(generation: Path, sha: str) -> bool:
    """Return whether a commit was fetched for itself. ValueError for what is no id of a commit."""
    with _kept(generation, sha) as folder:
        return folder is not None and beneath.is_file(sha, folder)


@contextmanager
def _kept(generation: Path, sha: str) -> Iterator[int | None]:
    """Open the folder of what was fetched for itself, if there is one."""
    if not _ID.fullmatch(sha):  # no path may come of it
        raise ValueError("no id of a commit")
    with ExitStack() as stack:
        folder: int | None = None
        with suppress(OSError):
            folder = stack.enter_context(beneath.folder(generation, *KEPT.split("/")))
        yield folder
