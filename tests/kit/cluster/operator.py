"""What an operator needs that is started as a process of this machine, and not as the chart's pod."""

from __future__ import annotations

import os
from pathlib import Path

from tests.kit.cluster.binaries import ensure

LOOPBACK_TOO = "127.0.0.0/8,::1,*"
"""Where Git may connect to in tests, whose servers are on loopback; elsewhere that is denied."""
SYSTEM = "setpoint-system"
ABSENT = Path(__file__).with_name("absent")
"""Modules that hide what is installed for tests alone."""


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """Return its whole environment: all it keeps lies in `folder`. `variables` add to it, or replace what stands here."""
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
        "SETPOINT_GIT_ALLOWED_HOSTS": LOOPBACK_TOO,
        **variables,
    }
