"""Control groups of a node: made in every hierarchy, and removed with all that is below.

In: a name. The processes in them must have ended before `remove`; the node's PID namespace sees to that.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from tests.kit.cluster.processes import until

MOUNTS = Path("/proc/self/mounts")
REMOVE_SECONDS = 20
# A new cpuset of cgroup v1 takes no process before it has these.
CPUSET = ("cpuset.cpus", "cpuset.mems")


def hierarchies() -> list[Path]:
    """Where the control group hierarchies are mounted; those without a controller are named ones, of systemd."""
    if not MOUNTS.exists():
        return []
    mounts = [line.split() for line in MOUNTS.read_text().splitlines()]
    return [Path(mount[1]) for mount in mounts if mount[2] in {"cgroup", "cgroup2"}]


def create(name: str) -> None:
    """Make the group in each hierarchy. Raises OSError where that is not allowed."""
    for root in hierarchies():
        group = root / name
        group.mkdir(exist_ok=True)
        for file in CPUSET:
            if (
                (root / file).exists()
                and (group / file).exists()
                and not (root / "cgroup.controllers").exists()
            ):
                (group / file).write_text((root / file).read_text())


def remove(name: str) -> None:
    """Remove the group from each hierarchy; harmless when there is none."""
    for root in hierarchies():
        if (root / name).exists():
            until(lambda root=root: _removed(root / name), f"end of {root / name}", REMOVE_SECONDS)  # type: ignore[misc]


def _removed(group: Path) -> bool:
    """One attempt; the kernel refuses while a process that was killed is still ending."""
    for folder, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):
            Path(folder).rmdir()
    return not group.exists()
