"""Configuration and command lines of what runs on a node, and nothing else.

In: where the node keeps its things, its network, the programs. Out: files and argument lists, like `components`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tests.kit.cluster import binaries
from tests.kit.cluster.components import NODE_NAME as NAME
from tests.kit.cluster.nodespace import Network
from tests.kit.cluster.packages import Programs

SOCKET = "/run/containerd/containerd.sock"  # in the namespaces of the node, where /run is private
PAUSE = "setpoint.local/pause:1"
# They want kernel modules or programs that are not there, and take the plugins that need them along.
DISABLED = (
    "io.containerd.snapshotter.v1.erofs",
    "io.containerd.differ.v1.erofs",
    "io.containerd.mount-handler.v1.erofs",
)
CONTAINERD = """\
version = 3
root = '{folder}/containerd'
state = '/run/containerd'
disabled_plugins = {disabled}
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = '{pause}'
[plugins.'io.containerd.cri.v1.runtime']
# Without CAP_SYS_RESOURCE nobody may lower the score, and runc would die.
restrict_oom_score_adj = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ['{cni}']
conf_dir = '{folder}/cni'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = '{runc}'
"""


@dataclass(frozen=True)
class NodeLayout:
    """What the parts of one node must know."""

    folder: Path
    network: Network
    programs: Programs
    cgroup: str
    kubeconfig: Path
    proxy_kubeconfig: Path
    authority: Path


def containerd(node: NodeLayout) -> list[str]:
    """containerd with runc and CNI; its files are in the node's folder."""
    cni = node.folder / "cni"
    cni.mkdir()
    (cni / "10-node.conflist").write_text(json.dumps(_cni(node)))
    config = node.folder / "containerd.toml"
    runc = node.programs.bin / "runc"
    values = {"folder": node.folder, "disabled": list(DISABLED), "pause": PAUSE}
    config.write_text(CONTAINERD.format(**values, cni=node.programs.cni, runc=runc))
    programs = binaries.ensure("containerd", "containerd-shim-runc-v2", "ctr")
    path = f"PATH={programs['containerd'].parent}:{node.programs.bin}:/usr/sbin:/usr/bin:/sbin:/bin"
    return ["env", path, str(programs["containerd"]), f"--config={config}", "--log-level=warn"]


def kubelet(node: NodeLayout) -> list[str]:
    """kubelet under its own account; whoever has a client certificate of the cluster may ask it anything."""
    config = _write(node.folder / "kubelet.yaml", _kubelet(node))
    return [
        str(binaries.ensure("kubelet")["kubelet"]),
        f"--config={config}",
        f"--kubeconfig={node.kubeconfig}",
        f"--root-dir={node.folder / 'kubelet'}",
        f"--cert-dir={node.folder / 'kubelet-pki'}",
        f"--hostname-override={NAME}",
        f"--node-ip={node.network.node}",
    ]


def kube_proxy(node: NodeLayout) -> list[str]:
    """kube-proxy, so that Services work for pods; nftables needs one program and no kernel module of old."""
    document = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": str(node.proxy_kubeconfig)},
        "hostnameOverride": NAME,
        "clusterCIDR": node.network.pods,
        "bindAddress": node.network.node,
        "conntrack": {"maxPerCore": 0},  # a limit of the machine, which is not ours to change
    }
    config = _write(node.folder / "kube-proxy.yaml", document)
    program = binaries.ensure("kube-proxy")["kube-proxy"]
    return [
        "env",
        f"PATH={node.programs.bin}:/usr/sbin:/usr/bin:/sbin:/bin",
        str(program),
        f"--config={config}",
    ]


def _cni(node: NodeLayout) -> dict[str, Any]:
    """Each pod on a cable of its own: all traffic is routed, and meets the rules for Services."""
    addresses = {
        "type": "host-local",
        "dataDir": "/run/cni",
        "ranges": [[{"subnet": node.network.pods}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    return {"cniVersion": "1.0.0", "name": "node", "plugins": [{"type": "ptp", "ipam": addresses}]}


def _kubelet(node: NodeLayout) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(node.authority)},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{node.cgroup}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "localStorageCapacityIsolation": False,
        "enforceNodeAllocatable": [],
        "evictionHard": {"memory.available": "10Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageMinimumGCAge": "24h",  # no registry could bring an image back
        "imageGCHighThresholdPercent": 100,
        "oomScoreAdj": 0,
        "podLogsDir": "/var/log/pods",
        "resolvConf": "/etc/resolv.conf",
        "volumePluginDir": str(node.folder / "volume-plugins"),
        "nodeStatusUpdateFrequency": "10s",
        "kubeAPIQPS": 100,
        "kubeAPIBurst": 200,
        "registerNode": True,
    }


def _write(path: Path, document: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(document))
    return path
