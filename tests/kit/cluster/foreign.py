"""Clusters that somebody else runs: the one of $KUBECONFIG, and kind's.

Both end with a kubeconfig in a folder of their own, from which `Cluster` does the rest.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import subprocess
from typing import Any, Self

from tests.kit.cluster import binaries, components
from tests.kit.cluster.base import Cluster
from tests.kit.cluster.processes import Child
from tests.kit.cluster.workspace import Workspace

DOCKER_SECONDS = 10
FLATTEN = ("config", "view", "--raw", "--minify", "--flatten")


class KubeconfigCluster(Cluster):
    """The current context of $KUBECONFIG; nothing of it is started or stopped."""

    def start(self) -> Self:
        """Copy the credentials, so that a later change of the context does not move the tests elsewhere."""
        if not os.environ.get("KUBECONFIG"):
            raise RuntimeError("SETPOINT_TEST_CLUSTER=kubeconfig needs $KUBECONFIG to name a kubeconfig file")
        self._workspace = Workspace()
        self.folder = self._workspace.path
        self.kubeconfig = self.folder / "admin.kubeconfig"
        command = [str(binaries.kubectl()), *FLATTEN]
        try:
            self.kubeconfig.touch(mode=0o600)
            self.kubeconfig.write_bytes(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
            self.kubectl("get", "--raw=/readyz")
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Forget the credentials."""
        self._workspace.close()


class KindCluster(Cluster):
    """Kubernetes in Docker, through pytest-kind; with `kwok`, all pods go to a fake node."""

    def __init__(self, *, kwok: bool = False) -> None:
        self._kwok = kwok
        self._kwok_process: Child | None = None
        self._workspace: Workspace | None = None
        self._kind: Any = None

    def start(self) -> Self:
        """Create the cluster and wait until it takes pods; a failure leaves nothing behind."""
        from pytest_kind import KindCluster as Kind  # type: ignore[import-untyped]

        workspace = self._workspace = Workspace()
        self.folder = workspace.path
        self.kubeconfig = self.folder / "admin.kubeconfig"
        programs = binaries.ensure("kind", "kubectl", *(["kwok"] if self._kwok else []))
        atexit.register(self.stop)
        try:
            with contextlib.chdir(self.folder):  # it makes a folder of its own in the current one
                name = f"setpoint-test-{os.getpid()}-{workspace.port()}"
                self._kind = Kind(name, self.kubeconfig, None, programs["kind"], programs["kubectl"])
                self._kind.create()
            self.kubectl(
                "wait", "--for=create", "--timeout=60s", "serviceaccount/default", "--namespace=default"
            )
            if self._kwok:
                self._fake_node()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Delete the cluster; harmless when there is none."""
        atexit.unregister(self.stop)
        if self._kwok_process is not None:
            self._kwok_process.kill()
        if self._kind is not None:
            self._kind.delete()
            if api := getattr(self._kind, "api", None):
                api.session.close()
            self._kind = None
        if self._workspace is not None:
            self._workspace.close()
            self._workspace = None

    def _fake_node(self) -> None:
        self.kubectl("cordon", "--selector=node-role.kubernetes.io/control-plane")
        self.kubectl("create", "--filename=-", input=components.FAKE_NODE)
        self._kwok_process = Child("kwok", components.kwok(self.kubeconfig), self.folder / "kwok.log")
        self.kubectl("wait", "--for=condition=Ready", "--timeout=60s", f"node/{components.FAKE_NODE_NAME}")


def docker_answers() -> bool:
    """Whether a Docker engine can be reached, which the docker command alone does not mean."""
    if shutil.which("docker") is None:
        return False
    command = ["docker", "info", "--format", "{{.ServerVersion}}"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DOCKER_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return result.returncode == 0 and bool(result.stdout.strip())
