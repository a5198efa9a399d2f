"""What a process takes of the machine, read from the kernel's texts about it (pure, but for `sample` and `held`)."""

from __future__ import annotations

import os
import stat as modes
from collections.abc import Container, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_BLOCK: Final = 512
_UTIME, _STIME = 11, 12
"""Where `stat` has the processor time, counted from what follows the name (proc(5) counts from 1, and that is its third)."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Bytes in memory (its own and shared, not those of files on a disk), of page tables, and swapped out; threads; seconds of processor time."""

    resident: int
    tables: int
    swapped: int
    threads: int
    processor: float

    @property
    def memory(self) -> int:
        """Bytes that there would be more if it ended, and what it shares with who forked it."""
        return self.resident + self.tables + self.swapped


def parsed(status: str, stat: str, ticks: int = _TICKS) -> Sample:
    """Return what /proc/PID/status and stat say, `ticks` to a second; ValueError if that is nothing they would say.

    A process that ended and was not waited for has no memory. It may call itself what it likes: the kernel escapes its name
    in the one, and nothing behind the last bracket of the other is its own.
    """
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    numbers = stat.rpartition(")")[2].split()
    if len(numbers) <= _STIME or "Threads" not in fields:
        raise ValueError("no status of a process")
    return Sample(
        resident=_bytes(fields.get("RssAnon")) + _bytes(fields.get("RssShmem")),
        tables=_bytes(fields.get("VmPTE")),
        swapped=_bytes(fields.get("VmSwap")),
        threads=int(fields["Threads"]),
        processor=(int(numbers[_UTIME]) + int(numbers[_STIME])) / ticks,
    )


def sample(pid: int) -> Sample | None:
    """Return what a process takes now, or None if it is gone."""
    try:
        status, stat = (
            Path(f"/proc/{pid}/{name}").read_text("utf-8", "replace") for name in ("status", "stat")
        )
        return parsed(status, stat)
    except (OSError, ValueError):
        return None


def _bytes(value: str | None) -> int:
    """Return the bytes of a number of kB, 0 where there is no such line."""
    return int(value.split()[0]) * 1024 if value else 0


File = tuple[str, str]
"""Device and inode, as /proc/PID/maps has them."""


def held(pid: int, folder: str) -> int:
    """Return the bytes of files that are in no folder any more, but open, or mapped (at full size) and once below `folder`.

    0 if the process is gone.
    """
    try:
        opened = _opened(pid)
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as maps:
            return sum(opened.values()) + unlinked(maps, folder, opened)
    except OSError:
        return 0


def unlinked(maps: Iterable[str], folder: str, without: Container[File] = ()) -> int:
    """Return the bytes of mappings of files that were below a folder and were deleted, in lines of /proc/PID/maps."""
    start, total = f"{folder.rstrip('/')}/", 0
    for line in maps:
        fields = line.rstrip("\n").split(maxsplit=5)
        if len(fields) < 6 or not (fields[5].startswith(start) and fields[5].endswith(" (deleted)")):
            continue
        if (fields[3], fields[4]) not in without:
            first, _, last = fields[0].partition("-")
            total += int(last, 16) - int(first, 16)
    return total


def _opened(pid: int) -> dict[File, int]:
    """Return the bytes of each file that a process has open, and that is in no folder; OSError."""
    files: dict[File, int] = {}
    for name in os.listdir(f"/proc/{pid}/fd"):
        with suppress(FileNotFoundError):
            found = os.stat(f"/proc/{pid}/fd/{name}")
            if modes.S_ISREG(found.st_mode) and not found.st_nlink:
                device = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}"
                files[device, str(found.st_ino)] = found.st_blocks * _BLOCK
    return files
