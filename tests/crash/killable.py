"""An operator that may be killed at any moment, and is started again at once: a pod with `restartPolicy: Always`."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.kit.cluster.operator import environment
from tests.kit.cluster.processes import birth, until
from tests.kit.proctree import descendants

ROOT = Path(__file__).parents[2]
WAIT_SECONDS = 60.0


class KillableOperator:
    """See the module; a context manager. `kill` may be called from any thread."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        self.folder, self.log, self.kills = folder, folder / "operator.log", 0
        self._kubeconfig = kubeconfig
        self._changed = threading.Condition()
        self._pid = 0
        self._meant = self._closing = False
        self._orphans: set[tuple[int, int | None]] = set()
        self.accidents: list[str] = []
        """Ends that nobody asked for."""

    def __enter__(self) -> Self:
        command = [
            sys.executable,
            "-m",
            "tests.crash.forkserver",
            "run",
            "--kubeconfig",
            str(self._kubeconfig),
        ]
        with self.log.open("ab") as log:
            self._forkserver = subprocess.Popen(
                command,
                env=self._environment(),
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._follower = threading.Thread(target=self._follow, name="operator lives")
        self._follower.start()
        self._start()
        self.reborn()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._closing = True
            if self._pid:
                os.kill(self._pid, signal.SIGKILL)
        assert self._forkserver.stdin
        with contextlib.suppress(BrokenPipeError):
            self._forkserver.stdin.close()
        self._forkserver.wait(WAIT_SECONDS)
        self._follower.join()
        assert self._forkserver.stdout
        self._forkserver.stdout.close()

    def _environment(self) -> Mapping[str, str]:
        # There is one operator at a time, and whoever takes over from a dead one waits out its lease: 15 seconds
        # for each kill. Taking over has tests of its own.
        return environment(self.folder, SETPOINT_LEADER_ELECTION="false")

    def reborn(self) -> int:
        """Wait until no kill is pending and the operator runs; returns its process id."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._pid and not self._meant, WAIT_SECONDS)
            return self._pid

    def kill(self) -> None:
        """SIGKILL, at once; harmless while there is no life to take."""
        with self._changed:
            if not self._pid or self._meant:
                return
            self._meant = True
            self.kills += 1
            self._orphans |= {(child, birth(child)) for child in descendants(self._pid)}
            os.kill(self._pid, signal.SIGKILL)

    def no_orphans(self) -> None:
        """Wait until all children of all former lives are gone."""
        until(
            lambda: not any(began and birth(pid) == began for pid, began in self._orphans),
            "end of a dead operator's children",
            WAIT_SECONDS,
        )
        self._orphans.clear()

    def _start(self) -> None:
        assert self._forkserver.stdin
        self._forkserver.stdin.write("start\n")
        self._forkserver.stdin.flush()

    def _follow(self) -> None:
        assert self._forkserver.stdout
        for line in self._forkserver.stdout:
            word, _, value = line.strip().partition(" ")
            with self._changed:
                self._pid = int(value) if word == "pid" else 0
                if word == "ended" and not self._closing:
                    if not self._meant:
                        self.accidents.append(f"the operator ended by itself, wait status {value}")
                    self._meant = False
                    self._start()
                self._changed.notify_all()
