"""Writes one object, with what must be patched before an apply, and removes what people added to it (shell)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from setpoint.api.reasons import Problem, Reason
from setpoint.apply.dry_run import TRIES, DryRun, Session, kind_of
from setpoint.kube.errors import ApiError, is_failed_test
from setpoint.objects import managed_fields
from setpoint.objects.identity import Manifest
from setpoint.objects.json_patch import Operation
from setpoint.objects.observed import changed_by
from setpoint.plan.change import Action
from setpoint.plan.desired import Desired
from setpoint.plan.diff import comparable, foreign_additions
from setpoint.plan.drift import Baseline
from setpoint.plan.unions.exchange import Exchange
from setpoint.runtime.beside import beside


class Writer:
    """Writes single objects on behalf of one Sync."""

    def __init__(self, session: Session) -> None:
        self._cluster, self._live, self._limit, self._who = (
            session.cluster,
            session.informers,
            session.limit,
            session.who,
        )

    async def write(self, checked: DryRun) -> Baseline:
        """Write one object, and remove what people added. Raises ApiError, and Problem if it is another's by now."""
        async with self._limit.held(self._who.key.namespace):
            d, kind, who = checked.desired, kind_of(checked.desired), self._who
            if (owner := who.owner_of(d.id)) not in (None, who.key):
                raise Problem(Reason.Contested, f"{d.id.label()} belongs to Sync {owner}")
            if checked.exchange is not None:
                checked = replace(checked, live=await self._exchanged(checked, checked.exchange))
            if checked.change.action is Action.ADOPT and checked.live is not None:
                await self._keep_adopted(checked)
            sent = existing(checked.sent or d.manifest, checked.live)
            obj: Manifest = (await self._cluster.apply(kind, sent, user=who.user)).object
            exchange = checked.exchange
            if exchange is not None and (exchange.takes_back or not checked.change.additions):
                # What the server filled in during our own patch is nobody's addition.
                obj = await self._without_strays(d, obj)
            if checked.change.action is Action.PATCH:
                obj = await self._without_additions(d, obj)
            obj = await self._without_strays(d, obj)
            self._live.store(kind, obj)
            return await beside(partial(baseline, d, obj, who.people), obj)

    async def _keep_adopted(self, checked: DryRun) -> None:
        """Move what people and former owners set to a manager that no rule removes: see `fields.adopted`."""
        live, predicted = checked.live or {}, checked.predicted or {}
        own = managed_fields.own_entry(predicted["metadata"].get("managedFields") or ()) or {}
        managed = live["metadata"].get("managedFields") or []
        rewritten = managed_fields.adopted(managed, own.get("fieldsV1") or {}, self._who.takeover)
        if rewritten is None:
            return
        d = checked.desired
        operations = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]},
            {"op": "replace", "path": "/metadata/managedFields", "value": rewritten},
        ]
        await self._patch(d, operations)

    async def _without_additions(self, d: Desired, obj: Manifest) -> Manifest:
        """Remove what people added, in one JSON Patch; if the server refuses that, one by one.

        Raises Problem for what cannot be removed, so that it is shown and not tried for ever.
        """
        who = self._who
        found = managed_fields.last_first(foreign_additions(obj, d, who.rules, who.people))
        if not found:
            return obj
        try:
            return await self._patch(
                d, [op for path, value in found for op in managed_fields.removal(path, value)]
            )
        except ApiError as error:
            if error.status != 422 or len(found) == 1:
                raise
        for path, value in found:
            obj = await self._patch(d, managed_fields.removal(path, value))
        return obj

    async def _exchanged(self, checked: DryRun, exchange: Exchange) -> Manifest:
        """Patch as it was tried: on the object as it was looked at, and no other. Raises ApiError."""
        d, before = checked.desired, self._counts(checked.live or {})
        for _ in range(TRIES):
            live = await self._read(d)
            if live is None or self._counts(live) != before:
                break
            try:
                return await self._patch(d, exchange.at(live["metadata"]["resourceVersion"]))
            except ApiError as error:
                if not is_failed_test(error):
                    raise
            # A controller wrote the status meanwhile: that is no reason to begin anew.
        return await self._patch(d, exchange.operations)

    def _counts(self, live: Manifest) -> object:
        """Return what of an object a patch was made for."""
        managed = live["metadata"].get("managedFields") or ()
        return comparable(live), managed_fields.ownership(managed, self._who.people)

    async def _read(self, d: Desired) -> Manifest | None:
        return await self._cluster.get(kind_of(d), d.id.namespace, d.id.name, user=self._who.user)

    async def _without_strays(self, d: Desired, obj: Manifest) -> Manifest:
        """Take out what a JSON Patch of ours, or a person under our name, left in managedFields: it would stay when it leaves Git.

        A crash before this leaves the entry, and whoever looks at the object next finds it there.
        """
        for left in reversed(range(TRIES)):
            operations = managed_fields.without_strays(obj["metadata"].get("managedFields") or ())
            if not operations:
                break
            try:
                return await self._patch(d, operations)
            except ApiError as error:
                if not is_failed_test(error) or not left:
                    raise
            # Somebody wrote meanwhile, and the entry stands elsewhere in the list.
            found = await self._read(d)
            if found is None:
                break
            obj = found
        return obj

    async def _patch(self, d: Desired, operations: Sequence[Operation]) -> Manifest:
        return await self._cluster.patch(
            kind_of(d), d.id.namespace, d.id.name, operations, user=self._who.user
        )


def existing(manifest: Manifest, live: Manifest | None) -> Manifest:
    """Return the manifest as it may be applied to the object that was looked at, and to no other that has its name.

    The server refuses it (409) if that object is gone, instead of creating it again: a write that comes late, whoever
    leads by then, brings nothing back.
    """
    if live is None:
        return manifest
    return {**manifest, "metadata": {**manifest["metadata"], "uid": live["metadata"]["uid"]}}


def baseline(d: Desired, obj: Mapping[str, Any], people: frozenset[str]) -> Baseline:
    """Return the baseline of an object from the server's answer to our write (not from the watch, which may be newer)."""
    meta = obj["metadata"]
    annotations = meta.get("annotations") or {}
    owned = managed_fields.ownership(meta.get("managedFields") or (), people, annotations)
    return Baseline(d.digest, owned, changed_by(annotations), int(meta["resourceVersion"]))
