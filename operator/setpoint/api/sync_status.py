"""Status of a Sync."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from setpoint.api.base import CONDITIONS_LIST, TIME, Condition, FreeForm, Reported


class Desired(Reported):
    """What Git says."""

    revision: str = Field(description="The commit that last touched the inputs of this Sync.")
    short: str = Field("", description="The revision for people: `main@1a2b3c4`.")
    digest: str = Field(
        description="Digest of the inputs, under the operator's key: good for comparisons alone."
    )
    at: str = Field(description="Since when.", json_schema_extra=TIME)


class AppliedRevision(Desired):
    """What was last written completely."""

    ownership: str = Field(
        "", description="Digest of who owns which fields, so that a restart needs no requests."
    )


class Summary(Reported):
    """Counts of objects."""

    objects: int = Field(0, description="Objects of this Sync.")
    synced: int = Field(0, description="As Git says.")
    healthy: int = Field(0, description="Healthy.")
    completed: int | None = Field(
        None, description="Of the healthy ones: came to their own end, and are gone."
    )
    drifted: int = Field(0, description="Different from Git now.")
    corrected: int = Field(0, description="Corrections so far.")


class InventoryGroup(Reported):
    """Objects of one kind in one namespace."""

    api_version: str = Field(description="API version, as last applied.")
    kind: str = Field(description="Kind.")
    namespace: str | None = Field(None, description="Namespace; none for cluster-scoped objects.")
    names: tuple[str, ...] = Field(description="Names.")


class EndingGroup(Reported):
    """Objects of one kind in one namespace that end by themselves, and are equally far."""

    api_version: str = Field(description="API version.")
    kind: str = Field(description="Kind.")
    namespace: str | None = Field(None, description="Namespace; none for cluster-scoped objects.")
    state: str = Field(description="Running, Succeeded, Failed, or Unknown: its end was not seen.")
    gone: bool | None = Field(
        None, description="Whether they came to their own end; they are not made again."
    )
    due: str | None = Field(
        None, description="They do not end by themselves before this time.", json_schema_extra=TIME
    )
    message: str | None = Field(None, description="Why they failed.")
    digests: dict[str, str] = Field(
        description="By name: the digest of the manifest that this is about. Another manifest begins anew."
    )


class PatchOperation(Reported):
    """One operation of a JSON Patch (RFC 6902)."""

    op: Literal["add", "remove", "replace", "move", "copy", "test"] = Field(description="Operation.")
    path: str = Field(description="JSON Pointer.")
    value: Any = Field(None, description="Value; values of Secrets are shown as a keyed hash.")


# A dict, so that an operation without a value and one with the value null stay apart.
Operation = Annotated[FreeForm, WithJsonSchema(PatchOperation.model_json_schema())]


class ObjectReference(Reported):
    """An object."""

    api_version: str = Field(description="API version.")
    kind: str = Field(description="Kind.")
    namespace: str | None = Field(None, description="Namespace.")
    name: str = Field(description="Name.")


class Difference(ObjectReference):
    """What is not as it should be with one object."""

    sync: str = Field(description="Synced, OutOfSync, Missing, Failed, Refused, Contested or Waiting.")
    health: str | None = Field(
        None, description="Healthy, Progressing, Degraded, Suspended, Missing or Unknown."
    )
    reason: str = Field(description="A machine-readable reason.")
    message: str = Field("", description="A message for people.")
    since: str = Field(description="Since when.", json_schema_extra=TIME)
    patch: tuple[Operation, ...] | None = Field(
        None, description="JSON Patch (RFC 6902) from live to desired."
    )


class DriftEntry(ObjectReference):
    """A manual change, and its correction."""

    manager: str | None = Field(None, description="The field manager that made it.")
    user: str | None = Field(None, description="The user who made it, where the attribution policy saw it.")
    detected: str = Field(description="When it was seen.", json_schema_extra=TIME)
    corrected: str | None = Field(None, description="When it was put back.", json_schema_extra=TIME)
    patch: tuple[Operation, ...] = Field(
        (), description="JSON Patch (RFC 6902) from what it was changed to, to what Git says."
    )
    fields: int | None = Field(
        None, description="How many fields were changed, where they are too many for a patch."
    )


class HistoryEntry(Reported):
    """One application of a revision."""

    revision: str = Field(description="Revision.")
    started: str = Field(description="When it began.", json_schema_extra=TIME)
    finished: str | None = Field(None, description="When it ended.", json_schema_extra=TIME)
    result: str = Field(description="Applied, Healthy, Degraded, or the reason of its failure.")
    changed: int = Field(0, description="Objects created, patched or deleted.")
    trigger: str = Field("", description="What caused it: Commit, Spec, Drift, Requested, Retry, Start.")


class SyncStatus(Reported):
    """Desired versus actual."""

    observed_generation: int | None = Field(
        None, description="The generation of the spec that was last evaluated."
    )
    requested: str | None = Field(
        None, description="The value of annotation `setpoint.dev/requested` that was last answered."
    )
    conditions: tuple[Condition, ...] = Field(
        (),
        description="Ready, Synced, Healthy; Reconciling and Stalled while true.",
        json_schema_extra=CONDITIONS_LIST,
    )
    desired: Desired | None = Field(None, description="What Git says.")
    applied: AppliedRevision | None = Field(None, description="What was last written completely.")
    healthy: Desired | None = Field(None, description="The last applied revision that became healthy.")
    summary: Summary | None = Field(None, description="Counts.")
    inventory: tuple[InventoryGroup, ...] = Field(
        (), description="What this Sync owns; written before the first write."
    )
    leaving: tuple[InventoryGroup, ...] = Field(
        (),
        description="What of the inventory is no longer in Git and is deleted when nothing uses it any more; `differences` names a user.",
    )
    endings: tuple[EndingGroup, ...] = Field(
        (), description="Objects that end by themselves, such as Jobs with a TTL, and how far they are."
    )
    wants: tuple[InventoryGroup, ...] = Field(
        (),
        description="All objects that this Sync wants and another one owns; `differences` lists at most 50.",
    )
    differences: tuple[Difference, ...] = Field((), description="Only what differs, at most 50.")
    omitted: int | None = Field(None, description="How many differences are not listed.")
    drift_log: tuple[DriftEntry, ...] = Field((), description="Manual changes, newest first, at most 20.")
    history: tuple[HistoryEntry, ...] = Field((), description="Revisions, newest first, at most 10.")
