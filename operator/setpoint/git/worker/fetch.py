"""Fetches one commit into a mirror (shell, in the child process).

In: a repository, what to fetch, and its mirror. Out: the sha that the mirror has now, whole and readable.
Each fetch is shallow (depth 1); only a commit that the server does not hand out by its id is looked for by
deepening its branch.
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pygit2
from pygit2.enums import ObjectType

from setpoint.api.budgets import DEFAULTS, Budgets
from setpoint.api.hosts import HostRules
from setpoint.api.reasons import Problem, Reason
from setpoint.git.contents.objects import freed, header, readable
from setpoint.git.mirror import KEPT, Mirror, grown
from setpoint.git.refs import Selected
from setpoint.git.remotes import Repository
from setpoint.git.worker.remote import Callbacks, on_remote
from setpoint.runtime import disk
from setpoint.wall.messages import GitRef

TIP = "refs/setpoint/tip"
KEEP = 32  # commits per mirror that survive its renewal: those that were asked for last (`touch`)
NO_SHALLOW = "server doesn't support shallow"  # libgit2 1.9
HEADER, FANOUT, ID = 8, 1024, 20  # bytes of an index of version 2, and of an id
DEPTHS = (32, 256, 2048, 2**31 - 1)  # the last one is git's own "everything"


@dataclass(frozen=True, slots=True)
class Fetch:
    """What to bring; `max_bytes` is the largest pack that may come, `limit` the size of the whole cache."""

    repository: Repository
    ref: GitRef
    selected: Selected
    max_bytes: int
    limit: int
    rules: HostRules
    budgets: Budgets = DEFAULTS


def fetch(mirror: Mirror, wanted: Fetch) -> str:
    """Return the sha that was fetched: the pinned commit, or where the ref is now."""
    with mirror.writing():
        generation = mirror.current()
        if generation and holds(generation, wanted.selected.sha):
            with freed(pygit2.Repository(str(generation))) as local:
                _keep(local, wanted.selected.sha)
            return wanted.selected.sha
        if generation and not grown(generation, wanted.limit):
            with suppress(_Damaged):
                return _into(generation, wanted)
        return _anew(mirror, generation, wanted)


def create(path: Path) -> pygit2.Repository:
    """Make an empty bare repository in which libgit2 follows no redirect to another host."""
    repository = pygit2.init_repository(str(path), bare=True)
    repository.config["http.followRedirects"] = "false"
    repository.config["core.logAllRefUpdates"] = "false"
    return repository


def holds(generation: Path, sha: str) -> bool:
    """Return whether a generation has a commit and its tree."""
    try:
        with freed(pygit2.Repository(str(generation))) as local:
            return readable(local, sha)
    except (pygit2.GitError, KeyError):
        return False


class _Damaged(Exception):
    """The mirror cannot be fetched into: create a new one."""


def _anew(mirror: Mirror, old: Path | None, wanted: Fetch) -> str:
    made = mirror.new()
    try:
        sha = _into(made, wanted, fresh=True)
        if old:
            _carry(old, made, wanted.limit // 4)
    except BaseException:
        disk.remove(made)
        raise
    mirror.publish(made)
    return sha


def _into(generation: Path, wanted: Fetch, *, fresh: bool = False) -> str:
    try:
        with freed(create(generation) if fresh else pygit2.Repository(str(generation))) as local:
            sha = _pinned(local, wanted) if wanted.ref.commit else _tip(local, wanted)
            _keep(local, _checked(local, sha, wanted))
    except (pygit2.GitError, KeyError) as error:
        if fresh:
            raise Problem(Reason.GitFailed, f"the mirror cannot be written: {error}") from None
        raise _Damaged from None
    except Problem as problem:
        # What the server says about the ref or about us is final; all else may be the mirror's own fault.
        if fresh or problem.reason is not Reason.GitFailed:
            raise
        raise _Damaged from None
    return sha


def _checked(local: pygit2.Repository, sha: str, wanted: Fetch) -> str:
    if not readable(local, sha):
        raise Problem(Reason.GitFailed, f"{wanted.repository.remote.url} sent no readable commit {sha}")
    return sha


def _tip(local: pygit2.Repository, wanted: Fetch) -> str:
    """Fetch where the ref is now."""
    _drop(local, TIP)
    _fetch(local, wanted, f"+{wanted.selected.ref}:{TIP}", 1)
    if TIP not in local.references:
        raise Problem(
            Reason.RefNotFound, f"{_short(wanted.selected.ref)} vanished from {wanted.repository.remote.url}"
        )
    return _commit_of(local, wanted)


def _commit_of(local: pygit2.Repository, wanted: Fetch) -> str:
    try:
        return str(local.references[TIP].peel(ObjectType.COMMIT).id)
    except (pygit2.InvalidSpecError, ValueError):
        raise Problem(Reason.RefNotFound, f"{_short(wanted.selected.ref)} points to no commit") from None


def _pinned(local: pygit2.Repository, wanted: Fetch) -> str:
    """Fetch a commit by its id: as the tip of its ref, directly, or by deepening, whatever the server allows."""
    sha, ref = wanted.selected.sha, wanted.selected.ref
    with suppress(_Refused):
        _try(local, wanted, sha, 1)
        if readable(local, sha):
            return sha
    for depth in (1, *DEPTHS):
        _drop(local, TIP)
        _try_ref(local, wanted, f"+{ref}:{TIP}", depth)
        if readable(local, sha):
            return sha
    if not wanted.ref.branch:
        for folder in ("heads", "tags"):
            _try_ref(local, wanted, f"+refs/{folder}/*:{TIP}-{folder}/*", DEPTHS[-1])
        if readable(local, sha):
            return sha
    where = f"on branch {wanted.ref.branch}" if wanted.ref.branch else "on any branch or tag"
    raise Problem(Reason.RefNotFound, f"commit {sha} is not {where} of {wanted.repository.remote.url}")


class _Refused(Exception):
    """The server does not hand out commits by their id."""


def _try(local: pygit2.Repository, wanted: Fetch, sha: str, depth: int) -> None:
    try:
        _drop(local, TIP)
        _fetch(local, wanted, f"+{sha}:{TIP}", depth)
    except Problem as problem:
        if problem.reason is Reason.GitFailed:
            raise _Refused from None
        raise


def _try_ref(local: pygit2.Repository, wanted: Fetch, spec: str, depth: int) -> None:
    _fetch(local, wanted, spec, depth)


def _fetch(local: pygit2.Repository, wanted: Fetch, spec: str, depth: int) -> None:
    # libgit2's local transport knows no shallow fetch.
    shallow = 0 if wanted.repository.remote.scheme == "file" else depth

    def run(there: pygit2.Remote, callbacks: Callbacks) -> None:
        try:
            there.fetch([spec], callbacks=callbacks, depth=shallow)
        except pygit2.GitError as error:
            if not shallow or NO_SHALLOW not in str(error):
                raise
            # The capability is optional: without it the history comes whole, as far as the cache has room.
            callbacks.whole = True
            there.fetch([spec], callbacks=callbacks)

    before = _packs(local)
    on_remote(wanted.repository, local, run, wanted.rules, max_bytes=wanted.max_bytes, budgets=wanted.budgets)
    _weigh(local, [each for each in _packs(local) if each not in before], wanted)


def _packs(local: pygit2.Repository) -> frozenset[Path]:
    return frozenset((Path(local.path) / "objects" / "pack").glob("*.idx"))


def _weigh(local: pygit2.Repository, indexes: Sequence[Path], wanted: Fetch) -> None:
    """Refuse packs whose objects are too large unpacked, which their headers tell, and remove them.

    A large file costs only whoever reads it; a commit, a folder or a tag is read here.
    """
    budgets, where, size = wanted.budgets, wanted.repository.remote.url, 0
    try:
        for index in indexes:
            for oid in ids_in(index):
                kind, bytes_ = header(local, oid)
                size += bytes_
                budgets.check("max_fetch_unpacked", size, where, counted=False)
                if kind != ObjectType.BLOB and bytes_ > budgets.max_file_size:
                    budgets.check("max_file_size", bytes_, f"{where}: Git object {oid}")
    except Problem:
        for index in indexes:
            index.unlink(missing_ok=True)
            index.with_suffix(".pack").unlink(missing_ok=True)
        raise


def ids_in(index: Path) -> Iterator[pygit2.Oid]:
    """Return the ids of the objects in a pack, by its index (version 2: gitformat-pack(5))."""
    with index.open("rb") as file:
        (count,) = struct.unpack(">I", os.pread(file.fileno(), 4, HEADER + FANOUT - 4))
        file.seek(HEADER + FANOUT)
        for _ in range(count):
            yield pygit2.Oid(file.read(ID))


def _keep(local: pygit2.Repository, sha: str) -> None:
    """Make a commit reachable by a ref of ours, the newest first; drop all other refs but the last few."""
    now = f"{KEPT}/{sha}"
    local.references.create(now, sha, force=True)
    folder = Path(local.path) / KEPT
    os.utime(folder / sha)
    kept = {f"{KEPT}/{each.name}" for each in _by_use(folder)[:KEEP]}
    for name in list(local.references):
        if name not in kept and name != TIP:
            local.references.delete(name)


def _carry(old: Path, made: Path, budget: int) -> None:
    """Bring what is kept in the old generation into the new one: only the objects that the new one lacks.

    Those in use last come first, as many as have at most `budget` bytes (uncompressed).
    """
    with suppress(pygit2.GitError, KeyError, OSError):  # else it is damaged, and fetched again when needed
        with freed(pygit2.Repository(str(old))) as source, freed(pygit2.Repository(str(made))) as target:
            carried = _pack(source, target, old, made, budget)
        if not carried:
            return
        # Their parents are not here: without this, the next fetch would stumble while it looks for them.
        with (made / "shallow").open("a") as shallow:
            shallow.writelines(f"{sha}\n" for sha in carried)
        with freed(pygit2.Repository(str(made))) as target:
            for sha in carried:
                target.references.create(f"{KEPT}/{sha}", sha)
                shutil.copystat(old / KEPT / sha, made / KEPT / sha)


def _pack(
    source: pygit2.Repository, target: pygit2.Repository, old: Path, made: Path, budget: int
) -> list[str]:
    """Write what the target lacks into a pack of it; returns the commits in it."""
    objects: set[pygit2.Oid] = set()
    carried: list[str] = []
    for sha in [each.name for each in _by_use(old / KEPT) if each.name not in target]:
        missing = _missing(source, target, sha, objects)
        budget -= sum(header(source, each)[1] for each in missing)
        if budget < 0:
            break
        objects |= missing
        carried.append(sha)
    if carried:
        builder = pygit2.PackBuilder(source)
        for each in objects:
            builder.add(each)
        builder.write(str(made / "objects" / "pack"))
    return carried


def _missing(
    source: pygit2.Repository, target: pygit2.Repository, sha: str, known: set[pygit2.Oid]
) -> set[pygit2.Oid]:
    """Return the objects of a commit (not of its parents) that are in neither `target` nor `known`."""
    commit = source[sha]
    assert isinstance(commit, pygit2.Commit)  # noqa: S101 - only commits are kept
    found, folders = {commit.id}, [commit.tree_id]
    while folders:
        oid = folders.pop()
        if oid in known or oid in found or oid in target:
            continue
        found.add(oid)
        tree = source[oid]
        assert isinstance(tree, pygit2.Tree)  # noqa: S101 - git's own invariant
        for entry in tree:
            if entry.type == ObjectType.TREE:
                folders.append(entry.id)
            elif entry.type == ObjectType.BLOB and entry.id not in known and entry.id not in target:
                found.add(entry.id)
    return found


def _by_use(folder: Path) -> list[Path]:
    """Return what is in a folder, the one touched last first."""
    return sorted(folder.iterdir(), key=lambda each: each.stat().st_mtime_ns, reverse=True)


def _drop(local: pygit2.Repository, name: str) -> None:
    if name in local.references:
        local.references.delete(name)


def _short(ref: str) -> str:
    return ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
