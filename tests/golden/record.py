"""Records a golden case: a real API server is asked what is live and what it would make of the commit.

In: a connection and a `Case`. Out: `{live, predicted}` with what differs from run to run (uids, versions, times) made
constant. `python -m tests.golden.record` writes all records and expectations anew; read the diff before you commit it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from tests.golden import replay
from tests.golden.case import KINDS, Case, Json, cases
from tests.kit.cluster.base import Cluster as Environment
from tests.kit.cluster.local import LocalCluster

from setpoint.kube.client import Cluster
from setpoint.objects.identity import ObjectId, identity
from setpoint.plan.ignore.rules import with_ignored

TIME = "2026-01-01T00:00:00Z"
VOLATILE = {"uid": "uid", "resourceVersion": "1", "creationTimestamp": TIME, "time": TIME}
BY_CONTROLLERS = "deployment.kubernetes.io/revision"  # comes sooner or later
ADDRESSES = {"clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"]}


async def record(api: Cluster, environment: Environment, case: Case) -> Json:
    """Play the case against the server, in a namespace that is empty before and after."""
    environment.kubectl("create", "namespace", case.namespace)
    try:
        for step in _first(case):
            environment.kubectl(*step["kubectl"], "--namespace", case.namespace, input=step.get("input"))
        for d in case.applied:
            assert d.kind
            await api.apply(d.kind, d.manifest)
        for step in _since(case):
            environment.kubectl(*step["kubectl"], "--namespace", case.namespace, input=step.get("input"))
        live = {o: obj for o in _ids(case) if (obj := await _get(api, o)) is not None}
        predicted = [await _predicted(api, case, d, live.get(d.id)) for d in case.desired]
    finally:
        environment.kubectl("delete", "namespace", case.namespace, "--wait=false")
    return {"live": [constant(live[o]) for o in sorted(live)], "predicted": [constant(o) for o in predicted]}


def _first(case: Case) -> Iterator[Json]:
    return (step for step in case.people if step.get("first"))


def _since(case: Case) -> Iterator[Json]:
    return (step for step in case.people if not step.get("first"))


def _ids(case: Case) -> set[ObjectId]:
    return {d.id for d in (*case.applied, *case.desired)}


async def _get(api: Cluster, oid: ObjectId) -> Json | None:
    kind = next(k for k in KINDS.values() if (k.group, k.kind) == (oid.group, oid.kind))
    return await api.get(kind, oid.namespace, oid.name)


async def _predicted(api: Cluster, case: Case, d: Any, live: Json | None) -> Json:
    sent = with_ignored(d.manifest, live, case.sync.spec.ignore, d.id)
    return (await api.apply(d.kind, sent.manifest, dry_run=True)).object


def constant(value: Any) -> Any:
    """The object without what no two runs share, and without `status`, which controllers fill in their own time."""
    if isinstance(value, list):
        return [constant(v) for v in value if not _of_a_controller(v)]
    if not isinstance(value, dict):
        return value
    mine = {k: v for k, v in value.items() if k != BY_CONTROLLERS}
    kept = {k: v for k, v in mine.items() if k != "status" or not isinstance(v, dict)}
    return {
        k: {**VOLATILE, **ADDRESSES}.get(k, constant(v)) if _known(k, v) else constant(v)
        for k, v in kept.items()
    }


def _of_a_controller(entry: Any) -> bool:
    return isinstance(entry, dict) and entry.get("manager") == "kube-controller-manager"


def _known(key: str, value: Any) -> bool:
    return (key in VOLATILE and isinstance(value, str)) or (key in ADDRESSES and value not in ("None", {}))


def _keep(path: Path, document: Json) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text(document))


def text(document: Json) -> str:
    """A record or an expectation as it stands in its file."""
    return yaml.dump(document, Dumper=_Dumper, width=110)


class _Dumper(yaml.SafeDumper):
    """Writes what is shared each time it occurs."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def expectation(case: Case, found: Json) -> Json:
    """What comes of a record today."""
    planned = replay.planned(case, found)
    return {"plan": replay.shown(planned), "status": replay.told(case, planned)}


async def _all(environment: Environment) -> None:
    api = await Cluster.connect(str(environment.kubeconfig), user_agent="setpoint-golden")
    try:
        await api.discover()
        for case in cases():
            found = await record(api, environment, case)
            _keep(case.recorded, found)
            # From the file, as the test does: the order of operations is that of the keys.
            _keep(case.expected, expectation(case, yaml.safe_load(case.recorded.read_text())))
            print(f"recorded {case.name}: {identity_count(found)} objects", file=sys.stderr)
    finally:
        await api.close()


def identity_count(found: Json) -> int:
    """How many objects a record is about."""
    return len({identity(obj) for obj in (*found["live"], *found["predicted"])})


if __name__ == "__main__":
    with LocalCluster() as started:
        asyncio.run(_all(started))
