"""A cache volume that is full under the running operator."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.api import condition, says
from tests.e2e.conftest import World
from tests.faults.steps import commit, converged, enforced, ready

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small volume of its own."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a volume")
    folder = tmp_path_factory.mktemp("volume")
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a volume")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="module")
def variables(volume: Path) -> dict[str, str]:
    return {"SETPOINT_CACHE_DIR": str(volume)}


def told(world: World) -> None:
    """Wait until the Source says it; what was applied is held."""
    source = world.until("Source", "src", says("CacheFull"))
    assert "stays enforced" in condition(source)["message"]
    enforced(world)


def test_full(world: World, volume: Path) -> None:
    ready(world)
    ballast = volume / "ballast"
    free = shutil.disk_usage(volume).free
    ballast.write_bytes(bytes(free - (64 << 10)))
    world.repo.commit({"large.bin": os.urandom(1 << 20)}, "Large")
    sha = commit(world, "2")
    told(world)
    ballast.unlink()
    converged(world, sha, "2")
