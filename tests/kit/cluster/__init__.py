"""A Kubernetes for tests, demo and bench: whichever this machine can have.

`SETPOINT_TEST_CLUSTER` chooses: `local` (processes on this machine), `node` (the same with a real node; there, tests/e2e run
against the operator as a pod), `kind` (needs Docker), `kubeconfig` (the cluster that $KUBECONFIG points to). Without it: kind where a Docker engine answers, else local.
`SETPOINT_TEST_KUBERNETES=1.31` has the servers of that version, as processes without a node.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.kit.cluster.base import Cluster


def provide(*, scheduler: bool = False, kwok: bool = False) -> Cluster:
    """A cluster that is not started yet; use it in a `with`, or call `start` and `stop`.

    With `kwok`, pods become Ready whatever their image; a cluster from $KUBECONFIG must do that by itself.
    Raises ValueError for an unknown choice.
    """
    # Imported late, so that `python -m tests.kit.cluster.binaries` works before anything is installed.
    from tests.kit.cluster.foreign import KindCluster, KubeconfigCluster, docker_answers
    from tests.kit.cluster.local import LocalCluster

    if os.environ.get("SETPOINT_TEST_KUBERNETES"):
        return LocalCluster(scheduler=scheduler, kwok=kwok)
    match os.environ.get("SETPOINT_TEST_CLUSTER") or ("kind" if docker_answers() else "local"):
        case "local":
            return LocalCluster(scheduler=scheduler, kwok=kwok)
        case "node":
            return LocalCluster(scheduler=scheduler, kwok=kwok, node=not kwok)
        case "kind":
            return KindCluster(kwok=kwok)
        case "kubeconfig":
            return KubeconfigCluster()
        case other:
            raise ValueError(f"SETPOINT_TEST_CLUSTER is {other!r}: use local, node, kind or kubeconfig")
