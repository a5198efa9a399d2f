"""Writes a status if it differs, as a JSON Patch with a test on resourceVersion (shell).

It is never a merge patch: that drops nested nulls, which patches in a status may hold (design, 1). A run that failed
before its status was written is retried, if the cause may go away by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from setpoint.api.names import API_VERSION
from setpoint.api.reasons import Problem, Reason
from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError, Fenced, classify, is_absence
from setpoint.objects.bodies import Body
from setpoint.objects.identity import ObjectId, SyncKey
from setpoint.objects.json_patch import Operation
from setpoint.runtime.workqueue import Result
from setpoint.store.index import Store


def operations(body: Mapping[str, Any], status: Mapping[str, Any]) -> list[Operation]:
    """Return the JSON Patch from the stored status to the new one; empty if nothing differs. Keys move as a whole."""
    old = body.get("status")
    if old is None:
        changes: list[Operation] = [{"op": "add", "path": "/status", "value": dict(status)}]
    else:
        changes = [{"op": "remove", "path": f"/status/{k}"} for k in old if k not in status]
        changes += [
            {"op": "add", "path": f"/status/{k}", "value": v}
            for k, v in status.items()
            if k not in old or old[k] != v
        ]
    if not changes:
        return []
    version = body["metadata"]["resourceVersion"]
    return [{"op": "test", "path": "/metadata/resourceVersion", "value": version}, *changes]


class StatusWriter:
    """Writes statuses of our own custom resources, and gives the answers to the store."""

    def __init__(self, cluster: Cluster, store: Store) -> None:
        self._cluster, self._store = cluster, store

    async def write(self, oid: ObjectId, body: Mapping[str, Any], status: Mapping[str, Any]) -> Body:
        """Write a status if it differs; returns the newest body. Problem(ApplyFailed) if the object moved meanwhile.

        That one is transient: the watch brings the newer object, and the next reconcile starts from there.
        """
        patch = operations(body, status)
        return await self._patch(oid, body, patch, "status") if patch else dict(body)

    async def finalizers(self, oid: ObjectId, body: Mapping[str, Any], wanted: list[str]) -> Body:
        """Set the finalizers of an object."""
        version = body["metadata"]["resourceVersion"]
        patch = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": version},
            {"op": "add", "path": "/metadata/finalizers", "value": wanted},
        ]
        return await self._patch(oid, body, patch, None)

    async def annotations(self, oid: ObjectId, body: Mapping[str, Any], patch: Sequence[Operation]) -> Body:
        """Write the annotations of an object, by a patch that tests the version of its body."""
        return await self._patch(oid, body, patch, None)

    async def _patch(
        self, oid: ObjectId, body: Mapping[str, Any], patch: Sequence[Operation], subresource: str | None
    ) -> Body:
        kind = self._cluster.kind(API_VERSION, oid.kind)
        if kind is None:
            raise Problem(Reason.ApiUnavailable, f"the API server does not serve {oid.kind} now", retry=True)
        try:
            answer = await self._cluster.patch(kind, oid.namespace, oid.name, patch, subresource=subresource)
        except ApiError as error:
            if is_absence(error):
                raise Deleted from None
            # Any other 422 is about what we write, and would be met for ever without a word.
            if error.status == 409 or classify(error) is Reason.ApplyFailed:
                raise Conflict(error) from None
            text = f"the status cannot be written now: {error}"
            raise Problem(Reason.ApiUnavailable, text, retry=True) from error
        self._store.answered(answer)
        return answer


class Deleted(Exception):
    """The custom resource does not exist any more."""


class Conflict(Exception):
    """The custom resource changed meanwhile: start again from its newest state."""


log = logging.getLogger(__name__)

RETRYABLE: Final = (Conflict, Fenced, ApiError, Problem)


def retry_later(kind: str, key: SyncKey, error: Exception) -> Result:
    """Log why a run of a Sync or Source ended, and ask for another; what is no trouble is not logged."""
    about = {"object": f"{kind}/{key}", "error": str(error)}
    if isinstance(error, Fenced):
        log.info("stopped a run of a %s: another process may hold the lease by now", kind, extra=about)
    elif not isinstance(error, Conflict):
        log.warning("cannot write the status of a %s; retrying", kind, extra=about)
    return Result(retry=True)
