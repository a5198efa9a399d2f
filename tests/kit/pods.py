"""The operator under test as a pod: the chart's Deployment on a real node, with the image of this checkout."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Protocol

from tests.kit.api import Api, Json
from tests.kit.chart import install
from tests.kit.cluster import binaries
from tests.kit.cluster.local import LocalCluster
from tests.kit.cluster.nodespace import enter, run
from tests.kit.cluster.operator import SYSTEM
from tests.kit.cluster.processes import Child, until
from tests.kit.servers.apiproxy import ApiProxy

DEPLOYMENT = "deployment/setpoint"
SECONDS = 180


class UnderTest(Protocol):
    """The operator, in whatever shape; start and stop it as often as a test wants."""

    log: Path

    def start(self) -> None: ...
    def stop(self, number: int = signal.SIGTERM) -> int: ...
    def forget_cache(self) -> None: ...
    @property
    def running(self) -> bool: ...


class OperatorPod:
    """One pod of the chart, which reaches the API server through a proxy; while it is stopped there is none."""

    def __init__(self, cluster: LocalCluster, api: Api, proxy: ApiProxy, folder: Path) -> None:
        self._cluster, self._api = cluster, api
        self.log = folder / "operator.log"
        self._name = ""
        self._reader: Child | None = None
        # The worker's environment has the address of the Service, and is told this one.
        variables = {"KUBERNETES_SERVICE_HOST": cluster.host, "KUBERNETES_SERVICE_PORT": str(proxy.port)}
        values = {
            "extraEnv": [{"name": name, "value": value} for name, value in variables.items()],
            "leaderElection": {"leaseDuration": "30s"},
            "logFormat": "text",
        }
        file = folder / "values.json"
        file.write_text(json.dumps(values))
        install(cluster, "--values", str(file))

    @property
    def running(self) -> bool:
        """Whether it was started and not stopped."""
        return self._reader is not None

    def start(self) -> None:
        """Have one pod, and wait until it is Ready: it works, or waits for the lease."""
        scale(self._cluster, 1)
        self._name = only(self._api)["metadata"]["name"]
        command = [binaries.kubectl(), "--kubeconfig", self._cluster.kubeconfig, "--namespace", SYSTEM]
        self._reader = Child("log", [*map(str, command), "logs", "--follow", self._name], self.log)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Have none; the exit code, 137 after SIGKILL: then it did nothing any more after this call."""
        assert self._reader
        pod = only(self._api)
        assert restarts([pod]) == [0], f"the operator ended by itself:\n{self.log.read_text()[-3000:]}"
        if number == signal.SIGKILL:
            send(self._cluster, pod, signal.SIGSTOP)
        self._cluster.kubectl("scale", DEPLOYMENT, "--replicas=0", "--namespace", SYSTEM)
        if number == signal.SIGKILL:
            # The kubelet must know by then that it is to go: it would start it again.
            self._api.until(
                "Pod", SYSTEM, self._name, lambda o: o is None or "deletionTimestamp" in o["metadata"]
            )
            send(self._cluster, pod, signal.SIGKILL)
        code = self._ended(pod)
        reader, self._reader = self._reader, None
        until(lambda: not reader.running, "end of the log", SECONDS)
        reader.kill()
        return code

    def forget_cache(self) -> None:
        """Do nothing: each pod begins with an empty one."""

    def _ended(self, last: Json) -> int:
        codes: list[int] = []

        def gone(pod: Json | None) -> bool:
            codes.extend(exit_codes(pod))
            return pod is None

        self._api.since("Pod", last, gone, SECONDS)  # its end may be seen but for a moment
        return codes[-1]


def scale(cluster: LocalCluster, replicas: int) -> None:
    """Have so many operators, and wait until they are Ready."""
    cluster.kubectl("scale", DEPLOYMENT, f"--replicas={replicas}", "--namespace", SYSTEM)
    rolled_out(cluster)


def rolled_out(cluster: LocalCluster) -> None:
    """Wait until the newest pods are Ready, and the others gone or going."""
    cluster.kubectl("rollout", "status", DEPLOYMENT, "--namespace", SYSTEM, f"--timeout={SECONDS}s")


def operators(api: Api) -> list[Json]:
    """Return the operator's pods, but those that are going away."""
    return [p for p in api.list("Pod", SYSTEM) if "deletionTimestamp" not in p["metadata"]]


def only(api: Api) -> Json:
    """Return the one pod that there is."""
    (pod,) = operators(api)
    return pod


def restarts(found: list[Json]) -> list[int]:
    """Return how often the kubelet had to start a container of each pod again, whichever it was."""
    return [sum(each["restartCount"] for each in pod["status"]["containerStatuses"]) for pod in found]


def status(pod: Json | None, name: str = "operator") -> Json:
    """Return what the kubelet says of a container; nothing as long as it says nothing."""
    statuses = ((pod or {}).get("status") or {}).get("containerStatuses") or []
    return next((each for each in statuses if each["name"] == name), {})


def container(pod: Json, name: str = "operator") -> str:
    """Return the name of a container of it, as containerd knows it."""
    found: str = status(pod, name)["containerID"]
    return found.removeprefix("containerd://")


def send(cluster: LocalCluster, pod: Json, number: int, name: str = "operator") -> None:
    """Send a signal to the first process of a container, past the kubelet."""
    cluster.node.ctr("tasks", "kill", "--signal", str(int(number)), container(pod, name))


def first(cluster: LocalCluster, pod: Json, name: str = "operator") -> int:
    """Return the first process of a container, as the node numbers it."""
    lines = [line.split() for line in cluster.node.ctr("tasks", "list").splitlines()]
    return int(next(line[1] for line in lines if line[0] == container(pod, name)))


def process(cluster: LocalCluster, pod: Json, file: str, name: str = "operator") -> str:
    """Return what a file in /proc says of the first process of a container."""
    return run(*enter(cluster.node.init, "cat", f"/proc/{first(cluster, pod, name)}/{file}"))


def exit_codes(pod: Json | None) -> list[int]:
    """Return how the operator of a pod ended, if it has."""
    state = status(pod).get("state") or {}
    return [state["terminated"]["exitCode"]] if "terminated" in state else []
