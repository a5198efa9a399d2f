"""A cluster for the sweep, the chart in it, a Git server, and an operator behind a counting proxy."""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.compat.catalog import Kind
from tests.compat.server import Server
from tests.compat.sweep import Sweep
from tests.e2e.conftest import OperatorProcess, World
from tests.kit.api import Api
from tests.kit.chart import install
from tests.kit.cluster.local import LocalCluster
from tests.kit.cluster.operator import SYSTEM
from tests.kit.cluster.processes import interrupt_on_sigterm
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.githttp import GitHttp


@contextmanager
def sweep_of(kinds: Iterable[Kind], say: Callable[[str], None]) -> Iterator[Sweep]:
    """Start everything for a sweep of some kinds, and end everything."""
    interrupt_on_sigterm()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="setpoint-compat-")))
        cluster = stack.enter_context(LocalCluster())
        install(cluster)
        git = stack.enter_context(GitHttp(folder / "git"))
        proxy = stack.enter_context(ApiProxy(cluster))
        server = Server(cluster)
        stack.callback(server.close)
        login = proxy.kubeconfig(cluster.service_account_token(SYSTEM, "setpoint"))
        operator = OperatorProcess(login, folder)
        operator.start()
        stack.callback(lambda: operator.process and operator.stop(signal.SIGKILL))
        yield Sweep(World(cluster, Api(cluster), git), proxy, operator, server, kinds, say)


def to_stderr(text: str) -> None:
    """Tell how far it came."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
