"""A real Kubernetes control plane as plain child processes: no Docker, ready in seconds.

In: which extras to run. Out: a `Cluster` whose API server is the real one, with etcd and the controllers. Only a real
node needs root.
Everything lives in one temporary folder and dies with the process that started it.
"""

from __future__ import annotations

import atexit
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Self

from tests.kit.cluster import binaries, components
from tests.kit.cluster import node as nodes
from tests.kit.cluster.base import Cluster
from tests.kit.cluster.node import Node
from tests.kit.cluster.nodespace import Network
from tests.kit.cluster.pki import Authority
from tests.kit.cluster.processes import Child, until
from tests.kit.cluster.workspace import Workspace, is_free

START_SECONDS = 240
# A namespace without its default account refuses pods; a controller that has an account of its own has started.
ACCOUNTS = (
    "/api/v1/namespaces/default/serviceaccounts/default",
    "/api/v1/namespaces/kube-system/serviceaccounts/deployment-controller",
)


class LocalCluster(Cluster):
    """etcd, kube-apiserver and kube-controller-manager.

    `scheduler` adds kube-scheduler; `kwok` adds a fake node as well, on which every pod becomes Ready; `node` adds a real
    one, which runs containers of images that `load` gave it.
    """

    def __init__(self, *, scheduler: bool = False, kwok: bool = False, node: bool = False) -> None:
        self._extras = [
            *(["kube-scheduler"] if scheduler or kwok or node else []),
            *(["kwok"] if kwok else []),
        ]
        self._with_node = node
        self._node: Node | None = None
        self._children: dict[str, Child] = {}
        self._workspace: Workspace | None = None
        self._owner = 0

    def start(self) -> Self:
        """Start everything and wait until the API is ready and controllers work; if that fails, undo it."""
        names = ("etcd", "kube-apiserver", "kube-controller-manager", *self._extras)
        binaries.ensure(*names)  # may take minutes once, and must not count as starting
        if self._with_node:
            self._ensure_node()
        workspace = self._workspace = Workspace()
        self._owner = os.getpid()
        atexit.register(self.stop)
        self.folder = workspace.path
        api, etcd, peer = (workspace.port() for _ in range(3))
        network = Network(workspace.network()) if self._with_node else None
        listens = {"address": network.host} if network else {}
        self._layout = components.Layout(self.folder, api, etcd, peer, **listens)
        self.kubeconfig = self._layout.kubeconfig("admin")
        try:
            components.write_credentials(self._layout)
            if network:
                self._prepare_node(network)
            self._start_components()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Kill every component and remove every file; harmless when nothing runs."""
        if self._workspace is None or os.getpid() != self._owner:  # a fork owns nothing
            return
        atexit.unregister(self.stop)
        if self._node is not None:
            self._node.stop()
            self._node = None
        for name in sorted(
            self._children, key="etcd".__eq__
        ):  # etcd last: without it, kube-apiserver lingers
            self._end(name)
        self._workspace.close()
        self._workspace = None

    def load(self, archive: Path) -> None:
        """Load an image archive (OCI or Docker) into the node."""
        assert self._node, "only a cluster with a node holds images"
        self._node.load(archive)

    @property
    def node(self) -> Node:
        """The real node."""
        assert self._node, "this cluster was started without a node"
        return self._node

    @property
    def host(self) -> str:
        """The address of the API server, which pods of a node can reach."""
        return self._layout.address

    @property
    def authority(self) -> Authority:
        """The authority of the cluster, whose certificate every pod has."""
        return Authority.at(self._layout.pki)

    @property
    def pids(self) -> dict[str, int]:
        """Component -> process id, of what runs now."""
        children = {**self._children, **(self._node.children if self._node else {})}
        return {name: child.pid for name, child in children.items() if child.running}

    def logs(self, component: str) -> str:
        """Everything that one component wrote."""
        return (self.folder / f"{component}.log").read_text(errors="replace")

    def restart_apiserver(self) -> None:
        """Kill kube-apiserver and start it again on the same port: every watch breaks, nothing is lost."""
        self.stop_apiserver()
        self.start_apiserver()

    def stop_apiserver(self) -> None:
        """Kill kube-apiserver: connections are refused from now on."""
        self._end("kube-apiserver")

    def start_apiserver(self) -> None:
        """Start kube-apiserver and wait until it is ready."""
        self._wait(
            lambda: is_free(self._layout.api_port, self._layout.address),
            f"port {self._layout.api_port} given back",
        )
        self._run("kube-apiserver", components.apiserver(self._layout))
        self._wait(self._ready, "ready kube-apiserver")

    def stop_etcd(self) -> None:
        """Kill etcd: from now on the API server answers, but with errors."""
        self._end("etcd")

    def start_etcd(self) -> None:
        """Start etcd with the data it had, and wait until the API, if it is served, is ready."""
        self._wait(lambda: is_free(self._layout.etcd_port), f"port {self._layout.etcd_port} given back")
        self._run("etcd", components.etcd(self._layout))
        if "kube-apiserver" in self._children:
            self._wait(self._ready, "etcd behind kube-apiserver")

    def _start_components(self) -> None:
        self.start_etcd()
        self.start_apiserver()
        self._run("kube-controller-manager", components.controller_manager(self._layout))
        if "kube-scheduler" in self._extras:
            self._run("kube-scheduler", components.scheduler(self._layout))
        self._wait(lambda: all(map(self._answers, ACCOUNTS)), "kube-controller-manager at work")
        if "kwok" in self._extras:
            self.kubectl("create", "--filename=-", input=components.FAKE_NODE)
            self._run("kwok", components.kwok(self._layout.kubeconfig("kwok")))
            self._wait(lambda: self._node_ready(components.FAKE_NODE_NAME), "ready node")
        if self._node is not None:
            self._start_node(self._node)

    def _ensure_node(self) -> None:
        if reason := nodes.unavailable():
            raise RuntimeError(reason)
        nodes.ensure()

    def _prepare_node(self, network: Network) -> None:
        authority = self._layout.pki / "ca.crt"
        self._node = Node(self.folder / "node", network, self._layout.kubeconfig, authority)
        self._node.prepare()

    def _start_node(self, node: Node) -> None:
        node.start()
        children = (*self._children.values(), *node.children.values())
        until(lambda: self._node_ready(components.NODE_NAME), "ready node", START_SECONDS, children)

    def _run(self, name: str, command: list[str]) -> None:
        self._children[name] = Child(name, command, self.folder / f"{name}.log")

    def _end(self, name: str) -> None:
        if child := self._children.pop(name, None):
            child.kill()

    def _wait(self, ready: Callable[[], bool], what: str) -> None:
        until(ready, what, START_SECONDS, tuple(self._children.values()))

    def _ready(self) -> bool:
        # /readyz remembers what it last heard from etcd; a single object is always read from there.
        return self._answers("/readyz") and self._answers("/api/v1/namespaces/kube-system")

    def _node_ready(self, name: str) -> bool:
        condition = '--output=jsonpath={.status.conditions[?(@.type=="Ready")].status}'
        return self.kubectl("get", "node", name, "--ignore-not-found", condition) == "True"

    def _answers(self, path: str) -> bool:
        context = ssl.create_default_context(cafile=self._layout.pki / "ca.crt")
        pair = self._layout.pair("admin")
        context.load_cert_chain(pair.certificate, pair.key)
        try:
            with urllib.request.urlopen(f"{self._layout.server}{path}", context=context, timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False
