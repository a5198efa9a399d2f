"""Which cluster the tests get, and the one that is not ours."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.kit.cluster import provide
from tests.kit.cluster.foreign import KindCluster, KubeconfigCluster, docker_answers
from tests.kit.cluster.local import LocalCluster


@pytest.mark.parametrize(
    ("choice", "kind"),
    [
        ("local", LocalCluster),
        ("node", LocalCluster),
        ("kind", KindCluster),
        ("kubeconfig", KubeconfigCluster),
    ],
)
def test_the_environment_chooses(monkeypatch: pytest.MonkeyPatch, choice: str, kind: type) -> None:
    monkeypatch.setenv("SETPOINT_TEST_CLUSTER", choice)
    assert type(provide(kwok=True)) is kind


def test_a_typing_error_is_no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETPOINT_TEST_CLUSTER", "minikube")
    with pytest.raises(ValueError, match="use local, node, kind or kubeconfig"):
        provide()


def test_a_docker_command_without_an_engine_is_not_docker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = tmp_path / "docker"
    command.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert not docker_answers()
    command.write_text("#!/bin/sh\necho 29.0.0\n")
    assert docker_answers()


def test_no_kubeconfig_is_said_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    with pytest.raises(RuntimeError, match="needs \\$KUBECONFIG"):
        KubeconfigCluster().start()


@pytest.mark.cluster
def test_a_cluster_of_somebody_else_is_used_and_left_alone(
    local_cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(local_cluster.kubeconfig))
    with KubeconfigCluster() as same:
        assert same.server == local_cluster.server
        assert same.ca.read_bytes() == local_cluster.ca.read_bytes()
        same.kubectl("create", "configmap", "one")
        token = same.kubeconfig_for(same.admin_token())
        folder = same.folder
        assert same.kubectl("auth", "whoami", f"--kubeconfig={token}").count("setpoint-test-admin") == 1
    assert not folder.exists()
    assert local_cluster.kubectl("get", "configmap", "one", "--output=name") == "configmap/one\n"
