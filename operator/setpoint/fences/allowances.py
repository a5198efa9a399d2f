"""How much a child process may take, and whether it takes more (pure).

In: what it takes now, and for how long it is at work. Out: the first limit that it is over, with the figure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Final, TypeVar

from setpoint.api.budgets import MIB

K = TypeVar("K")
_HOUSEKEEPING: Final = 0.05
"""The share of a processor that a child may take while nobody asked it for anything."""


class Kind(Enum):
    """What a child took too much of: for itself, or, of memory, together with its group."""

    MEMORY = auto()
    THREADS = auto()
    SCRATCH = auto()
    PROCESSOR = auto()
    TIME = auto()
    TOGETHER = auto()


@dataclass(frozen=True, slots=True)
class Allowance:
    """Bytes of memory; threads; seconds of processor and of all for one spell of work; a folder, and bytes that it may hold.

    `shared`: bytes of its memory that it has from its launcher, and that count for no group.
    """

    memory: int
    threads: float
    processor: float
    seconds: float
    folder: Path | None = None
    scratch: int = 0
    shared: int = 0


@dataclass(frozen=True, slots=True)
class Use:
    """What a child takes, in the measures of an allowance."""

    memory: int = 0
    threads: int = 0
    scratch: int = 0
    processor: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Excess:
    """A limit that a child is over: bytes, threads or seconds, as its kind has it."""

    kind: Kind
    figure: float
    limit: float

    @property
    def words(self) -> str:
        """What is too much, in words that go after `takes`."""
        if self.kind is Kind.PROCESSOR:
            return f"more than {self.limit:g} s of processor time"
        if self.kind is Kind.TIME:
            return f"more than {self.limit:g} s"
        if self.kind is Kind.THREADS:
            return f"more than {self.limit:g} threads"
        what = "files" if self.kind is Kind.SCRATCH else "memory"
        return f"more than {self.limit / MIB:g} MiB of {what}"


def excess(use: Use, allowance: Allowance) -> Excess | None:
    """Return the first limit that a child is over, or None."""
    rows: tuple[tuple[Kind, float, float], ...] = (
        (Kind.MEMORY, use.memory, allowance.memory),
        (Kind.THREADS, use.threads, allowance.threads),
        (Kind.SCRATCH, use.scratch, allowance.scratch),
        (Kind.PROCESSOR, use.processor, allowance.processor),
        (Kind.TIME, use.seconds, allowance.seconds),
    )
    return next((Excess(*row) for row in rows if row[1] > row[2]), None)


def largest(memory: Mapping[K, int], limit: int) -> tuple[K, Excess] | None:
    """Return who of a group takes most, if together they take more bytes than its limit, or None."""
    total = sum(memory.values())
    if total <= limit:
        return None
    return max(memory, key=lambda each: memory[each]), Excess(Kind.TOGETHER, total, limit)


class Spell:
    """The times of one child, in seconds of a clock: of work, in which it may wait for others, and of processor."""

    def __init__(self, now: float) -> None:
        self._works = self._waits = 0
        self._since, self._spent = now, 0.0
        self._processor: float | None = None
        self._looked = now

    @property
    def busy(self) -> bool:
        """Whether it was asked for something."""
        return self._works > 0

    def begin(self, now: float) -> None:
        """Note one more task; the first begins a spell."""
        if not self._works:
            self._spent, self._since, self._processor = 0.0, now, None
        self._change(now)
        self._works += 1

    def end(self, now: float) -> None:
        """Note the end of a task; the last ends the spell."""
        self._change(now)
        self._works = max(0, self._works - 1)
        if not self._works:
            self._since, self._processor = now, None

    def wait(self, now: float) -> None:
        """Note that one of its tasks waits for somebody else."""
        self._change(now)
        self._waits += 1

    def resume(self, now: float) -> None:
        """Note that it goes on."""
        self._change(now)
        self._waits -= 1

    def seconds(self, now: float) -> float:
        """Return for how long a task of this spell was at work and waited for nobody."""
        self._change(now)
        return self._spent if self._works else 0.0

    def processor(self, total: float, now: float) -> float:
        """Return the seconds of processor since the spell was first looked at, of the seconds that it took in all.

        Without work too, but for a little housekeeping: whoever was taken over works unasked.
        """
        if self._processor is None:
            self._processor, self._looked = total, now
        allowed = 0.0 if self._works else (now - self._looked) * _HOUSEKEEPING
        return max(0.0, total - self._processor - allowed)

    def _change(self, now: float) -> None:
        if self._works > self._waits:
            self._spent += now - self._since
        self._since = now
