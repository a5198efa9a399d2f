"""The parts of the memory of the worker's container, and whether its limit has room for all of them at once (pure).

The chart does the same sum before it installs anything, with these figures and these words (`templates/_settings.tpl` is made of them).
"""

from __future__ import annotations

from typing import Final

from setpoint.api.budgets import MIB
from setpoint.api.reasons import Problem, Reason
from setpoint.settings import Settings

BASE: Final = 96 * MIB
"""Bytes of the broker and the launchers, which fork all others."""
SCRATCH: Final = 256 * MIB
"""Bytes of files in a reader's own folder, which lies in `/tmp`: the chart's volume, in memory, has room for all of them.

A build that uses up its default budgets takes 64 MiB for the files that it reads, 32 for what it prints, and, if they are 50,000
small ones, 150 more for their inodes and what their last blocks have to spare.
"""
WORDS: Final = (
    "worker.resources.limits.memory is %d MiB, and less than the %d MiB that the parts of the worker may take at once: "
    f"the broker and its launchers %d MiB, the cache in memory %d MiB (cache.size), /tmp %d MiB (settings.readers x {SCRATCH // MIB} MiB), "
    "readers %d x %d MiB (settings.readers, settings.readerMemory), "
    "builds %d x %d MiB (settings.renderConcurrency, settings.renderMemory), "
    "Git processes %d MiB (settings.gitMemory). "
    "Raise the limit to %dMi, or lower one of these; where few namespaces have Syncs, fewer readers do"
)
"""How a limit that is too small is told; the placeholders are those of Python and of Helm alike."""


def cache(settings: Settings) -> int:
    """Return the bytes of memory that the cache may take: none where it is on a disk."""
    return settings.cache_size if settings.cache_in_memory else 0


def tmp(settings: Settings) -> int:
    """Return the bytes of the volume at `/tmp`, which is in memory."""
    return settings.readers * SCRATCH


def needed(settings: Settings) -> int:
    """Return the bytes that all parts of the worker may take at once, with these settings."""
    return (
        BASE
        + cache(settings)
        + tmp(settings)
        + settings.readers * settings.reader_memory
        + settings.render_concurrency * settings.render_memory
        + settings.git_memory
    )


def problem(limit: int, settings: Settings) -> str | None:
    """Return in words that `limit`, in bytes, has no room for the parts, with every figure and what to change; None if it has, or is 0: unknown."""
    wanted = needed(settings)
    if limit == 0 or limit >= wanted:
        return None
    return WORDS % (
        limit // MIB,
        _rounded(wanted),
        *map(_rounded, (BASE, cache(settings), tmp(settings))),
        *(settings.readers, _rounded(settings.reader_memory)),
        *(settings.render_concurrency, _rounded(settings.render_memory)),
        _rounded(settings.git_memory),
        _rounded(wanted),
    )


def check(settings: Settings) -> None:
    """Raise Problem(InvalidSpec) in such words if the limit of the worker's container is known and too small."""
    if (what := problem(settings.worker_memory, settings)) is not None:
        raise Problem(Reason.InvalidSpec, what)


def _rounded(size: int) -> int:
    """Return bytes as MiB, rounded up: what is said to be needed suffices."""
    return -(-size // MIB)
