"""Values that unit tests of decisions start from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from setpoint.api.resources import Sync
from setpoint.health.verdict import Health, Verdict
from setpoint.objects import managed_fields
from setpoint.objects.identity import ObjectId, SyncKey
from setpoint.objects.observed import Observed
from setpoint.plan.desired import OwnershipMarks, Phase, Ref
from setpoint.plan.drift import Baseline
from setpoint.runtime.fairness import Limits
from setpoint.runtime.workqueue import Result, WorkQueue
from setpoint.sources.check import Fetched
from setpoint.syncs.run import Context, Reached
from setpoint.syncs.target import Target

KEY = SyncKey("team", "app")
LABEL = "0123456789abcdef"
SHA = "1a2b3c4d5e6f7a8b9c0d1a2b3c4d5e6f7a8b9c0d"
HEALTHY = Verdict(Health.Healthy, "Current", "")


class Woken(WorkQueue[SyncKey]):
    """A queue that nobody works on: it notes who was put into it, at once or `later`; a test says who is `at_work`."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[SyncKey] = []
        self.later: list[tuple[SyncKey, float]] = []
        self.at_work: set[SyncKey] = set()

    def add(self, key: SyncKey) -> None:
        self.keys.append(key)

    def add_after(self, key: SyncKey, seconds: float) -> None:
        self.later.append((key, seconds))

    def busy(self, key: SyncKey) -> bool:
        return key in self.at_work


def work(queue: WorkQueue[SyncKey]) -> list[SyncKey]:
    """Take all that waits in a queue, as if it were worked on; returns what it was."""
    found = []
    while (key := queue.take(Limits(1))) is not None:
        found.append(key)
        queue.done(key, Result())
    return found


def oid(name: str) -> ObjectId:
    return ObjectId("", "ConfigMap", "shop", name)


def ref(name: str, digest: str = "d1") -> Ref:
    return Ref(oid(name), "v1", digest, f"{name}.yaml:1", (Phase.WAVES, 0, 0))


def ownership(ours: str = "o1") -> managed_fields.Ownership:
    return managed_fields.Ownership(ours, "2026-01-01T00:00:00Z", ())


def observed(name: str, **changes: Any) -> Observed:
    whole: dict[str, Any] = {
        "id": oid(name),
        "uid": f"uid-{name}",
        "resource_version": 7,
        "sync_label": LABEL,
        "owner": KEY,
        "ownership": ownership(),
        "changed_by": None,
        "deleting": False,
        "finalizers": (),
        "annotations": {},
        "verdict": HEALTHY,
    }
    return Observed(**{**whole, **changes})


def baseline(digest: str = "d1", ours: str = "o1") -> Baseline:
    return Baseline(digest, ownership(ours), None, 7)


def target(*refs: Ref, digest: str = "t1") -> Target:
    return Target(SHA, f"main@sha1:{SHA}", digest, "i1", refs)


def context(
    status: Mapping[str, Any] | None = None, held: Mapping[str, Any] | None = None, **spec: Any
) -> Context:
    metadata = {"namespace": KEY.namespace, "name": KEY.name, "generation": 1}
    body = {
        "apiVersion": "setpoint.dev/v1alpha1",
        "kind": "Sync",
        "metadata": metadata,
        "spec": {"source": {"name": "src"}, **spec},
        "status": status or {},
    }
    sync = Sync.model_validate({k: body[k] for k in ("apiVersion", "kind", "metadata", "spec")})
    user = "system:serviceaccount:team:deployer"
    return Context.of(KEY, body, sync, OwnershipMarks(KEY, LABEL), user, held=held)


def reached(**changes: Any) -> Reached:
    return Reached(**{"ctx": context(), **changes})


def fetched(sha: str = SHA, branch: str = "main") -> Fetched:
    return Fetched(f"{branch}@sha1:{sha}", sha, "Fix the shop", "Ada", "2026-01-01T00:00:00Z")
