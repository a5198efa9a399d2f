"""A cache that cannot be used is said in words; a folder that somebody else wrote is counted and removed, whatever it holds."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from setpoint.api.reasons import Reason
from setpoint.runtime import disk
from setpoint.runtime.disk import DEEPEST, ENTRY, cache_problem, remove, taken


@pytest.fixture(autouse=True)
def nothing_deep_is_left(tmp_path: Path) -> Iterator[None]:
    """Remove what is too deep for pytest, which would fail at it some runs later."""
    yield
    for each in tmp_path.iterdir():
        disk.remove(each)


@pytest.mark.parametrize(
    "number",
    [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST],
)
def test_a_volume_that_cannot_be_written(number: int) -> None:
    problem = cache_problem(OSError(number, "No space left on device"), Reason.RenderFailed)
    assert (problem.reason, problem.transient) == (Reason.CacheFull, True)
    assert problem.message == "the cache volume cannot be written: no space left on device"


def test_any_other_failure_is_what_the_caller_was_about() -> None:
    problem = cache_problem(OSError(errno.EIO, "Input/output error"), Reason.RenderFailed)
    assert (problem.reason, problem.transient) == (Reason.RenderFailed, True)
    assert cache_problem(OSError(errno.EIO, "x")).reason is Reason.GitFailed


def deep(top: Path, levels: int, *, mode: int = 0o700) -> None:
    """Make folders in each other, deeper than a path can be, with a file in the innermost."""
    top.mkdir(exist_ok=True)
    place = os.open(top, os.O_RDONLY)
    opened = [place]
    for _ in range(levels):
        os.mkdir("d", 0o700, dir_fd=place)
        below = os.open("d", os.O_RDONLY, dir_fd=place)
        os.close(place) if mode == 0o700 else opened.append(below)
        place = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=place))
    if mode == 0o700:
        os.close(place)
        return
    for each in reversed(opened):
        os.fchmod(each, mode)
        os.close(each)


@contextmanager
def nobody(folder: Path) -> Iterator[None]:
    """Be a user whom modes keep out: they do not keep out root."""
    if os.geteuid() != 0:
        yield
        return
    for each in folder.parents:
        if each.stat().st_mode & 0o011 != 0o011:
            each.chmod(each.stat().st_mode | 0o011)
    os.chown(folder, 65534, 65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_tree_of_any_depth_is_removed(tmp_path: Path) -> None:
    deep(tmp_path / "top", 5000)
    deep(tmp_path / "top" / "other", 5)
    assert remove(tmp_path / "top")
    assert list(tmp_path.iterdir()) == []


def test_more_names_than_are_held_at_once(tmp_path: Path) -> None:
    (wide := tmp_path / "top" / "wide").mkdir(parents=True)
    for number in range(2500):
        (wide / str(number)).touch()
        if number < 1200:
            (tmp_path / "top" / f"d{number}" / "d").mkdir(parents=True)
    assert remove(tmp_path / "top")
    assert list(tmp_path.iterdir()) == []


def test_symlinks_are_removed_and_lead_nowhere(tmp_path: Path) -> None:
    (kept := tmp_path / "kept").mkdir()
    (kept / "file").write_text("x")
    (top := tmp_path / "top").mkdir()
    for place in (top, top / "a", top / "a" / "b"):
        place.mkdir(exist_ok=True)
        (place / "folder").symlink_to(kept)
        (place / "file").symlink_to(kept / "file")
        (place / "up").symlink_to("..")
        (place / "nowhere").symlink_to("none")
    kept.chmod(0o500)
    assert remove(top)
    assert [each.name for each in tmp_path.iterdir()] == ["kept"]
    assert (kept / "file").read_text() == "x"
    assert kept.stat().st_mode & 0o777 == 0o500


def test_what_is_removed_is_a_symlink_a_file_or_nothing(tmp_path: Path) -> None:
    (kept := tmp_path / "kept").mkdir()
    (tmp_path / "link").symlink_to(kept)
    (tmp_path / "file").touch()
    for name in ("link", "file", "nothing", "nothing/below"):
        assert remove(tmp_path / name)
    assert [each.name for each in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize("mode", [0o000, 0o300, 0o400, 0o500])
def test_modes_that_keep_its_owner_out(tmp_path: Path, mode: int) -> None:
    (own := tmp_path / "own").mkdir()
    with nobody(own):
        deep(own / "top", 4, mode=mode)
        if mode != 0o500:
            with pytest.raises(PermissionError):
                list((own / "top" / "d").iterdir())
        assert taken(own / "top", 2**20) > 5 * ENTRY
        deep(own / "other", 4, mode=mode)
        assert remove(own / "top")
        assert remove(own / "other")
        assert list(own.iterdir()) == []


def test_what_cannot_be_removed_is_told(tmp_path: Path) -> None:
    (folder := tmp_path / "own" / "theirs" / "folder").mkdir(parents=True)
    (folder / "file").touch()
    with nobody(tmp_path / "own"):
        if os.getuid() != 0:
            pytest.skip("all that is there is this user's")
        assert not remove(folder)
        assert not remove(folder.parent)
    assert (folder / "file").exists()


def test_bytes_of_files_and_of_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "file").write_bytes(b"x" * 100_000)
    (tmp_path / "link").symlink_to("/")
    with open(tmp_path / "sparse", "wb") as sparse:
        sparse.truncate(2**40)
    assert 100_000 + 5 * ENTRY <= taken(tmp_path, 2**30) < 100_000 + 5 * ENTRY + 2**16
    assert taken(tmp_path / "none", 0) == 0
    assert taken(tmp_path / "link", 0) == 0


def test_counting_stops_when_it_is_over(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / f"d{number}").mkdir()
        (tmp_path / f"d{number}" / "file").write_bytes(b"x" * 2**14)
    assert 100 * ENTRY < taken(tmp_path, 100 * ENTRY) < 110 * ENTRY
    assert 2**18 < taken(tmp_path, 2**18) < 2**19


def test_depth_that_no_count_follows(tmp_path: Path) -> None:
    deep(tmp_path / "fit", DEEPEST - 1)
    assert taken(tmp_path / "fit", 2**30) < 2**21
    deep(tmp_path / "deep", 5000)
    assert taken(tmp_path / "deep", 2**30) == 2**30 + 1
    assert remove(tmp_path / "deep")
