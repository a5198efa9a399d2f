"""`python -m tests.kit.cluster`: a cluster survives its command, and `down` finds whatever is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.kit.cluster import binaries, named
from tests.kit.cluster.processes import lives, until

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).parents[3]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of our own with the binaries of the real one, so that `down` cannot touch anybody's cluster."""
    binaries.ensure("etcd", "kube-apiserver", "kube-controller-manager")
    (tmp_path / "bin").symlink_to(binaries.cache() / "bin")
    monkeypatch.setenv("SETPOINT_CACHE", str(tmp_path))
    return tmp_path


def test_up_survives_its_command_and_is_found_again(cache: Path) -> None:
    try:
        first = _run("up", "--name=one")
        assert first.stdout.splitlines()[-1] == f"KUBECONFIG={cache}/clusters/one/kubeconfig"
        supervisor = int((cache / "clusters/one/supervisor.pid").read_text())
        again = _run("up", "--name=one")
        assert again.stdout == first.stdout
        assert int((cache / "clusters/one/supervisor.pid").read_text()) == supervisor
        assert "kube-system" in _kubectl(cache / "clusters/one/kubeconfig", "get", "namespaces")
        assert _run("up", "--name=one", "--kwok", check=False).returncode == 1  # it cannot be added later
    finally:
        _run("down")
    until(lambda: not lives(supervisor), "end of the supervisor", 30)
    assert list((cache / "clusters").glob("*/")) == []


def test_down_removes_what_a_killed_supervisor_left(cache: Path) -> None:
    try:
        _run("up", "--name=one")
        os.kill(int((cache / "clusters/one/supervisor.pid").read_text()), signal.SIGKILL)
        until(lambda: not named.state("one").running, "end of the supervisor", 30)
        assert _run("list").stdout.split()[:2] == ["one", "ended"]
    finally:
        _run("down", "--name=one")
    assert _run("list").stdout == ""


def test_a_name_cannot_leave_the_folder(cache: Path) -> None:
    result = _run("up", "--name=../elsewhere", check=False)
    assert result.returncode == 1
    assert "no name of a cluster" in result.stderr


def _run(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.kit.cluster", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=check)


def _kubectl(kubeconfig: Path, *arguments: str) -> str:
    command = [str(binaries.kubectl()), f"--kubeconfig={kubeconfig}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
