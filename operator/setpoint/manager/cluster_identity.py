"""Reads what must be known before the first reconcile: the cluster id, the key for values of Secrets, where the API server is (shell)."""

from __future__ import annotations

import base64
import logging
import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit

from setpoint.api.reasons import Problem, Reason
from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError
from setpoint.settings import Settings

log = logging.getLogger(__name__)
OF_API_SERVER = "kubernetes.io/service-name=kubernetes"


@dataclass(frozen=True, slots=True)
class ClusterIdentity:
    """The cluster's id, which our labels carry, and the key under which values of Secrets are shown.

    `is_kept`: whether a later process will have the same key.
    """

    cluster_id: str
    secret_key: bytes
    is_kept: bool = True
    api_places: tuple[tuple[str, int], ...] = ()
    """Host and port of each place of the API server that is known."""

    @property
    def digest_key(self) -> bytes:
        """The key for digests in statuses; none where it would change, as after a restart all would seem to be new."""
        return self.secret_key if self.is_kept else b""


async def read_identity(settings: Settings, cluster: Cluster) -> ClusterIdentity:
    """Read what is known of a cluster once for a process. Raises ApiError; Problem where nobody may read the id."""
    cluster_id, key = await _cluster_id(settings, cluster), await _secret_key(settings, cluster)
    places = tuple(dict.fromkeys([_connected(cluster), *await _endpoints(cluster)]))
    return ClusterIdentity(cluster_id, key or secrets.token_bytes(32), bool(key), places)


async def _cluster_id(settings: Settings, cluster: Cluster) -> str:
    if settings.cluster_id:
        return settings.cluster_id
    kind = cluster.kind("v1", "Namespace")
    found = await cluster.get(kind, "", "kube-system") if kind else None
    if found is None:
        raise Problem(
            Reason.ApiUnavailable,
            "cannot read the namespace kube-system; allow it, or set SETPOINT_CLUSTER_ID",
        )
    return str(found["metadata"]["uid"])


async def _secret_key(settings: Settings, cluster: Cluster) -> bytes:
    """Return the key of the chart's Secret; nothing where that is absent."""
    kind = cluster.kind("v1", "Secret")
    try:
        found = (
            await cluster.get(kind, settings.namespace, settings.hmac_secret)
            if kind and settings.hmac_secret
            else None
        )
    except ApiError as error:
        if error.transient:
            raise
        log.warning(
            "cannot read the HMAC key (HTTP %s); hashing values of Secrets with a new key", error.status
        )
        found = None
    data = (found or {}).get("data") or {}
    return base64.b64decode(data.get("key") or "")


def _connected(cluster: Cluster) -> tuple[str, int]:
    parts = urlsplit(cluster.server)
    return (parts.hostname or "").lower(), parts.port or (80 if parts.scheme == "http" else 443)


async def _endpoints(cluster: Cluster) -> list[tuple[str, int]]:
    """Return where the servers behind the Service `kubernetes` listen; nothing where that may not be listed."""
    kind = cluster.kind("discovery.k8s.io/v1", "EndpointSlice")
    try:
        found, _ = (
            await cluster.list(kind, namespace="default", label_selector=OF_API_SERVER) if kind else ([], "")
        )
    except ApiError as error:
        if error.transient:
            raise
        log.info(
            "cannot list the addresses of the API server; denying Git the one in use",
            extra={"status": error.status},
        )
        return []
    return [
        (address, port["port"])
        for each in found
        for port in each.get("ports") or ()
        for endpoint in each.get("endpoints") or ()
        for address in endpoint["addresses"]
        if port.get("port")
    ]
