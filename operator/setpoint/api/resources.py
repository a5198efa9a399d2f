"""The pydantic models of Source and Sync. CRDs, chart schema and docs are generated from them."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from setpoint.api.base import Spec
from setpoint.api.source import SourceSpec, SourceStatus
from setpoint.api.sync import SyncSpec
from setpoint.api.sync_status import SyncStatus


class Metadata(BaseModel):
    """The part of ObjectMeta that the operator reads; the rest is kept as it is."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="allow", frozen=True)
    name: str
    namespace: str | None = None


class Source(BaseModel):
    """A Source: where commits come from."""

    model_config = Spec.model_config
    api_version: Literal["setpoint.dev/v1alpha1"] = "setpoint.dev/v1alpha1"
    kind: Literal["Source"] = "Source"
    metadata: Metadata
    spec: SourceSpec
    status: SourceStatus | None = None


class Sync(BaseModel):
    """A Sync: what part of a Source the cluster must equal."""

    model_config = Spec.model_config
    api_version: Literal["setpoint.dev/v1alpha1"] = "setpoint.dev/v1alpha1"
    kind: Literal["Sync"] = "Sync"
    metadata: Metadata
    spec: SyncSpec
    status: SyncStatus | None = None
