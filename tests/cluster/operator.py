"""What an operator needs that is started as a process of this machine, and not as the chart's pod."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from tests.cluster.binaries import ensure

SYSTEM = "setpoint-system"
ABSENT = Path(__file__).with_name("absent")
"""Modules that hide what is installed for tests alone."""


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """Give its whole environment: all it keeps lies in `folder`. `variables` add to it, or replace what stands here."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONPATH": str(ABSENT),
        "SETPOINT_NAMESPACE": SYSTEM,
        "SETPOINT_CACHE_DIR": str(folder / "cache"),
        "SETPOINT_KUSTOMIZE": str(ensure("kustomize")["kustomize"]),
        "SETPOINT_METRICS_PORT": "0",
        "SETPOINT_PROBE_PORT": "0",
        "SETPOINT_LOG_FORMAT": "text",
        **variables,
    }


def free_port() -> int:
    """Give a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
