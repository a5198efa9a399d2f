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
from enum import StrEnum
from pathlib import Path

from image import build
from tests.demo import kept
from tests.kit.cluster import binaries, images
from tests.kit.cluster.base import Cluster
from tests.kit.cluster.binaries import ensure
from tests.kit.cluster.local import LocalCluster
from tests.kit.cluster.operator import LOOPBACK_TOO
from tests.kit.cluster.processes import Child
from tests.kit.cluster.workspace import Workspace
from tests.kit.servers.githttp import GitHttp

SYSTEM = "setpoint-system"
RELEASE = "deployment/setpoint"
ACCOUNT = "setpoint"
PROGRAMS = ("kubectl", "helm", "kustomize")
PAGES = "/usr/share/nginx/html"
# Made here, of one small program that serves files: nothing is pulled. Image -> port.
STAND_INS = {"nginxinc/nginx-unprivileged:1.29-alpine": 8080, "redis:8-alpine": 6379}
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Kind(StrEnum):
    """What the operator is: a process beside a cluster whose pods are played by kwok, or a pod of a real node."""

    PROCESS = "process"
    POD = "pod"


def supervise(kind: Kind) -> int:
    """Run until told to end."""
    try:
        with ExitStack() as things:
            publish = things.enter_context(kept.owner())
            folder, cluster = _build(things, kind)
            for word in sys.stdin:
                if word.strip() == "operator":
                    operator = things.enter_context(OPERATORS[kind](folder, cluster))
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


def _build(things: ExitStack, kind: Kind) -> tuple[Path, LocalCluster]:
    folder = things.enter_context(closing(Workspace("demo"))).path
    cluster = things.enter_context(LocalCluster(kwok=kind is Kind.PROCESS, node=kind is Kind.POD))
    git = things.enter_context(GitHttp(folder / "git", host=cluster.host))
    things.callback(_ignore_signals)
    git.repo("shop").git("config", "http.receivepack", "true")
    cluster.kubectl("config", "set-context", "--current", "--namespace=shop")
    if kind is Kind.POD:
        _load_images(folder, cluster)
    (folder / "bin").mkdir()
    for name, path in ensure(*PROGRAMS).items():
        (folder / "bin" / name).symlink_to(path)
    _tell(folder=str(folder), kubeconfig=str(cluster.kubeconfig), url=git.url("shop"), name=str(os.getpid()))
    return folder, cluster


def _load_images(folder: Path, cluster: LocalCluster) -> None:
    """Load into the node the operator's image, and stand-ins for those of the shop, under the names that the manifests have."""
    cluster.load(build.build().archive.path)
    for name, port in STAND_INS.items():
        serve = f"trap exit TERM; httpd -f -p {port} -h {PAGES} & wait"
        made = images.busybox(folder / "stand-in.tar", name, ("sh", "-c", serve), {f"{PAGES[1:]}/.keep": ""})
        cluster.load(made.path)


@contextmanager
def _pod(folder: Path, cluster: Cluster) -> Iterator[Child]:
    """What the operator's pod logs; it ends with the pod."""
    command = [binaries.kubectl(), "--kubeconfig", cluster.kubeconfig, "--namespace", SYSTEM]
    child = Child("operator", [*map(str, command), "logs", "--follow", RELEASE], folder / "operator.log")
    try:
        yield child
    finally:
        child.kill()


@contextmanager
def _process(folder: Path, cluster: Cluster) -> Iterator[Child]:
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
        "SETPOINT_GIT_ALLOWED_HOSTS": LOOPBACK_TOO,
    }
    command = [sys.executable, "-m", "setpoint", "run", "--kubeconfig", str(cluster.kubeconfig_for(token))]
    assignments = [f"{key}={value}" for key, value in settings.items()]
    child = Child("operator", ["env", *assignments, *command], folder / "operator.log")
    try:
        yield child
    finally:
        child.kill()


OPERATORS = {Kind.PROCESS: _process, Kind.POD: _pod}


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
