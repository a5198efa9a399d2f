"""What must hold of Syncs at rest, whatever happened before: the cluster equals the commit, and the record says so.

In: what Git has for each Sync. Each check raises AssertionError, with what differs.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode

from tests.kit.api import PLURALS, Api, Json, condition

SYNC_LABEL, OWNER = "setpoint.dev/sync", "setpoint.dev/owner"
FINALIZER = "setpoint.dev/finalizer"
CLUSTER_KINDS = frozenset({"Namespace", "CustomResourceDefinition"})
OPTIONAL_KINDS = frozenset({"Widget", "Certificate", "Issuer"})
KINDS = tuple(kind for kind in PLURALS if kind not in ("Sync", "Source", "Event"))
MOST_HISTORY = 10

Id = tuple[str, str, str]
"""Kind, namespace (empty for cluster-wide ones) and name."""


@dataclass(frozen=True)
class Wanted:
    """What Git has for one Sync, at a commit; `commits` are all so far, the newest last."""

    name: str
    objects: Mapping[Id, Json]
    commits: tuple[str, ...]
    corrected: int | None = 0
    """How often drift was put back; None if that is not known."""
    log: frozenset[str] = field(default_factory=frozenset)
    """Names of objects that may stand in the log of drift."""
    respec: bool = False
    """Whether the spec changed or commits were taken back, which gives a commit a second entry in the history."""


def identify(manifest: Json, target: str) -> Id:
    """The identity that a manifest gets in a Sync with that `targetNamespace`."""
    kind, meta = manifest["kind"], manifest["metadata"]
    namespace = "" if kind in CLUSTER_KINDS else meta.get("namespace", target)
    return kind, namespace, meta["name"]


def marked(api: Api, home: str) -> dict[Id, tuple[str, Json]]:
    """All objects in the cluster that name a Sync of namespace `home` as their owner: identity -> (Sync, object)."""
    found: dict[Id, tuple[str, Json]] = {}
    for kind in KINDS:
        for obj in _labelled(api, kind):
            meta = obj["metadata"]
            owner = (meta.get("annotations") or {}).get(OWNER, "").partition(" ")[0]
            namespace, _, sync = owner.partition("/")
            if namespace == home:
                found[kind, meta.get("namespace", ""), meta["name"]] = (sync, obj)
    return found


def _labelled(api: Api, kind: str) -> list[Json]:
    query = urlencode({"labelSelector": SYNC_LABEL})
    return api.find(f"{api.path(kind)}?{query}", absent_ok=kind in OPTIONAL_KINDS)


def cluster_equals_commit(
    found: Mapping[Id, tuple[str, Json]], wanted: Iterable[Wanted], left: Iterable[Id] = ()
) -> None:
    """Every object of each Sync is there, as in Git and owned by it, and no other carries our marks but those `left`."""
    expected = {oid: (w.name, manifest) for w in wanted for oid, manifest in w.objects.items()}
    missing, surplus = expected.keys() - found.keys(), found.keys() - expected.keys() - set(left)
    assert not missing, f"not in the cluster: {sorted(missing)}"
    assert not surplus, f"orphans: {[(oid, found[oid][0]) for oid in sorted(surplus)]}"
    for oid, (sync, manifest) in expected.items():
        owner, live = found[oid]
        assert owner == sync, f"{oid} names Sync {owner}, and Git has it in {sync}"
        assert "deletionTimestamp" not in live["metadata"], f"{oid} is being deleted"
        holds(manifest, live, oid)


def holds(manifest: Json, live: Json, oid: Id) -> None:
    """All that Git sets is as Git sets it; data of ConfigMaps and Secrets has nothing else."""
    meta = {part: manifest["metadata"].get(part) or {} for part in ("labels", "annotations")}
    there = {part: live["metadata"].get(part) or {} for part in meta}
    rest = {key: value for key, value in manifest.items() if key not in ("apiVersion", "kind", "metadata")}
    different = [*_differences(meta, there, "/metadata"), *_differences(rest, live, "")]
    assert not different, f"{oid} differs from Git: {different}"
    if oid[0] in ("ConfigMap", "Secret"):
        assert (live.get("data") or {}) == (manifest.get("data") or {}), f"{oid} has more than Git sets"


def _differences(git: object, live: object, path: str) -> Iterable[str]:
    if isinstance(git, dict) and isinstance(live, dict):
        for key, value in git.items():
            if key not in live:
                yield f"{path}/{key} is missing"
            else:
                yield from _differences(value, live[key], f"{path}/{key}")
    elif isinstance(git, list) and isinstance(live, list) and len(git) == len(live):
        for number, (left, right) in enumerate(zip(git, live, strict=True)):
            yield from _differences(left, right, f"{path}/{number}")
    elif git != live:
        yield f"{path}: {live!r} instead of {git!r}"


def record_is_right(sync: Json, wanted: Wanted) -> None:
    """The status of a Sync at rest says what is so: conditions, revisions, inventory, summary, history, log."""
    status, meta = sync["status"], sync["metadata"]
    assert meta["finalizers"] == [FINALIZER]
    for kind in ("Ready", "Synced", "Healthy"):
        found = condition(sync, kind)
        assert (found["status"], found["observedGeneration"]) == ("True", meta["generation"]), found
    assert {c["type"] for c in status["conditions"]} == {"Ready", "Synced", "Healthy"}
    for part in ("desired", "applied", "healthy"):
        assert status[part]["revision"].endswith(wanted.commits[-1]), f"{part}: {status[part]}"
    assert inventory(sync) == set(wanted.objects), _set_difference(inventory(sync), set(wanted.objects))
    total, summary = len(wanted.objects), dict(status["summary"])
    corrected = summary.pop("corrected")
    assert summary == {"objects": total, "synced": total, "healthy": total, "drifted": 0}
    assert wanted.corrected in (None, corrected), f"{corrected} corrections, expected {wanted.corrected}"
    assert not status.get("differences"), status["differences"]
    history_is_sane(status["history"], wanted)
    log_is_sane(status.get("driftLog") or [], wanted)


def inventory(sync: Json) -> set[Id]:
    """The inventory of a Sync, flat; no object stands in it twice."""
    rows = [
        (group["kind"], group.get("namespace", ""), name)
        for group in sync["status"].get("inventory") or []
        for name in group["names"]
    ]
    assert len(rows) == len(set(rows)), f"doubles in the inventory: {rows}"
    return set(rows)


def history_is_sane(history: list[Json], wanted: Wanted) -> None:
    """Newest first, bounded, each commit once and in Git's order, and the newest entry is what is applied."""
    words = json.dumps(history, indent=1)
    assert 0 < len(history) <= MOST_HISTORY, words
    order = {sha: number for number, sha in enumerate(wanted.commits)}
    numbers = [order[entry["revision"].rpartition(":")[2]] for entry in history]
    if wanted.respec:
        # A broken commit that is taken back leads to the one before, with the same inputs, which then stands there again.
        twice = [e for e, n, older in zip(history, numbers, numbers[1:], strict=False) if n == older]
        assert all(entry["trigger"] == "Spec" for entry in twice), f"one commit twice in a row: {words}"
    else:
        assert numbers == sorted(set(numbers), reverse=True), f"not each commit once, newest first: {words}"
    assert numbers[0] == len(wanted.commits) - 1, words
    assert history[0]["result"] == "Healthy", words
    finished = [entry["finished"] for entry in history]
    assert finished == sorted(finished, reverse=True), words
    assert all(entry["started"] <= entry["finished"] and entry["changed"] >= 0 for entry in history), words


def log_is_sane(log: list[Json], wanted: Wanted) -> None:
    """Nothing that we wrote ourselves stands in the log of drift, and it is newest first."""
    strange = [entry for entry in log if entry["name"] not in wanted.log]
    assert not strange, f"our own writes in the log of drift: {json.dumps(strange, indent=1)}"
    seen = [entry["corrected"] for entry in log]
    assert seen == sorted(seen, reverse=True), json.dumps(log, indent=1)


def _set_difference(found: set[Id], expected: set[Id]) -> str:
    return f"inventory lacks {sorted(expected - found)}, has besides {sorted(found - expected)}"
