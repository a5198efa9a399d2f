"""Tells a ServiceAccount that does not exist from one without rights (shell).

RBAC knows names and not objects: an account that does not exist can be impersonated, and merely may do nothing
that is not granted to its name. So it is looked up only after something was forbidden.
"""

from __future__ import annotations

from collections.abc import Iterable

from setpoint.cluster import Cluster
from setpoint.cluster_errors import ApiError
from setpoint.reasons import Problem, Reason


async def missing(cluster: Cluster, user: str, reasons: Iterable[object]) -> Problem | None:
    """Give the problem that `user` does not exist, if one of the reasons is Forbidden.

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
