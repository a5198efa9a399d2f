"""What is remembered of a live object: facts and digests, never its content (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from setpoint.api import names
from setpoint.health import claims, verdict
from setpoint.health import evaluate as health
from setpoint.health.ends.end import End, end_of, leaving, may_end
from setpoint.objects import managed_fields
from setpoint.objects.identity import ObjectId, SyncKey, owner_of
from setpoint.objects.users.rollouts import Rollout, rollout_of


@dataclass(frozen=True, slots=True)
class Observed:
    """What is remembered of a live object: never its content, so no Secret value stays in the process.

    `ours` is the digest of our managedFields entry (fields and time), `people` those of people' managers:
    the two tell whether anybody touched what Git sets, whatever else moved (`notes/apply.md`).
    """

    id: ObjectId
    uid: str
    resource_version: int
    sync_label: str
    owner: SyncKey | None
    ownership: managed_fields.Ownership
    changed_by: str | None
    deleting: bool
    finalizers: tuple[str, ...]
    annotations: Mapping[str, str] = field(compare=False)
    verdict: verdict.Verdict = field(compare=False)
    unbound: claims.Unbound | None = None
    """What counts of a claim that may wait for its first consumer."""
    rollout: Rollout | None = field(default=None, compare=False)
    """What the pods of a workload name, by its present template and by former ones."""
    end: End | None = field(default=None, compare=False)
    """What counts of an object that ends by itself."""
    touched: int = 0
    """The last version that a person may have written: where nobody notes users, a second write within a second shows nowhere else."""


@dataclass(frozen=True, slots=True)
class Departure:
    """How an object went that may end by itself."""

    end: End | None
    """The last that was seen of it."""
    at: int | None = None
    """When it was told to go, in seconds since 1970; None if it does not say."""
    watched: bool = True
    """Whether nothing happened between that and its deletion; False if it was found missing."""
    alive: int | None = None
    """When it was as that says, in seconds since 1970, if it was found missing and somebody had looked before."""


def changed_by(annotations: Mapping[str, str]) -> str | None:
    """Return the attribution stamp as one value, user and old version by line: it differs for each stamped write."""
    user = annotations.get(names.ANNOTATION_CHANGED_BY)
    return f"{user}\n{annotations.get(names.ANNOTATION_CHANGED_FROM, '')}" if user else None


def observe(obj: Mapping[str, Any], oid: ObjectId, people: frozenset[str] = frozenset()) -> Observed:
    """Reduce a live object (or its PartialObjectMetadata) to what is remembered.

    `oid` is given because metadata-only objects carry the kind of the metadata type, not their own.
    """
    meta = obj.get("metadata") or {}
    annotations: Mapping[str, str] = meta.get("annotations") or {}
    end = end_of(obj) if may_end(oid.group, oid.kind) else None
    managed, version = meta.get("managedFields") or (), int(meta.get("resourceVersion") or 0)
    owned = managed_fields.ownership(managed, people, annotations)
    return Observed(
        id=oid,
        uid=meta.get("uid", ""),
        resource_version=version,
        sync_label=(meta.get("labels") or {}).get(names.LABEL_SYNC, ""),
        owner=owner_of(annotations, oid),
        ownership=owned,
        changed_by=changed_by(annotations),
        deleting="deletionTimestamp" in meta,
        finalizers=tuple(meta.get("finalizers") or ()),
        annotations={k: v for k, v in annotations.items() if k.startswith(f"{names.GROUP}/")},
        verdict=leaving(obj, end) or _verdict(obj, oid),
        unbound=claims.unbound(obj) if (oid.group, oid.kind) == claims.KIND else None,
        rollout=rollout_of(obj),
        end=end,
        touched=version if managed_fields.may_be_last(managed, owned) else 0,
    )


def _verdict(obj: Mapping[str, Any], oid: ObjectId) -> verdict.Verdict:
    if not health.trivial(oid.group, oid.kind):
        return health.evaluate(obj)
    return health.evaluate({**obj, "kind": oid.kind, "apiVersion": f"{oid.group}/v1" if oid.group else "v1"})


def following(before: Observed | None, after: Observed) -> Observed:
    """Return what is remembered of an object after what was: what was told to go before it finished was cut off."""
    if before is None or before.uid != after.uid:
        return after
    if before.touched > after.touched:
        after = replace(after, touched=before.touched)
    if not before.deleting:
        return after
    if before.end is None or after.end is None or before.end.finished is not None:
        return after
    return replace(after, end=End(after.end.least))
