"""What a process uses, and whether that grows: memory, tasks, threads, descriptors, children and files.

`sample` looks at a running operator; `judge` compares the first samples with the last (pure).
"""

from __future__ import annotations

import os
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median

from tests.kit.proctree import descendants, rolled_up, text

MIB = 2**20
MOST_GROWTH = 0.10
WARM_UP = 0.15  # of the samples are of a process that still fills its caches
# Idle connections, workers that live for half a minute and requests under way come and go.
PLAY = {"tasks": 4, "threads": 2, "descriptors": 10, "children": 1, "temporary": 2}
MEMORY = ("rss", "pss")


@dataclass(frozen=True)
class Sample:
    """What an operator uses at one moment, its children included; bytes and counts."""

    minute: float
    rss: int
    pss: int
    tasks: int
    threads: int
    descriptors: int
    children: int
    temporary: int
    cache: int


NAMES = tuple(f.name for f in fields(Sample) if f.name != "minute")


def sample(minute: float, pid: int, metrics: str, cache: Path) -> Sample:
    """Look at a process, at its metrics and at its cache folder."""
    tree = {pid, *descendants(pid)}
    return Sample(
        minute,
        rss=sum(rolled_up(text(each, "smaps_rollup"), "Rss") for each in tree),
        pss=sum(rolled_up(text(each, "smaps_rollup"), "Pss") for each in tree),
        tasks=int(sum(read_metric(metrics, "setpoint_tasks"))),
        threads=sum(_count(each, "task") for each in tree),
        descriptors=sum(_count(each, "fd") for each in tree),
        children=len(tree) - 1,
        temporary=sum(1 for each in temporary_files(cache)),
        cache=sum(_size(Path(root) / name) for root, _, names in os.walk(cache) for name in names),
    )


def read_metric(url: str, name: str) -> list[float]:
    """Return all values of a metric."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return [float(line.split()[-1]) for line in lines if line.partition("{")[0].partition(" ")[0] == name]


def temporary_files(cache: Path) -> list[Path]:
    """What should be gone when nothing is under way: work folders of builds, and half-made mirrors and packs."""
    patterns = ("render/*", "git/run/*", "git/key-*", "git/mirrors/*/*/new-*", "git/mirrors/*/*/link-*")
    return [
        path
        for pattern in (*patterns, "git/mirrors/*/*/g-*/objects/pack/*_*")
        for path in cache.glob(pattern)
    ]


def _count(pid: int, folder: str) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/{folder}"))
    except OSError:
        return 0


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


# --- judging


@dataclass(frozen=True)
class Row:
    """One figure: the median of the first quarter after the warm-up, that of the last, and the most of all."""

    name: str
    first: float
    last: float
    most: float
    bad: str = ""

    @property
    def growth(self) -> float:
        """The share by which it grew."""
        return (self.last - self.first) / self.first if self.first else float(self.last > 0)


def judge(samples: Sequence[Sample], *, memory: bool = True) -> list[Row]:
    """Compare the quarters; `bad` says what is wrong with a figure. Without `memory` that one is only shown."""
    warm = samples[int(len(samples) * WARM_UP) :]
    quarter = max(1, len(warm) // 4)
    return [_row(name, warm[:quarter], warm[-quarter:], samples, memory=memory) for name in NAMES]


def _row(
    name: str, first: Sequence[Sample], last: Sequence[Sample], all_: Sequence[Sample], *, memory: bool
) -> Row:
    value: Callable[[Sample], float] = lambda s: float(getattr(s, name))  # noqa: E731
    row = Row(name, median(map(value, first)), median(map(value, last)), max(map(value, all_)))
    bad = ""
    if name in PLAY and row.last > row.first + PLAY[name]:
        bad = "leaks"
    if name in MEMORY and memory and row.growth > MOST_GROWTH:
        bad = f"grew beyond {MOST_GROWTH:.0%}"
    return Row(row.name, row.first, row.last, row.most, bad)


def table(rows: Sequence[Row]) -> str:
    """Return the figures for people."""
    lines = [f"{'figure':<12}{'first quarter':>15}{'last quarter':>15}{'most':>12}{'growth':>9}"]
    for row in rows:
        show = _mib if row.name in (*MEMORY, "cache") else _number
        lines.append(
            f"{row.name:<12}{show(row.first):>15}{show(row.last):>15}{show(row.most):>12}{row.growth:>+9.1%}  {row.bad}"
        )
    return "\n".join(lines)


def _mib(value: float) -> str:
    return f"{value / MIB:.1f} MiB"


def _number(value: float) -> str:
    return f"{value:g}"
