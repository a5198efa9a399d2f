"""Where a bench takes place: a fresh cluster with the chart, a Git server, and the operator as a process of its own."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench import counting, tree, workload
from tests.bench.client import Client
from tests.kit.chart import install
from tests.kit.cluster.base import Cluster
from tests.kit.cluster.local import LocalCluster
from tests.kit.cluster.operator import SYSTEM, environment
from tests.kit.cluster.workspace import Workspace
from tests.kit.servers.githttp import GitHttp
from tests.kit.servers.repo import Repo

ROOT = Path(__file__).parents[2]
OPERATOR = f"system:serviceaccount:{SYSTEM}:setpoint"
DEPLOYER = f"system:serviceaccount:{workload.HOME}:{workload.ACCOUNT}"
QUIET_SHARE = 0.05
"""Of one core; below it, for `QUIET_SECONDS`, nothing is going on."""
QUIET_SECONDS = 1.0
LONGEST = 900.0


class Operator:
    """`setpoint run` under the chart's ServiceAccount. `profile`: a folder for a profile of each run."""

    def __init__(self, kubeconfig: Path, folder: Path, profile: Path | None = None) -> None:
        self.log = folder / "operator.log"
        self._kubeconfig, self._folder, self._profile = kubeconfig, folder, profile
        self._process: subprocess.Popen[bytes] | None = None
        self._workspace = Workspace("operator")
        self._port = self._workspace.port()

    def close(self) -> None:
        """Stop it, and give its port back."""
        self.stop()
        self._workspace.close()

    @property
    def pid(self) -> int:
        """The process at the root of the tree."""
        assert self._process
        return self._process.pid

    def start(self) -> None:
        """Start it; returns at once."""
        # As it logs by default, for that is part of what it costs.
        settings = {"SETPOINT_METRICS_PORT": str(self._port), "SETPOINT_LOG_FORMAT": "json"}
        program = ["-m", "setpoint"]
        if self._profile:
            program = ["-m", "tests.bench.profiled", str(self._profile)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *program, "run", "--kubeconfig", str(self._kubeconfig)],
                env=environment(self._folder, **settings),
                stdout=log,
                stderr=log,
                cwd=ROOT,
            )

    def stop(self) -> None:
        """End it in order."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(60)
            self._process = None

    def cpu(self) -> tree.Shares:
        """CPU seconds of the whole tree so far."""
        return tree.cpu_seconds(self.pid)

    def memory(self) -> tree.Shares:
        """PSS of the whole tree, in bytes."""
        return tree.memory_bytes(self.pid)

    def cached(self) -> int:
        """Bytes of its cache on disk."""
        return sum(f.stat().st_size for f in (self._folder / "cache").rglob("*") if f.is_file())

    def metric(self, name: str, labels: str = "") -> float:
        """The sum of one of its own metrics, over the series whose labels hold a text."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        lines = re.findall(rf"^{name}(\{{[^}}]*\}})? (\S+)$", text, re.MULTILINE)
        return sum(float(value) for found, value in lines if labels in found)

    def held(self) -> dict[str, float]:
        """For how long its event loop was held at most since its start, in milliseconds; nothing if it does not tell.

        As far as it had the CPU: whoever else uses this machine must not change a verdict.
        """
        found = {}
        for key, kind in (("held_ms", "busy_hold"), ("late_ms", "hold")):
            if seconds := self.metric(f"setpoint_loop_longest_{kind}_seconds", 'over="start"'):
                found[key] = seconds * 1000
        return found

    def quiet(self) -> float:
        """Wait until it uses next to no CPU; returns when that began (time.monotonic)."""
        deadline = time.monotonic() + LONGEST
        began, spent = time.monotonic(), self.cpu().both
        while time.monotonic() - began < QUIET_SECONDS:
            if time.monotonic() > deadline:
                raise TimeoutError("the operator is never quiet")
            time.sleep(0.1)
            now = self.cpu().both
            if now - spent > QUIET_SHARE * QUIET_SECONDS:
                began, spent = time.monotonic(), now
        return began

    def evaluated(self, count: int) -> float:
        """Wait until it is quiet after its start, and has looked at so many Syncs; returns when that began."""
        deadline = time.monotonic() + LONGEST
        while time.monotonic() < deadline:
            began = self.quiet()
            with contextlib.suppress(OSError):
                if self.metric("setpoint_reconciles_total", 'kind="Sync"') >= count:
                    return began
        raise TimeoutError(f"{count} Syncs were never evaluated")


