"""A cache volume that is full, wiped, read-only or no volume at all, under the running operator and at its start."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.e2e.conftest import World, config
from tests.e2e.test_sync import ready_at
from tests.faults.operators import Operator
from tests.faults.steps import commit, converged, corrected, drift, enforced, ready, url
from tests.git.test_cache import overwrite
from tests.kit.api import condition, is_ready, says
from tests.kit.cluster.processes import until
from tests.kit.servers.tcpproxy import TcpProxy

pytestmark = pytest.mark.cluster

LOST = "is not in the cache"
LARGE = {f"{n}.yaml": config(f"large-{n}", k="x" * 900_000) for n in range(10)}
"""More than the operator remembers of one Sync: these manifests can only be had from Git again."""


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small volume of its own."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a volume")
    folder = tmp_path_factory.mktemp("volume")
    if not mount("-t", "tmpfs", "-o", "size=16m", "none", str(folder)):
        pytest.skip("this machine lets nobody mount a volume")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def mount(*arguments: str) -> bool:
    return subprocess.run(["mount", *arguments], check=False, capture_output=True).returncode == 0


@contextmanager
def read_only(volume: Path) -> Iterator[None]:
    """Let nobody write there; what has files open would refuse another way of the same mount."""
    assert mount("--bind", str(volume), str(volume))
    try:
        assert mount("-o", "remount,bind,ro", str(volume))
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(volume)], check=True)


def wipe(volume: Path) -> None:
    for each in volume.iterdir():
        shutil.rmtree(each, ignore_errors=True)  # the operator may be at work in it


def damage(volume: Path) -> None:
    """Leave the mirrors as they are, but for what their packs hold."""
    packs = list(volume.rglob("*.pack"))
    assert packs
    for pack in packs:
        overwrite(pack, 12, pack.stat().st_size - 40)


def replace(folder: Path) -> None:
    """Put a file where a folder is, which the operator may make anew meanwhile."""
    for attempt in range(100):
        folder.rename(folder.with_name(f"aside-{attempt}"))
        try:
            with folder.open("x") as file:
                file.write("no folder")
        except FileExistsError:
            continue
        return
    raise AssertionError(f"{folder} is made anew again and again")


@pytest.fixture(scope="module")
def variables(volume: Path) -> dict[str, str]:
    return {"SETPOINT_CACHE_DIR": str(volume)}


def told(world: World, words: str) -> None:
    """Wait until the Source says it; the Sync is Ready nevertheless, and held."""
    source = world.until("Source", "src", says("CacheFull", words))
    assert "stays enforced" in condition(source)["message"]
    world.announced("CacheFull", "src")
    assert is_ready(world.api.get("Sync", world.namespace, "app"))
    enforced(world)


def test_full(world: World, volume: Path) -> None:
    ready(world)
    ballast = volume / "ballast"
    free = shutil.disk_usage(volume).free
    ballast.write_bytes(bytes(free - (64 << 10)))
    world.repo.commit({"large.bin": os.urandom(1 << 20)}, "Large")
    sha = commit(world, "2")
    told(world, "")
    ballast.unlink()
    converged(world, sha, "2")


def test_wiped(world: World, volume: Path) -> None:
    """What drifts is put back at once, and the commit is fetched again, long before the Source's interval."""
    sha = ready(world, interval="1h")
    before = world.git.fetches(world.namespace)
    wipe(volume)
    enforced(world)
    assert world.until("Sync", "app", ready_at(sha))
    until(lambda: world.git.fetches(world.namespace) > before, "another fetch", 60)
    sha = commit(world, "2")
    world.ask("Source", "src", "now")
    converged(world, sha, "2")


def test_wiped_below_a_sync_that_is_too_large_to_be_remembered(world: World, volume: Path) -> None:
    """Its manifests can only be had from Git again: without it, the Sync says that they cannot."""
    world.repo.commit(LARGE, "Large")
    ready(world, interval="1h")
    wipe(volume)
    enforced(world)


def test_wiped_while_the_git_server_is_down(world: World, volume: Path, wire: TcpProxy) -> None:
    world.repo.commit(LARGE, "Large")
    sha = ready(world, url=url(world, wire))
    wire.down()
    wipe(volume)
    world.until("Source", "src", says("HostUnreachable", LOST))
    held = world.api.get("Sync", world.namespace, "app")
    assert is_ready(held), f"nothing drifted yet: {condition(held)}"
    drift(world)
    # What is told of the server follows what becomes of it: a check that was under way saw its connection close.
    sync = world.until("Sync", "app", says("SourceNotReady", "refused"))
    assert "/a is not as in Git" in condition(sync)["message"]
    assert LOST in condition(sync)["message"]
    (difference,) = sync["status"]["differences"]
    assert (difference["name"], difference["sync"]) == ("a", "Waiting")
    wire.up()
    corrected(world)
    world.until("Sync", "app", ready_at(sha))


def test_lost_while_it_is_read(world: World, volume: Path) -> None:
    """What cannot be read any more is fetched again, as if it had been gone before: no failure is told meanwhile."""
    world.repo.commit(LARGE, "Large")
    sha = ready(world, interval="1h")
    damage(volume)
    enforced(world)
    world.until("Sync", "app", ready_at(sha))
    assert not world.events("GitFailed")


def test_restarted_while_the_git_server_is_down(
    world: World, volume: Path, wire: TcpProxy, operator: Operator
) -> None:
    """With its cache, nothing is missing; without it, what drifted is told until it can be put back."""
    sha = ready(world, url=url(world, wire))
    wire.down()
    operator.stop()
    operator.start()
    source = world.until("Source", "src", says("HostUnreachable"))
    assert "stays enforced" in condition(source)["message"]
    enforced(world)
    operator.stop()
    wipe(volume)
    operator.start()
    world.until("Source", "src", says("HostUnreachable", LOST))
    assert is_ready(world.api.get("Sync", world.namespace, "app")), "all is as it was applied"
    drift(world)
    sync = world.until("Sync", "app", says("SourceNotReady", LOST))
    assert "one of 1 objects was changed" in condition(sync)["message"]
    wire.up()
    corrected(world)
    world.until("Sync", "app", ready_at(sha))


def test_read_only(world: World, volume: Path, operator: Operator) -> None:
    ready(world)
    with read_only(volume):
        sha = commit(world, "2")
        told(world, "read-only")
        operator.stop()
        operator.start()
        told(world, "read-only")
    converged(world, sha, "2")


def test_a_file_in_its_place(world: World, volume: Path) -> None:
    ready(world, interval="1h")
    replace(volume / "git")
    sha = commit(world, "2")
    world.ask("Source", "src", "now")
    world.until("Source", "src", says("CacheFull", LOST))
    world.announced("CacheFull", "src")
    enforced(world)
    (volume / "git").unlink()
    converged(world, sha, "2")
