"""What people install for real: where it comes from, how much it is, and what its own programs would write.

Gatekeeper, cert-manager and podinfo lie in the shared data beside the checkout. Three installs of today come from the Go
modules of their projects: Knative Eventing (conversion webhooks, five aggregated roles, webhooks and bundles that its own
controller fills in), Cluster API (conversion webhooks, an aggregated role, bundles by cert-manager's injector) and Istio
(a sidecar injector, webhooks that istiod changes).
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.e2e import realplays as plays
from tests.e2e.conftest import ROOT, World
from tests.kit.api import Json
from tests.kit.cluster.binaries import ensure
from tests.kit.gomodules import Module, UnavailableError

DATA: Final = ROOT.parent / "shared/data"
EVENTING_MODULE: Final = Module(
    "knative.dev/eventing", "v0.50.0", "h1:4GSn7yyMLgpGUqU0vZjcyFKK0vSi3TtZXPVzb7HW7Ds="
)
CAPI_MODULE: Final = Module(
    "sigs.k8s.io/cluster-api", "v1.14.2", "h1:o3GFNaeNFAOEEMpDPfhCK+2CjmV6gtQ8yLEcUwCg7bA="
)
ISTIO_MODULE: Final = Module(
    "istio.io/istio",
    "v0.0.0-20260827124520-eed52ebb66ad",
    "h1:ui9TJjRMAV/hb5ehQaZDq7IUGxuQP6dra9lapT/VjHI=",
)


class AbsentError(Exception):
    """A content cannot be had here; the message says why."""


@dataclass(frozen=True)
class Content:
    """Where it comes from, how many objects it is, its webhooks, and what is played for it."""

    name: str
    read: Callable[[], Mapping[str, str]]
    objects: int
    namespace: str | None = None
    webhooks: tuple[str, ...] = ()
    ignore: tuple[Json, ...] = ()
    before: tuple[Json, ...] = ()
    """What has to be in the cluster already: CRDs of somebody else."""
    play: Callable[[World], None] = plays.nothing

    def files(self) -> dict[str, str]:
        """Return path in the repository -> content. Raises AbsentError."""
        try:
            return dict(self.read())
        except UnavailableError as error:
            raise AbsentError(f"{self.name} cannot be had: {error}") from None


def _shared(path: str) -> Callable[[], Mapping[str, str]]:
    def read() -> Mapping[str, str]:
        found = DATA / path
        if not found.exists():
            raise AbsentError(f"the shared data is absent: no {path}")
        parts = [found] if found.is_file() else sorted(found.iterdir())
        # No metrics server: the autoscaler degrades, rightly, and it would change the replicas while we count.
        texts = {p.name: p.read_text().replace("  - hpa.yaml\n", "") for p in parts}
        return {name: text for name, text in texts.items() if name != "hpa.yaml"}

    return read


def _eventing() -> Mapping[str, str]:
    core = EVENTING_MODULE.folder() / "config/core"
    return {f"{p.relative_to(core)}".replace("/", "-"): p.read_text() for p in sorted(core.rglob("*.yaml"))}


def _cluster_api() -> Mapping[str, str]:
    folder = CAPI_MODULE.folder() / "core/config/default"
    return {"cluster-api.yaml": _run(ensure("kustomize")["kustomize"], "build", folder)}


def _istio() -> Mapping[str, str]:
    charts, helm = ISTIO_MODULE.folder() / "manifests/charts", ensure("helm")["helm"]
    parts = {"base": charts / "base", "istiod": charts / "istio-control/istio-discovery"}
    return {
        f"{name}.yaml": _run(helm, "template", name, chart, "--namespace", plays.ISTIO)
        for name, chart in parts.items()
    }


def _run(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
    return done.stdout


def _webhooks(mutating: tuple[str, ...], validating: tuple[str, ...]) -> tuple[str, ...]:
    return (
        *(f"mutatingwebhookconfiguration/{name}" for name in mutating),
        *(f"validatingwebhookconfiguration/{name}" for name in validating),
    )


GATEKEEPER: Final = Content(
    "gatekeeper",
    _shared("manifests/gatekeeper-v3.10.0.yaml"),
    25,
    webhooks=_webhooks(
        ("gatekeeper-mutating-webhook-configuration",), ("gatekeeper-validating-webhook-configuration",)
    ),
)
CERT_MANAGER: Final = Content(
    "cert-manager",
    _shared("manifests/cert-manager-v1.6.1.yaml"),
    45,
    webhooks=_webhooks(("cert-manager-webhook",), ("cert-manager-webhook",)),
)
PODINFO: Final = Content("podinfo", _shared("repos/podinfo/kustomize"), 2, namespace="podinfo")
EVENTING: Final = Content(
    "eventing",
    _eventing,
    101,
    webhooks=_webhooks(plays.EVENTING_MUTATING, plays.EVENTING_VALIDATING),
    play=plays.eventing,
)
CLUSTER_API: Final = Content(
    "cluster-api",
    _cluster_api,
    26,
    webhooks=_webhooks(("capi-mutating-webhook-configuration",), ("capi-validating-webhook-configuration",)),
    before=plays.CERTIFICATES,
    play=plays.cluster_api,
)
ISTIO: Final = Content(
    "istio",
    _istio,
    34,
    namespace=plays.ISTIO,
    webhooks=_webhooks(plays.ISTIO_MUTATING, tuple(plays.ISTIO_VALIDATING)),
    ignore=plays.ISTIO_IGNORE,
    play=plays.istio,
)
CLUSTERS: Final = ((GATEKEEPER,), (CERT_MANAGER, PODINFO), (EVENTING, CLUSTER_API, ISTIO))
"""What shares a cluster: Gatekeeper's webhooks are about everything, and cert-manager's about what Cluster API has."""
