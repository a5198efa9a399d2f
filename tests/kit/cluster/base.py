"""What every test cluster can do, whoever runs it: all of it follows from an administrator's kubeconfig."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.kit.cluster import binaries, kubeconfig
from tests.kit.cluster.pki import Authority

ADMIN = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: setpoint-test-admin, namespace: kube-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: setpoint-test-admin}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, name: setpoint-test-admin, namespace: kube-system}]
"""


class KubectlError(RuntimeError):
    """A kubectl command failed; the message is the command and what it wrote on stderr."""


class Cluster:
    """A running Kubernetes; as a context manager it stops at the end what it started."""

    kubeconfig: Path
    folder: Path

    def start(self) -> Self:
        """Bring the cluster up, ready for use."""
        raise NotImplementedError

    def stop(self) -> None:
        """Undo what `start` did."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def host(self) -> str:
        """An address of this machine at which test servers listen, for whatever runs in the cluster and may need them."""
        return "127.0.0.1"

    @property
    def authority(self) -> Authority | None:
        """Who signs for servers that pods of the cluster trust; None where the key is somebody else's."""
        return None

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return kubeconfig.endpoint(self.kubeconfig).server

    @property
    def ca(self) -> Path:
        """The certificate that the API server is trusted by."""
        path = self.folder / "server-ca.crt"
        path.write_bytes(kubeconfig.endpoint(self.kubeconfig).ca or b"")
        return path

    def kubectl(self, *args: str, input: str | None = None, check: bool = True) -> str:  # noqa: A002 - as in subprocess
        """Run kubectl as administrator; its stdout. Raises KubectlError when it fails and `check` is true."""
        # A cache of our own: discovery is cached by host and port, which another cluster may have had before.
        base = [str(binaries.kubectl()), f"--cache-dir={self.folder / 'kubectl-cache'}"]
        result = subprocess.run(
            [*base, *args],
            input=input,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
        )
        if check and result.returncode:
            raise KubectlError(f"kubectl {' '.join(args)}: {result.stderr.strip() or result.stdout.strip()}")
        return result.stdout

    def service_account_token(self, namespace: str, name: str) -> str:
        """A token of that ServiceAccount, valid for an hour (TokenRequest)."""
        return self.kubectl("create", "token", name, "--namespace", namespace).strip()

    def kubeconfig_for(self, token: str) -> Path:
        """A kubeconfig for whoever owns this bearer token."""
        number = len(list(self.folder.glob("token-*.kubeconfig")))
        path = self.folder / f"token-{number}.kubeconfig"
        return kubeconfig.write(path, kubeconfig.endpoint(self.kubeconfig), {"token": token})

    def admin_token(self) -> str:
        """A bearer token with all rights, for what cannot use the administrator's client certificate."""
        self.kubectl("apply", "--filename=-", input=ADMIN)
        return self.service_account_token("kube-system", "setpoint-test-admin")
