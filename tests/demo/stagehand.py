"""The process that owns cluster, Git server and operator, so that they end with the demo, or outlive it.

In: words on stdin (`operator`, `keep`), and its end. Out: one JSON object a line on stdout. When stdin ends, however
the demo ended, everything is removed; after `keep` it stays until SIGTERM.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from tests.cluster.base import Cluster
from tests.cluster.binaries import ensure
from tests.cluster.local import LocalCluster
from tests.cluster.processes import Child
from tests.cluster.workspace import Workspace
from tests.demo import kept
from tests.servers.githttp import GitHttp

SYSTEM = "setpoint-system"
ACCOUNT = "setpoint"
PROGRAMS = ("kubectl", "helm", "kustomize")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def supervise() -> int:
    """Run until told to end."""
    try:
        with ExitStack() as things:
            publish = things.enter_context(kept.owner())
            folder, cluster = _build(things)
            for word in sys.stdin:
                if word.strip() == "operator":
                    operator = things.enter_context(_operator(folder, cluster))
                    things.callback(_ignore_signals)  # runs first: nothing may interrupt the removal
                    _tell(operator=operator.pid, log=str(operator.log))
                elif word.strip() == "keep":
                    publish()
                    _stay(folder)
                    while True:
                        signal.pause()
    except KeyboardInterrupt:
        return 0  # SIGTERM is how it is ended
    return 0


def _build(things: ExitStack) -> tuple[Path, Cluster]:
    folder = things.enter_context(closing(Workspace("demo"))).path
    cluster = things.enter_context(LocalCluster(kwok=True))
    git = things.enter_context(GitHttp(folder / "git"))
    things.callback(_ignore_signals)
    git.repo("shop").git("config", "http.receivepack", "true")
    cluster.kubectl("config", "set-context", "--current", "--namespace=shop")
    (folder / "bin").mkdir()
    for name, path in ensure(*PROGRAMS).items():
        (folder / "bin" / name).symlink_to(path)
    _tell(folder=str(folder), kubeconfig=str(cluster.kubeconfig), url=git.url("shop"), name=str(os.getpid()))
    return folder, cluster


@contextmanager
def _operator(folder: Path, cluster: Cluster) -> Iterator[Child]:
    """`python -m setpoint run` under the chart's account, as its pod would; there is no kubelet to run one."""
    # A day, for who keeps it: the token is read once.
    token = cluster.kubectl("create", "token", ACCOUNT, f"--namespace={SYSTEM}", "--duration=24h").strip()
    settings = {
        "SETPOINT_NAMESPACE": SYSTEM,
        "SETPOINT_CACHE_DIR": str(folder / "cache"),
        "SETPOINT_KUSTOMIZE": str(folder / "bin" / "kustomize"),
        "SETPOINT_METRICS_PORT": "0",
        "SETPOINT_PROBE_PORT": "0",
        "SETPOINT_LOG_FORMAT": "text",
    }
    command = [sys.executable, "-m", "setpoint", "run", "--kubeconfig", str(cluster.kubeconfig_for(token))]
    assignments = [f"{key}={value}" for key, value in settings.items()]
    child = Child("operator", ["env", *assignments, *command], folder / "operator.log")
    try:
        yield child
    finally:
        child.kill()


def _stay(folder: Path) -> None:
    """Let go of the terminal: whoever reads the demo's output must see its end."""
    _tell(kept=True)
    log = os.open(folder / "supervisor.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number in (1, 2):
        os.dup2(log, number)
    os.close(log)


def _tell(**facts: object) -> None:
    print(json.dumps(facts), flush=True)


def _ignore_signals() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
