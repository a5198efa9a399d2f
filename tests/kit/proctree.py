"""The processes below a process, from /proc. Any of them may end while it is looked at; then it has nothing below it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")


def text(pid: int, name: str) -> str:
    """Return what a file of a process holds; nothing once it has ended."""
    return _text(PROC / str(pid) / name)


def children(pid: int) -> Iterator[int]:
    """Return the processes that this one started itself, from any of its threads."""
    for task in _listed(PROC / str(pid) / "task"):
        yield from map(int, _text(task / "children").split())


def descendants(pid: int) -> Iterator[int]:
    """Return all processes below this one, parents first."""
    todo = list(children(pid))
    while todo:
        found = todo.pop()
        yield found
        todo += children(found)


def rolled_up(rollup: str, name: str) -> int:
    """Return the bytes of a line of a smaps_rollup, such as `Pss`; 0 where there is none."""
    lines = (line.split() for line in rollup.splitlines())
    return next((int(words[1]) * 1024 for words in lines if words[:1] == [f"{name}:"]), 0)


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