@dataclass(frozen=True)
class Cost:
    """What something cost: requests by kind, CPU seconds of operator and worker, and seconds by the clock."""

    requests: Counter[str]
    shares: tree.Shares
    seconds: float

    @property
    def cpu(self) -> float:
        """CPU seconds of both."""
        return self.shares.both

    @property
    def worker(self) -> float:
        """CPU seconds of the worker alone."""
        return self.shares.worker

    @property
    def total(self) -> int:
        """Requests that budgets count."""
        return counting.total(self.requests)

    @property
    def writes(self) -> int:
        """Requests that changed something, besides the lease."""
        return counting.writes(self.requests)


class Stage:
    """A cluster under measurement."""

    def __init__(self, cluster: Cluster, client: Client, folder: Path) -> None:
        self.cluster, self.client, self.folder = cluster, client, folder

    async def counts(self) -> Counter[str]:
        """Requests so far, by kind."""
        return counting.read(await self.client.metrics())

    @asynccontextmanager
    async def cost(self, operator: Operator) -> AsyncIterator[list[Cost]]:
        """Measure what happens inside, until the operator is quiet again; the list has one `Cost` afterwards."""
        before, cpu, began = await self.counts(), operator.cpu(), time.monotonic()
        result: list[Cost] = []
        yield result
        end = operator.quiet()
        requests = await self.counts()
        requests.subtract(before)
        result.append(Cost(requests, operator.cpu().since(cpu), end - began))

    @asynccontextmanager
    async def window(self, operator: Operator) -> AsyncIterator[list[Cost]]:
        """Measure what happens inside, whether the operator is quiet at its end or not."""
        before, cpu, began = await self.counts(), operator.cpu(), time.monotonic()
        result: list[Cost] = []
        yield result
        spent, took = operator.cpu().since(cpu), time.monotonic() - began
        requests = await self.counts()
        requests.subtract(before)
        result.append(Cost(requests, spent, took))

    @contextmanager
    def operator(self, profile: Path | None = None) -> Iterator[Operator]:
        """Run an operator, and end it."""
        token = self.cluster.service_account_token(SYSTEM, "setpoint")
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        process = Operator(self.cluster.kubeconfig_for(token), folder, profile)
        process.start()
        try:
            yield process
        finally:
            process.close()


@asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    """Yield a fresh cluster with the chart, the namespaces, the deployer's account, and counters."""
    with LocalCluster() as cluster, tempfile.TemporaryDirectory() as folder:
        install(cluster)
        async with Client(cluster) as client:
            for name in (workload.HOME, workload.TARGET):
                await client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
            await client.apply(
                {
                    "apiVersion": "v1",
                    "kind": "ServiceAccount",
                    "metadata": {"name": workload.ACCOUNT, "namespace": workload.HOME},
                }
            )
            await client.apply(_binding())
            for schema in counting.schemas((OPERATOR, DEPLOYER)):
                await client.apply(schema)
            yield Stage(cluster, client, Path(folder))


def _binding() -> dict[str, object]:
    subject = {"kind": "ServiceAccount", "name": workload.ACCOUNT, "namespace": workload.HOME}
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "bench-deployer"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [subject],
    }


@contextmanager
def repository(files: dict[str, str]) -> Iterator[tuple[Repo, str]]:
    """A repository with one commit, served by git http-backend; the repository and its URL."""
    with tempfile.TemporaryDirectory() as folder, GitHttp(Path(folder)) as server:
        repo = server.repo("bench")
        repo.commit(files, "First")
        yield repo, server.url("bench")
