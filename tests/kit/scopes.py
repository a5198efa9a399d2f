"""Which tests stay with one test process, by pytest-xdist: those of a file, and the files that share a costly cluster.

A cluster takes five seconds of a core to start and 3 % of it to exist, so one is started for such files and not one in
each process.
"""

from __future__ import annotations

from typing import Final

import pytest
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

SHARED: Final = {
    "tests/faults/": "a control plane that is broken",
    "tests/pod/": "a node",
    "tests/kit/cluster/test_node.py": "a node",
}


def scope(nodeid: str) -> str:
    """Return what a test stays together by: what its file shares, else the file."""
    file = nodeid.partition("::")[0]
    return next((shared for start, shared in SHARED.items() if file.startswith(start)), file)


class ByCluster(LoadFileScheduling):  # type: ignore[misc]
    """Hands out tests by their `scope`."""

    def _split_scope(self, nodeid: str) -> str:
        return scope(nodeid)


def scheduler(config: pytest.Config, log: Producer) -> ByCluster | None:
    """Return the scheduler for `--dist loadfile`; None leaves the choice to xdist."""
    return ByCluster(config, log) if config.getvalue("dist") == "loadfile" else None
