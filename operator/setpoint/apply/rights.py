"""Asks the API server which objects an identity may write (shell)."""

from __future__ import annotations

from collections.abc import Iterable

from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError
from setpoint.objects.identity import Manifest, ObjectId
from setpoint.objects.kinds import Kind

API = "authorization.k8s.io/v1"
REVIEW = "SelfSubjectAccessReview"


async def writable(cluster: Cluster, user: str, objects: Iterable[ObjectId]) -> frozenset[ObjectId]:
    """Return the objects that `user` may write, and those for which the API server gives no answer.

    The request is sent as that user, which needs no rights; first for all objects of a kind in a namespace, then for single ones.
    """
    places: dict[tuple[str, str, str], list[ObjectId]] = {}
    for oid in objects:
        places.setdefault((oid.group, oid.kind, oid.namespace), []).append(oid)
    found: set[ObjectId] = set()
    for (group, name, namespace), members in places.items():
        kind = cluster.kind_of_group(group, name)
        if kind is None or await _may(cluster, user, kind, namespace, ""):
            found.update(members)
        else:
            found.update([o for o in members if await _may(cluster, user, kind, namespace, o.name)])
    return frozenset(found)


async def _may(cluster: Cluster, user: str, kind: Kind, namespace: str, name: str) -> bool:
    review = cluster.kind(API, REVIEW)
    if review is None:
        return True
    try:
        answer = await cluster.create(review, _question(kind, namespace, name), user=user)
    except ApiError:
        return True
    said = answer.get("status") or {}
    return bool(said.get("allowed") or said.get("evaluationError"))


def _question(kind: Kind, namespace: str, name: str) -> Manifest:
    attributes = {"group": kind.group, "resource": kind.plural, "verb": "patch"}
    attributes |= {"namespace": namespace} if namespace else {}
    attributes |= {"name": name} if name else {}
    spec = {"resourceAttributes": attributes}
    return {"apiVersion": API, "kind": REVIEW, "metadata": {}, "spec": spec}
