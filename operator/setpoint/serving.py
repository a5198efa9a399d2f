"""Whether a kind is truly not served: what that decides is that its objects are gone (shell)."""

from __future__ import annotations

from collections.abc import Iterable

from setpoint.cluster import Cluster
from setpoint.cluster_errors import ApiError
from setpoint.discovery import Kind
from setpoint.objects import ObjectId


async def asked_anew(cluster: Cluster, objects: Iterable[ObjectId]) -> None:
    """Ask what is served once more if the kind of an object is not known: what is known may be old, or of a server that was behind."""
    if any(cluster.kind_of_group(o.group, o.kind) is None for o in objects):
        await cluster.discover()


def kind_served(cluster: Cluster, oid: ObjectId) -> Kind | None:
    """Give the kind of an object; None if there is no such kind, so that the object cannot be there.

    Raises ApiError 503 if the server of its API group does not answer: nobody knows what is there.
    """
    kind = cluster.kind_of_group(oid.group, oid.kind)
    if kind is None and oid.group in cluster.broken_groups:
        raise ApiError(503, "ServiceUnavailable", f"the server of API group {oid.group} does not answer")
    return kind
