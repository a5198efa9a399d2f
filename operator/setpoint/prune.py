"""What goes: inventory minus desired -> what to delete, refuse, release or lend (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from setpoint import names
from setpoint.objects import ObjectId, Observed, SyncKey

PROTECTED = frozenset(
    {
        ("", "Namespace"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ("", "PersistentVolume"),
        ("", "PersistentVolumeClaim"),
    }
)
LEAST_LIMIT = 5


@dataclass(frozen=True, slots=True)
class PrunePolicy:
    """What a commit may delete: whether at all, and how many (`limit`: a number, or a share such as `25%`)."""

    prune: bool
    limit: int | str


@dataclass(frozen=True, slots=True)
class Prune:
    """What happens to objects that left Git.

    `delete`, `refuse` (stays in the inventory), `release` (leaves it), `lend` (is another Sync's to take, and stays
    until that has written it).
    """

    delete: tuple[ObjectId, ...] = ()
    refuse: Mapping[ObjectId, str] = field(default_factory=dict)
    release: Mapping[ObjectId, str] = field(default_factory=dict)
    lend: frozenset[ObjectId] = frozenset()
    message: str = ""


def limit_of(limit: int | str, total: int) -> int:
    """Give the most objects that may go: the number itself, or the share of `total` but at least 5."""
    if isinstance(limit, int):
        return limit
    return max(LEAST_LIMIT, total * int(limit.rstrip("%")) // 100)


def prune(
    inventory: frozenset[ObjectId],
    desired: frozenset[ObjectId],
    live: Mapping[ObjectId, Observed],
    me: SyncKey,
    wanted_by: Mapping[ObjectId, SyncKey],
    policy: PrunePolicy,
) -> Prune:
    """Decide about inventory minus desired. Nothing outside the inventory is ever named.

    `live` holds what still exists of the candidates; `wanted_by` names other Syncs that own or wait for an object.
    """
    left = handed_over(inventory - desired, live, me, wanted_by)
    release, lend = dict(left.release), left.lend
    refuse: dict[ObjectId, str] = {}
    delete: list[ObjectId] = []
    for oid in sorted(inventory - desired - lend - release.keys()):
        seen = live[oid]
        if not policy.prune or seen.annotations.get(names.ANNOTATION_PRUNE) == "never":
            release[oid] = "stays, as it may not be pruned"
        elif (oid.group, oid.kind) in PROTECTED and seen.annotations.get(names.ANNOTATION_PRUNE) != "allow":
            refuse[oid] = (
                f"is no longer in Git and is kept: annotate it {names.ANNOTATION_PRUNE}: allow to delete it, or never to let go of it"
            )
        elif not seen.deleting:
            delete.append(oid)
    message = _beyond_limits(delete, inventory, desired, policy)
    if message:
        refuse = {**refuse, **dict.fromkeys(delete, "is no longer in Git and is kept")}
        delete = []
    elif refuse:
        first = next(iter(sorted(refuse)))
        message = f"{first.label()} {refuse[first]}"
    return Prune(tuple(delete), refuse, release, lend, message)


def handed_over(
    leftover: Iterable[ObjectId],
    live: Mapping[ObjectId, Observed],
    me: SyncKey,
    wanted_by: Mapping[ObjectId, SyncKey],
) -> Prune:
    """Decide what of objects that are wanted no more can go at any time, as nothing is deleted by it.

    What is gone or another's by now is released, and what another wants is lent; the rest is for `prune` to decide.
    """
    release: dict[ObjectId, str] = {}
    lend: set[ObjectId] = set()
    for oid in leftover:
        seen = live.get(oid)
        if seen is None:
            release[oid] = "is gone"
        elif seen.owner != me:
            release[oid] = (
                f"is handed over to Sync {seen.owner}" if seen.owner else "no longer names this Sync"
            )
        elif oid in wanted_by:
            lend.add(oid)
    return Prune(release=release, lend=frozenset(lend))


def _beyond_limits(
    delete: Sequence[ObjectId],
    inventory: frozenset[ObjectId],
    desired: frozenset[ObjectId],
    policy: PrunePolicy,
) -> str:
    if delete and not desired:
        return f"would delete all {len(inventory)} objects, as the commit has none"
    if len(delete) > limit_of(policy.limit, len(inventory)):
        return f"would delete {len(delete)} of {len(inventory)} objects (limit {policy.limit})"
    return ""
