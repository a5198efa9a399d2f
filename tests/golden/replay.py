"""Replays a golden case: the pure half of a reconcile over what a server said (pure).

In: a `Case` and its record. Out: the plan (changes, refusals, what goes) and the status after it was carried out.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import jsonpatch
from tests.golden.case import KEY, OTHER, STAMP, Case, Json, short

from setpoint.api.formats import rfc3339
from setpoint.api.reasons import Problem, Reason
from setpoint.apply.result import ApplyResult
from setpoint.objects import managed_fields
from setpoint.objects.identity import ObjectId, SyncKey, identity
from setpoint.objects.observed import Observed, observe
from setpoint.plan import decide as plan
from setpoint.plan.adoption import TAKEOVER_MANAGERS, may_take
from setpoint.plan.change import Action, Change
from setpoint.plan.desired import Desired, Ref
from setpoint.plan.drift import Baseline
from setpoint.plan.order import stage_key, wave_of
from setpoint.plan.prune import Prune, PrunePolicy, prune
from setpoint.plan.redact import shown_patch, shown_value
from setpoint.status import build as status
from setpoint.status.outcome import Correction, ObjectState, Outcome, Revision, SyncState
from setpoint.syncs.memory import Account, Memory
from setpoint.syncs.run import Context, Evaluation, Reached
from setpoint.syncs.steps.object_states import states_of
from setpoint.syncs.target import Target

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
AT = "2026-01-01T12:00:00.000Z"
REVISION = "main@sha1:1a2b3c4d5e6f7a8b9c0d1a2b3c4d5e6f7a8b9c0d"
SECRET_KEY = b"golden"


@dataclass(frozen=True)
class Planned:
    """What is to be done: a change for each desired object, and what happens to the rest of the inventory."""

    changes: tuple[tuple[Desired, Change], ...]
    prune: Prune
    live: Mapping[ObjectId, Json]
    predicted: Mapping[ObjectId, Json]
    inventory: Mapping[ObjectId, str]
    before: Mapping[ObjectId, str]
    """The digests of the manifests that were applied before."""


def planned(case: Case, record: Json) -> Planned:
    """Plan from the commit, the live objects, the server's predictions and the inventory."""
    live, predicted = _by_id(record["live"]), _by_id(record["predicted"])
    claims = {o: OTHER for o in live if short(o) in case.claimed}
    changes = tuple((d, _judged(case, d, live.get(d.id), predicted[d.id], claims)) for d in case.desired)
    inventory = {d.id: d.manifest["apiVersion"] for d in case.applied}
    seen = {o: observe(obj, o) for o, obj in live.items() if o in inventory}
    policy = PrunePolicy(case.sync.spec.prune, case.sync.spec.prune_limit)
    wanted = frozenset(d.id for d, _ in changes)
    decision = prune(frozenset(inventory), wanted, seen, KEY, {}, policy)
    before = {d.id: d.digest for d in case.applied}
    return Planned(changes, decision, live, predicted, inventory, before)


def _judged(
    case: Case, d: Desired, live: Json | None, predicted: Json, claims: Mapping[ObjectId, SyncKey]
) -> Change:
    if live is not None and (refusal := may_take(live, d, KEY, claims.get(d.id))):
        return refusal
    return plan.decide(d, live, predicted, KEY, case.sync.spec.ignore, frozenset())


def shown(p: Planned) -> Json:
    """The plan as it stands in `expected/`."""
    rows = []
    for d, change in p.changes:
        row: Json = {"object": short(d.id), "action": str(change.action)}
        patch = shown_patch(change, SECRET_KEY)
        facts = {"manager": change.manager, "patch": list(patch), "message": change.message}
        rows.append(row | {key: value for key, value in facts.items() if value})
    gone: Json = {"delete": [short(o) for o in p.prune.delete], "message": p.prune.message}
    gone |= {"refuse": {short(o): why for o, why in p.prune.refuse.items()}}
    gone |= {"release": {short(o): why for o, why in p.prune.release.items()}}
    return {"changes": rows, "prune": {key: value for key, value in gone.items() if value}}


