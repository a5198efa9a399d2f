"""What it means that a reader died, for whom it worked (pure)."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Final

from setpoint.api.budgets import MIB, setting
from setpoint.api.reasons import Problem, Reason
from setpoint.fences.allowances import Excess, Kind
from setpoint.fences.launching import Exit, cause
from setpoint.worker.reader.limits import NO_MEMORY

_CRASHES: Final = frozenset(
    (-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGBUS, -signal.SIGILL, -signal.SIGTRAP)
)
_NEAR: Final = 0.7
"""The part of its limit that a process must have had to crash for want of more: what it asked for last was refused."""


@dataclass(frozen=True, slots=True)
class Death:
    """`exit`: of its process. `excess`: what the broker ended it for, if it did. `memory`: its limit in bytes."""

    exit: Exit
    excess: Excess | None
    memory: int

    @property
    def hungry(self) -> bool:
        """Whether it had no memory left. Python says so; libraries in C and Rust crash."""
        if self.excess is not None:
            return self.excess.kind in (Kind.MEMORY, Kind.TOGETHER)
        crashed = self.exit.status in _CRASHES and self.exit.peak >= self.memory * _NEAR
        return crashed or self.exit.status == NO_MEMORY

    @property
    def own(self) -> bool:
        """Whether it was over a limit: whoever was alone with it did that, and would do it again."""
        return self.excess is not None or self.hungry


def problem_of(death: Death) -> Problem:
    """Return why a request failed whose reader died of it."""
    if death.hungry:
        text = (
            f"to read this takes more than the {death.memory // MIB} MiB of memory of {setting('reader_memory')}; "
            "make several Syncs of it, or raise the setting"
        )
        return Problem(Reason.TooLarge, text)
    if death.excess is not None:
        return Problem(Reason.TooLarge, f"to read this takes {death.excess.words}; make several Syncs of it")
    text = f"the process that reads this died twice ({cause(death.exit.status)}); it is tried again later"
    return Problem(Reason.RenderCrashed, text, retry=True)
