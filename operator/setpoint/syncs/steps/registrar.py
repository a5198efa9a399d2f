"""Sees to what a Sync needs before anything is done for it: the finalizer, the inventory, no mark that is out of date."""

from __future__ import annotations

from dataclasses import replace

from setpoint.api import names
from setpoint.kube.client import Cluster
from setpoint.objects.identity import oid_of
from setpoint.objects.inventory import grouped
from setpoint.plan.marks import is_dropped, marking
from setpoint.store.recovery import owned
from setpoint.store.status_writer import StatusWriter
from setpoint.syncs.dispatcher import Dispatcher
from setpoint.syncs.memory import Memory
from setpoint.syncs.run import Context


class Registrar:
    """Registers one Sync after another."""

    def __init__(self, cluster: Cluster, writer: StatusWriter, dispatcher: Dispatcher) -> None:
        self._cluster, self._writer, self._dispatcher = cluster, writer, dispatcher

    async def register(self, ctx: Context, memory: Memory) -> Context:
        """Set the finalizer if it is missing, and rebuild an inventory that was lost, once.

        And that it does not say that it goes by a commit while none drops it: whoever deletes it for that says so anew.
        """
        if is_dropped(ctx.body) and not self._dispatcher.dropped(ctx.key):
            patch = marking(ctx.body, None)
            ctx = replace(ctx, body=await self._writer.annotations(oid_of(ctx.key), ctx.body, patch))
        finalizers = ctx.body["metadata"].get("finalizers") or []
        if names.FINALIZER not in finalizers:
            wanted = [*finalizers, names.FINALIZER]
            body = await self._writer.finalizers(oid_of(ctx.key), ctx.body, wanted)
            ctx = ctx.written(body) if memory.telling.held is None else replace(ctx, body=body)
        elif not ctx.previous and not memory.inventory_known:
            found = await owned(self._cluster, ctx.key, ctx.marks.label)
            if found:
                status = {**ctx.previous, "inventory": grouped((v, o) for o, v in found.items())}
                ctx = ctx.written(await self._writer.write(oid_of(ctx.key), ctx.body, status))
            self._dispatcher.record(ctx.key, found)
        memory.inventory_known = True
        return ctx
