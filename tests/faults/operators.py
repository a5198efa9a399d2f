"""Operator processes of these tests: with metrics and probes, and with what a test sets."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from prometheus_client.parser import text_string_to_metric_families
from tests.e2e.conftest import OperatorProcess
from tests.kit.cluster.processes import until
from tests.kit.cluster.workspace import Workspace
from tests.kit.proctree import children, descendants, text

from setpoint.git.worker import main

SECONDS = 120


class Operator(OperatorProcess):
    """An operator process with its metrics, its probes and its log; a context manager."""

    def __init__(self, kubeconfig: Path, folder: Path, **variables: str) -> None:
        self._workspace = Workspace("operator")  # its ports stay its own while it is stopped
        self._metrics, self._probes = self._workspace.port(), self._workspace.port()
        ports = {"SETPOINT_METRICS_PORT": str(self._metrics), "SETPOINT_PROBE_PORT": str(self._probes)}
        super().__init__(kubeconfig, folder, **ports, **variables)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None:
            self.stop()
        self._workspace.close()

    def vary(self, **variables: str) -> None:
        """Start it anew with other variables in its environment."""
        self.stop()
        self._variables = {**self._variables, **variables}
        self.start()

    @property
    def pid(self) -> int | None:
        """Its process id; None once it has ended."""
        return self.process.pid if self.process and self.process.poll() is None else None

    def workers(self) -> set[int]:
        """The process id of the worker that it started."""
        return set(children(self.pid)) if self.pid else set()

    def git_processes(self) -> set[int]:
        """The process ids of those that talk to Git servers: the launcher forks them, whoever started it."""
        below = descendants(self.pid) if self.pid else ()
        launchers = {pid for pid in below if main.__name__ in text(pid, "cmdline")}
        return {child for pid in launchers for child in children(pid)}

    def ended(self, seconds: float = SECONDS) -> int:
        """Wait for its end; returns the exit code."""
        assert self.process
        code = self.process.wait(seconds)
        self.process = None
        return code

    def ready(self) -> bool:
        """What `/readyz` says; False while nobody answers."""
        return self._probed("readyz")

    def alive(self) -> bool:
        """What `/healthz` says; False while nobody answers, as a kubelet takes it."""
        return self._probed("healthz")

    def _probed(self, which: str) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._probes}/{which}", timeout=30) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples with these labels."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        samples = [s for family in text_string_to_metric_families(text) for s in family.samples]
        return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())

    def refused(self, code: int) -> float:
        """How many requests to the API server were answered so (0: not at all)."""
        return self.metric("setpoint_api_requests_total", code=str(code))

    def says(self, words: str, after: int = 0, seconds: float = SECONDS) -> str:
        """Wait until its log has these words beyond a size that it had; returns the line."""
        until(lambda: words in self._said(after), f"log line with {words!r} in {self.log}", seconds)
        return next(line for line in self._said(after).splitlines() if words in line)

    def logged(self) -> int:
        """The size of its log now."""
        return self.log.stat().st_size

    def _said(self, after: int) -> str:
        with self.log.open("rb") as file:
            file.seek(after)
            return file.read().decode(errors="replace")
