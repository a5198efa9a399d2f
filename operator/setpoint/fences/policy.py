"""How strict the fences are: what the settings say, and what a child is told by who starts it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from setpoint.fences import kernel, landlock
from setpoint.fences.landlock import Access, Grant

LIBRARIES: Final = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache")
"""Where a system has its libraries, and the program that loads them. Who may start programs can read them."""
NO_LANDLOCK: Final = (
    "this kernel has no Landlock, which keeps readers, renderers and Git processes from each other's files and from the "
    "operator's; use Linux 5.13 or newer with landlock in /sys/kernel/security/lsm and a seccomp profile that allows it, "
    "or set SETPOINT_LANDLOCK (settings.landlock) to best-effort and do without"
)


@dataclass(frozen=True, slots=True)
class Policy:
    """`required`: whether no child starts without Landlock. `libraries`: what a renderer may read and run beside its program.

    `newest`: the newest ABI that is used.
    """

    required: bool = True
    libraries: tuple[str, ...] = ()
    newest: int = landlock.NEWEST

    @property
    def abi(self) -> int:
        """The ABI of Landlock that children are fenced with, 0 if there is none."""
        return min(kernel.landlock_abi(), self.newest)

    def __str__(self) -> str:
        """Say what children are fenced with, for the log."""
        return (
            f"Landlock (ABI {self.abi}) and seccomp"
            if self.abi
            else "seccomp alone: the kernel has no Landlock"
        )

    def refusal(self) -> str | None:
        """Return why no child may be started on this machine, or None."""
        return NO_LANDLOCK if self.required and not self.abi else None

    def wire(self, grants: Sequence[Grant]) -> dict[str, Any]:
        """Return the part of a request to a launcher that says what the child is fenced to."""
        rows = [[each.path, each.access.name] for each in grants]
        return {"grants": rows, "required": self.required, "newest": self.newest}


def granted(message: Mapping[str, Any]) -> list[Grant]:
    """Return the grants of a request."""
    return [Grant(path, Access[name]) for path, name in message["grants"]]


def enter(message: Mapping[str, Any], more: Sequence[Grant] = (), *, network: bool) -> None:
    """Fence this process as a request says, with more grants than it names; OSError if it cannot be."""
    abi = min(kernel.landlock_abi(), message["newest"])
    if message["required"] and not abi:
        raise OSError(0, NO_LANDLOCK)
    kernel.fence([*granted(message), *more], abi, network=network)
