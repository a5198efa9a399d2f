"""Finds out why something is missing: an account without rights or no account, a kind that is not served (shell).

RBAC knows names and not objects: an account that does not exist can be impersonated, and has only the rights that are
granted to its name. So the account is looked up only after something was forbidden. If a kind is not served, its objects
count as gone, so this answer must be certain.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterable

from setpoint.api.reasons import Problem, Reason
from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError, classify
from setpoint.kube.explain import problem_of
from setpoint.objects.identity import ObjectId
from setpoint.objects.kinds import Kind


async def missing(cluster: Cluster, user: str, reasons: Iterable[object]) -> Problem | None:
    """Return the problem that `user` does not exist, if one of the reasons is Forbidden.

    `user` is a ServiceAccount as it is impersonated. None if it exists, or may not be looked up.
    """
    kind = cluster.kind("v1", "ServiceAccount")
    if kind is None or Reason.Forbidden not in reasons:
        return None
    namespace, _, name = user.removeprefix("system:serviceaccount:").partition(":")
    try:
        if await cluster.get(kind, namespace, name) is not None:
            return None
    except ApiError:
        return None
    text = (
        f"ServiceAccount {namespace}/{name} does not exist; create it, with the rights that the objects need"
    )
    return Problem(Reason.ServiceAccountNotFound, text)


async def asked_anew(cluster: Cluster, objects: Iterable[ObjectId]) -> None:
    """Ask what is served once more if the kind of an object is not known: what is known may be old, or of a server that was behind."""
    if any(cluster.kind_of_group(o.group, o.kind) is None for o in objects):
        await cluster.discover()


def kind_served(cluster: Cluster, oid: ObjectId) -> Kind | None:
    """Return the kind of an object; None if there is no such kind, so that the object cannot be there.

    Raises ApiError 503 if the server of its API group does not answer: nobody knows what is there.
    """
    kind = cluster.kind_of_group(oid.group, oid.kind)
    if kind is None and oid.group in cluster.broken_groups:
        raise ApiError(503, "ServiceUnavailable", f"the server of API group {oid.group} does not answer")
    return kind


async def unreadable(
    error: ApiError, what: ObjectId, verb: str, discover: Callable[[], Awaitable[object]]
) -> Problem:
    """Return why objects cannot be read; if their kind is not served any more, what is served is asked anew.

    Another 404 says nothing about the kind: the object is missing, or its namespace.
    """
    if classify(error) is not Reason.KindUnknown:
        return problem_of(error, what, verb)
    with contextlib.suppress(ApiError, Problem):  # the next try asks again; this one is told first
        await discover()
    return Problem(Reason.KindUnknown, "a kind of this Sync is not served any more, or not yet again")
