"""What clusters are made of: programs, processes, folders and ports."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.kit.cluster import binaries, versions
from tests.kit.cluster.processes import Child, ProcessError, lives, until
from tests.kit.cluster.workspace import Workspace, is_free, is_locked

ROOT = Path(__file__).parents[3]


def test_ports_are_not_given_twice() -> None:
    first, second = Workspace(), Workspace()
    try:
        ports = [first.port() for _ in range(20)] + [second.port() for _ in range(20)]
    finally:
        first.close()
        second.close()
    assert len(set(ports)) == 40


def test_a_port_in_use_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not is_free(server.getsockname()[1])


def test_a_folder_of_the_living_stays_and_one_of_the_dead_goes(tmp_path: Path) -> None:
    """In a root of its own: in that of all, another worker may sweep before we look."""
    code = f"from tests.kit.cluster.workspace import *; print(Workspace(root=Path({str(tmp_path)!r})).path)"
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    dead = Path(result.stdout.strip())
    assert dead.parent == tmp_path
    assert dead.exists()
    living = Workspace(root=tmp_path)
    try:
        assert not dead.exists()
        Workspace(root=tmp_path).close()
        assert living.path.exists()
        assert is_locked(living.path / "owner.lock")
    finally:
        living.close()
    assert not living.path.exists()


def test_a_child_takes_its_group_along(tmp_path: Path) -> None:
    child = Child("shell", ["sh", "-c", "sleep 600 & echo $!; wait"], tmp_path / "log")
    until(lambda: child.tail().endswith("\n"), "process id of the grandchild", 30, [child])
    grandchild = int(child.tail())
    assert lives(grandchild)
    child.kill()
    until(lambda: not lives(grandchild), "end of the grandchild", 30)


def test_waiting_for_a_child_that_ended_fails_at_once_with_its_log(tmp_path: Path) -> None:
    child = Child("broken", ["sh", "-c", "echo no such luck; exit 3"], tmp_path / "log")
    with pytest.raises(ProcessError, match=r"(?s)broken ended while waiting for miracles.*no such luck"):
        until(lambda: False, "miracles", 30, [child])


def test_an_unknown_program_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(binaries.BuildError, match=r"unknown program 'etcetera'; known: .*etcd"):
        binaries.ensure("etcetera")


def test_without_go_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETPOINT_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(binaries.BuildError, match=r"go is not on PATH.* 1\.26 or newer"):
        binaries.ensure("etcd")


def test_an_old_go_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho go1.21.3\n")
    go.chmod(0o755)
    monkeypatch.setenv("SETPOINT_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    with pytest.raises(binaries.BuildError, match=r"1\.26 or newer is needed.*go1\.21\.3"):
        binaries.ensure("etcd")


def test_every_family_pins_its_programs_by_tool_directives() -> None:
    for tool in binaries.TOOL.values():
        assert tool.package in (binaries.TOOLS / tool.family / "go.mod").read_text()
        assert (binaries.TOOLS / tool.family / "go.sum").stat().st_size


def test_servers_of_another_kubernetes_lie_apart_and_all_else_is_shared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = (*binaries.SERVERS, "etcd", "helm")
    monkeypatch.delenv("SETPOINT_TEST_KUBERNETES", raising=False)
    newest = {name: binaries._path(name) for name in names}
    monkeypatch.setenv("SETPOINT_TEST_KUBERNETES", "1.31")
    older = {name: binaries._path(name) for name in names}
    assert {n for n in names if older[n] != newest[n]} == set(binaries.SERVERS)
    monkeypatch.delenv("SETPOINT_TEST_KUBERNETES")
    assert {n: binaries._path(f"{n}@1.31") for n in binaries.SERVERS} == {
        n: older[n] for n in binaries.SERVERS
    }
    monkeypatch.setenv("SETPOINT_TEST_KUBERNETES", "1.2")
    with pytest.raises(binaries.BuildError, match=r"1\.2"):
        binaries.ensure("kube-apiserver")


def test_a_test_is_told_what_an_older_kubernetes_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SETPOINT_TEST_KUBERNETES", raising=False)
    assert versions.lacking("MutatingAdmissionPolicy") is None
    with pytest.raises(ValueError, match=r"'Teleport'; known: Mutating"):
        versions.lacking("Teleport")
    monkeypatch.setenv("SETPOINT_TEST_KUBERNETES", "1.31")
    reason = "Kubernetes 1.31 has no MutatingAdmissionPolicy in admissionregistration.k8s.io/v1"
    assert versions.lacking("MutatingAdmissionPolicy") == reason


def test_what_families_share_has_one_version_so_that_it_is_compiled_once() -> None:
    def versions(family: str) -> dict[str, str]:
        text = (binaries.TOOLS / family / "go.mod").read_text()
        return dict(re.findall(r"^\t(\S+) (?:=> \S+ )?(v\S+)", text, re.MULTILINE))

    common, others = versions("common"), versions("containerd")
    # With a newer cri-api it cannot be built.
    shared = (common.keys() & others.keys()) - {"k8s.io/cri-api"}
    assert len(shared) > 50
    assert {name: (common[name], others[name]) for name in shared if common[name] != others[name]} == {}