def told(case: Case, p: Planned, previous: Json | None = None) -> Json:
    """The status after that plan was carried out, or reported where the Sync only reports."""
    evaluation, reached, memory = _run(case, p)
    failed, target = reached.applied.failed, evaluation.target
    after = _after(p, failed)
    kept = {o: v for o, v in p.inventory.items() if o in p.prune.refuse}
    refs = target.refs if target else ()
    inventory = {r.id: r.api_version for r in refs if r.id not in failed} | kept
    outcome = Outcome(
        namespace=KEY.namespace,
        generation=1,
        desired=Revision(target.revision, target.digest) if target else None,
        refused=p.prune.message,
        complete=not failed,
        states=(*states_of(evaluation, reached, memory, after.get), *_refused(p)),
        inventory=tuple((v, o) for o, v in inventory.items()),
        corrections=tuple(_corrections(p)),
        changed=sum(c.action is not Action.KEEP for _, c in p.changes if c.action is not Action.REFUSE),
        started=rfc3339(NOW),
        trigger="Commit",
    )
    return status.build(previous or {}, outcome, NOW)


def _run(case: Case, p: Planned) -> tuple[Evaluation, Reached, Memory]:
    refs = tuple(
        Ref(d.id, d.manifest["apiVersion"], d.digest, d.where, stage_key(d.id, wave_of(d.manifest)))
        for d, _ in p.changes
    )
    target = Target("", REVISION, "digest", "inputs", refs)
    refused = {d.id: Problem(c.reason, c.message) for d, c in p.changes if c.action is Action.REFUSE}
    seen = [(d, observe(p.predicted[d.id], d.id)) for d, _ in p.changes if d.id not in refused]
    baselines = {d.id: Baseline(d.digest, o.ownership, None, o.resource_version) for d, o in seen}
    memory = Memory(account=Account(baselines=baselines))
    user = "system:serviceaccount:team:x"
    ctx = Context.of(KEY, {"metadata": {"generation": 1}}, case.sync, STAMP, user)
    return Evaluation(target=target), Reached(ctx, applied=ApplyResult(failed=refused)), memory


def _after(p: Planned, failed: Container[ObjectId]) -> Mapping[ObjectId, Observed]:
    """What the watch knows afterwards: what was predicted, and what was left alone."""
    left = {o: obj for o, obj in p.live.items() if o not in p.prune.delete}
    written = {o: obj for o, obj in p.predicted.items() if o not in failed}
    return {o: observe(obj, o) for o, obj in {**left, **written}.items()}


def _refused(p: Planned) -> list[ObjectState]:
    return [
        ObjectState(
            o, p.inventory[o], SyncState.REFUSED, Reason.Refused, why, verdict=observe(p.live[o], o).verdict
        )
        for o, why in p.prune.refuse.items()
    ]


def _corrections(p: Planned) -> list[Correction]:
    """Drift is what differs although this very state was applied before."""
    return [
        Correction(
            change.id,
            d.manifest["apiVersion"],
            change.manager,
            None,
            AT,
            AT,
            shown_patch(change, SECRET_KEY),
            shown_value(change.was, change, SECRET_KEY),
        )
        for d, change in p.changes
        if change.action in (Action.PATCH, Action.CREATE) and p.before.get(d.id) == d.digest
    ]


def carried_out(p: Planned) -> Json:
    """The record as it would be taken once the plan was carried out: live is what was predicted, without additions."""
    live = dict(p.live)
    for d, change in p.changes:
        if change.action is not Action.REFUSE:
            live[d.id] = _written(p, d, change)
    kept = {o: obj for o, obj in live.items() if o not in p.prune.delete}
    predicted = [kept[d.id] if c.action is not Action.REFUSE else p.predicted[d.id] for d, c in p.changes]
    return {"live": list(kept.values()), "predicted": predicted}


def _written(p: Planned, d: Desired, change: Change) -> Json:
    result = p.predicted[d.id]
    managed = result["metadata"]["managedFields"]
    if change.action is Action.ADOPT:
        own = managed_fields.own_entry(managed) or {}
        rest = managed_fields.adopted(
            p.live[d.id]["metadata"]["managedFields"], own["fieldsV1"], TAKEOVER_MANAGERS
        )
        managed = [own, *(rest or [])]
    elif change.additions:
        managed = [e for e in managed if e not in managed_fields.person_entries(managed)]
    removals = [
        {"op": "remove", "path": managed_fields.pointer(path)} for path, _ in reversed(change.additions)
    ]
    return dict(
        jsonpatch.apply_patch(
            {**result, "metadata": {**result["metadata"], "managedFields": managed}}, removals
        )
    )


def _by_id(objects: list[Json]) -> dict[ObjectId, Any]:
    return {identity(obj): obj for obj in objects}
