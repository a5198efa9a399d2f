"""The demo's side of the supervisor: what there is, and its end.

In: nothing. Out: paths and a URL; as a context manager it ends everything that it was not told to keep.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.demo.screen import DemoError, Screen
from tests.demo.supervisor import PROGRAMS, Kind
from tests.kit.cluster.processes import lives
from tests.kit.cluster.workspace import sweep
from tests.kit.prepare import prepare

ROOT = Path(__file__).parents[2]
STOP_SECONDS = 30
ASIDE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


class Stage:
    """A cluster and a Git server, and once `operator` was called, the operator."""

    def __init__(self, screen: Screen, kind: Kind) -> None:
        self._screen, self.kind = screen, kind
        self._process: subprocess.Popen[str] | None = None
        self._kept = False
        self.operator_pid = 0

    def __enter__(self) -> Self:
        self._prepare()
        self._screen.headline("A cluster and a Git server, both real, on this machine")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.demo", "--supervise", self.kind.value],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for the demo, which ends it in order
        )
        try:
            self._set(self._heard())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # An interrupted or crashed demo leaves nothing, whatever was asked for.
        if self._kept and kind is None:
            self._let_go()
        else:
            self._end()

    @property
    def operator_log(self) -> Path:
        """What the operator writes."""
        return self.folder / "operator.log"

    @property
    def clone(self) -> Path:
        """The work tree of the person in the story."""
        return self.folder / "shop"

    @property
    def programs(self) -> Path:
        """A folder with kubectl, helm and kustomize."""
        return self.folder / "bin"

    def operator(self) -> None:
        """Start the operator, or follow what its pod logs; the chart must be installed."""
        self.operator_pid = int(self._ask("operator")["operator"])

    def _prepare(self) -> None:
        """Make what is missing, before anything is shown; may take minutes once, and tells of its progress."""
        pod = self.kind is Kind.POD
        prepare((*ASIDE, *PROGRAMS, *(() if pod else ("kwok",))), with_node=pod, with_image=pod)

    def keep(self) -> None:
        """From now on everything stays, unless the demo is interrupted."""
        self._ask("keep")
        self._kept = True

    def check(self) -> None:
        """Raise DemoError if the operator has ended."""
        if self.operator_pid and not lives(self.operator_pid):
            raise DemoError("the operator has ended")

    def _set(self, facts: dict[str, Any]) -> None:
        self.folder, self.kubeconfig = Path(facts["folder"]), Path(facts["kubeconfig"])
        self.url, self.name = str(facts["url"]), str(facts["name"])
        self._screen.environment = {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": f"{self.programs}{os.pathsep}{os.environ['PATH']}",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_PAGER": "cat",
            "TERM": "dumb",
        }
        self._screen.folder, self._screen.check = self.folder, self.check

    def _ask(self, word: str) -> dict[str, Any]:
        assert self._process
        assert self._process.stdin
        try:
            print(word, file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise DemoError("the process that owns cluster and Git server has ended") from None
        return self._heard()

    def _heard(self) -> dict[str, Any]:
        assert self._process
        assert self._process.stdout
        if line := self._process.stdout.readline():
            return dict(json.loads(line))
        raise DemoError("cluster and Git server did not start; the reason stands above")

    def _end(self) -> None:
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()  # the kernel kills the components with it
            process.communicate()
            sweep()

    def _let_go(self) -> None:
        assert self._process
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.returncode = (
            0  # it lives on without us; a Popen forgotten while its process lives warns
        )
