"""The command lines of a control plane, and nothing else.

In: a folder, its certificates, ports. Out: argument lists. Where a flag departs from the default, it says why.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml
from tests.kit.cluster import binaries, kubeconfig
from tests.kit.cluster.pki import Authority, Pair, key_pair

STAGES = Path(__file__).with_name("kwok-stages.yaml")
ISSUER = "https://kubernetes.default.svc.cluster.local"
SERVICE_ADDRESS = "10.96.0.1"  # the first of the range of Services
NODE_NAME = "node-0"
FAKE_NODE_NAME = "kwok-node-0"
FAKE_NODE = f"""
apiVersion: v1
kind: Node
metadata:
  name: {FAKE_NODE_NAME}
  labels: {{kubernetes.io/hostname: {FAKE_NODE_NAME}, kubernetes.io/os: linux, kubernetes.io/arch: amd64}}
  annotations: {{kwok.x-k8s.io/node: fake}}
"""


@dataclass(frozen=True)
class Layout:
    """Where one cluster keeps its things, and which ports it has."""

    folder: Path
    api_port: int
    etcd_port: int
    peer_port: int
    address: str = "127.0.0.1"  # where the API server listens; with a node, where its pods reach it

    @property
    def pki(self) -> Path:
        """Folder of keys and certificates."""
        return self.folder / "pki"

    @property
    def server(self) -> str:
        """URL of the API server."""
        return f"https://{self.address}:{self.api_port}"

    def pair(self, name: str) -> Pair:
        """Certificate and key of that name."""
        return Pair(self.pki / f"{name}.crt", self.pki / f"{name}.key")

    def kubeconfig(self, name: str) -> Path:
        """The kubeconfig of one component; `admin` for people."""
        return self.folder / f"{name}.kubeconfig"


def write_credentials(layout: Layout) -> None:
    """Everything that must exist before the first component starts."""
    authority = Authority(layout.pki)
    addresses = dict.fromkeys((layout.address, "127.0.0.1", SERVICE_ADDRESS))
    authority.server("apiserver", *addresses, "localhost", "kubernetes.default.svc")
    key_pair(layout.pki, "service-account")
    # Extension API servers trust the front proxy alone; it must not be the CA of ordinary clients.
    Authority(layout.pki, "front-proxy-ca").client("front-proxy-client", "front-proxy-client")
    endpoint = kubeconfig.Endpoint(layout.server, authority.certificate.read_bytes())
    people = {"admin": ("setpoint-admin", "system:masters")}
    parts: dict[str, tuple[str, ...]] = {
        name: (f"system:{name}",) for name in ("kube-controller-manager", "kube-scheduler")
    }
    parts |= {"kube-proxy": ("system:kube-proxy",), "kubelet": (f"system:node:{NODE_NAME}", "system:nodes")}
    for name, (user, *groups) in {**people, **parts, "kwok": ("kwok", "system:masters")}.items():
        login = kubeconfig.certificate_user(authority.client(name, user, *groups))
        kubeconfig.write(layout.kubeconfig(name), endpoint, login)


def etcd(layout: Layout) -> list[str]:
    """etcd without fsync: the data need not survive the machine."""
    clients, peers = (f"http://127.0.0.1:{port}" for port in (layout.etcd_port, layout.peer_port))
    return [
        str(binaries.ensure("etcd")["etcd"]),
        "--name=default",
        f"--data-dir={layout.folder / 'etcd'}",
        f"--listen-client-urls={clients}",
        f"--advertise-client-urls={clients}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        "--unsafe-no-fsync",
        "--quota-backend-bytes=8589934592",
        "--log-level=warn",
    ]


def apiserver(layout: Layout) -> list[str]:
    """kube-apiserver on loopback, with RBAC, tokens of ServiceAccounts, and aggregation."""
    pki = layout.pki
    return [
        str(binaries.ensure("kube-apiserver")["kube-apiserver"]),
        f"--etcd-servers=http://127.0.0.1:{layout.etcd_port}",
        f"--bind-address={layout.address}",
        f"--advertise-address={layout.address}",
        # A loopback address cannot be published: it would be refused every 10 s.
        *(["--endpoint-reconciler-type=none"] if layout.address.startswith("127.") else _for_node(layout)),
        f"--secure-port={layout.api_port}",
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--client-ca-file={pki / 'ca.crt'}",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={pki / 'service-account.pub'}",
        f"--service-account-signing-key-file={pki / 'service-account.key'}",
        f"--requestheader-client-ca-file={pki / 'front-proxy-ca.crt'}",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        f"--proxy-client-cert-file={pki / 'front-proxy-client.crt'}",
        f"--proxy-client-key-file={pki / 'front-proxy-client.key'}",
        "--authorization-mode=Node,RBAC",
        "--service-cluster-ip-range=10.96.0.0/16",  # a /24 is full after 254 Services
        "--allow-privileged=true",
        "--profiling=false",
    ]


def _for_node(layout: Layout) -> list[str]:
    """Logs and exec through the kubelet; webhooks and extension servers by the address of their pods."""
    admin = layout.pair("admin")
    return [
        f"--kubelet-client-certificate={admin.certificate}",
        f"--kubelet-client-key={admin.key}",
        "--kubelet-preferred-address-types=InternalIP",
        "--enable-aggregator-routing=true",
    ]


def controller_manager(layout: Layout) -> list[str]:
    """Namespaces terminate, owners are collected and Deployments become healthy only with this one."""
    pki = layout.pki
    return [
        str(binaries.ensure("kube-controller-manager")["kube-controller-manager"]),
        f"--kubeconfig={layout.kubeconfig('kube-controller-manager')}",
        "--use-service-account-credentials",
        f"--root-ca-file={pki / 'ca.crt'}",
        f"--service-account-private-key-file={pki / 'service-account.key'}",
        "--leader-elect=false",
        "--secure-port=0",
        "--kube-api-qps=500",  # at the default of 20, a hundred Deployments take 20 s to get a status
        "--kube-api-burst=1000",
    ]


def scheduler(layout: Layout) -> list[str]:
    """kube-scheduler at the same pace as the controllers."""
    config = layout.folder / "scheduler.yaml"
    document = {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "leaderElection": {"leaderElect": False},
        "clientConnection": {
            "kubeconfig": str(layout.kubeconfig("kube-scheduler")),
            "qps": 500,
            "burst": 1000,
        },
    }
    config.write_text(yaml.safe_dump(document))
    return [str(binaries.ensure("kube-scheduler")["kube-scheduler"]), f"--config={config}", "--secure-port=0"]


def kwok(credentials: Path) -> list[str]:
    """Plays the kubelet of the fake node, and of no other: its pods become Ready without any image."""
    return [
        str(binaries.ensure("kwok")["kwok"]),
        f"--kubeconfig={credentials}",
        f"--config={STAGES}",
        "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
        "--node-lease-duration-seconds=40",  # without it the node is lost, and back, every 50 s
        "--node-ip=10.88.0.1",  # of no interface; a node without an address breaks what lists addresses
    ]
