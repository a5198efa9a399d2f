"""Spec of a Sync."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field, StrictInt, StrictStr

from setpoint.api import validation
from setpoint.api.base import Duration, Name, Namespace, Path, Spec
from setpoint.api.validation import Rule


class SourceReference(Spec):
    """A Source, here or in a namespace that allows this one."""

    name: Name = Field(description="Name of the Source.")
    namespace: Namespace | None = Field(None, description="Its namespace; without it the Sync's own.")


class Reference(Spec):
    """A Sync, here or in another namespace."""

    name: Name = Field(description="Name of the Sync.")
    namespace: Namespace | None = Field(None, description="Its namespace; without it the Sync's own.")


class KustomizeImage(Spec):
    """An image override, as in a kustomization's `images`."""

    name: str = Field(min_length=1, description="The image name that manifests have.")
    new_name: str | None = Field(None, description="The name to put in its place.")
    new_tag: str | None = Field(None, description="The tag to put in its place.")
    digest: str | None = Field(None, description="The digest to put in its place.")


class PatchTarget(Spec):
    """What a patch applies to: regular expressions, and selectors."""

    group: str | None = Field(None, description="API group.")
    version: str | None = Field(None, description="API version.")
    kind: str | None = Field(None, description="Kind.")
    name: str | None = Field(None, description="Name.")
    namespace: str | None = Field(None, description="Namespace.")
    label_selector: str | None = Field(None, description="Label selector.")
    annotation_selector: str | None = Field(None, description="Annotation selector.")


class KustomizePatch(Spec):
    """A strategic merge or JSON 6902 patch, as in a kustomization's `patches`."""

    patch: str = Field(min_length=1, description="The patch, as YAML or JSON.")
    target: PatchTarget | None = Field(
        None, description="What it applies to; a strategic merge patch may name its target itself."
    )


class Kustomize(Spec):
    """An overlay that is laid over `path`."""

    name_prefix: str | None = Field(None, description="Put before every name.")
    name_suffix: str | None = Field(None, description="Put after every name.")
    images: tuple[KustomizeImage, ...] = Field((), max_length=256, description="Image overrides.")
    patches: tuple[KustomizePatch, ...] = Field((), max_length=256, description="Patches.")
    components: tuple[Path, ...] = Field(
        (), max_length=256, description="Components, relative to `path`, inside the repository."
    )
    common_labels: dict[str, str] = Field(
        default_factory=dict, description="Labels put on every object (not into selectors)."
    )
    common_annotations: dict[str, str] = Field(
        default_factory=dict, description="Annotations put on every object."
    )


class IgnoreTarget(Spec):
    """Which objects a rule is for; what is left out matches all."""

    group: str | None = Field(None, description="API group; empty for the core group.")
    kind: str | None = Field(None, description="Kind.")
    name: str | None = Field(None, description="Name.")
    namespace: str | None = Field(None, description="Namespace.")


class IgnoreRule(Spec):
    """Fields that belong to somebody else: Git's value is used on create, the live one ever after."""

    target: IgnoreTarget = Field(default_factory=IgnoreTarget, description="Which objects.")
    paths: tuple[Annotated[str, Field(max_length=1024), validation.FIELD_PATH], ...] = Field(
        min_length=1,
        max_length=256,
        description="JSON Pointers (RFC 6901), such as `/spec/replicas`. An index counts in Git's list; an element "
        "may be named by fields: `/spec/template/spec/containers/[name=app]/image`.",
    )


class Drift(StrEnum):
    """What happens to a manual change."""

    CORRECT = "Correct"
    REPORT = "Report"


class DeletionPolicy(StrEnum):
    """What happens to the objects when the Sync is deleted."""

    PRUNE = "Prune"
    ORPHAN = "Orphan"


class OnError(StrEnum):
    """What one rejected object means for the others."""

    ABORT = "Abort"
    CONTINUE = "Continue"


RENDER_FIELDS = {"path", "exclude", "target_namespace", "kustomize"}
"""Fields of a Sync's spec that rendering depends on."""


class SyncSpec(Spec):
    """What part of a Source the cluster must equal, and how."""

    invariants = (
        Rule(
            "!(has(self.createNamespace) && self.createNamespace) || has(self.targetNamespace)",
            "createNamespace needs targetNamespace: that is the one to create",
            lambda spec: not spec.create_namespace or spec.target_namespace is not None,
        ),
    )
    source: SourceReference = Field(description="Where the commit comes from.")
    path: Path = Field(".", description="The folder in the repository.")
    exclude: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=1024)], ...], validation.PATTERNS
    ] = Field(
        (),
        max_length=256,
        description="Files to leave out of a folder of plain manifests: the lines of a .gitignore, relative to `path`.",
    )
    interval: Duration = Field("1h", description="Safety net only: everything else is event-driven.")
    timeout: Duration = Field("5m", description="A revision that is not healthy by then has failed.")
    target_namespace: Namespace | None = Field(
        None, description="The namespace of objects that name none (kustomizations: of all)."
    )
    create_namespace: bool = Field(
        False, description="Whether to create `targetNamespace`; it is never pruned."
    )
    kustomize: Kustomize | None = Field(None, description="An overlay that is laid over `path`.")
    prune: bool = Field(True, description="Whether objects that leave Git are deleted.")
    prune_limit: Annotated[StrictInt | StrictStr, validation.LIMIT] = Field(
        "25%",
        description="The most objects that one commit may delete, as a number or a share (at least 5 objects).",
        json_schema_extra={"x-kubernetes-int-or-string": True},
    )
    deletion_policy: DeletionPolicy | None = Field(
        None, description="What happens to the objects when the Sync is deleted; Prune if `prune`."
    )
    drift: Drift = Field(Drift.CORRECT, description="Whether manual changes are corrected or only reported.")
    ignore: tuple[IgnoreRule, ...] = Field(
        (), max_length=256, description="Fields that belong to somebody else."
    )
    depends_on: tuple[Reference, ...] = Field(
        (), max_length=256, description="Syncs that must be Ready first; deleted in reverse."
    )
    on_error: OnError = Field(
        OnError.ABORT,
        description="Abort: a stage is written only if every object of it passes the dry run. Continue: those that pass.",
    )
    service_account_name: Name | None = Field(
        None,
        description="The identity for every write and every read of an object; in the Sync's own namespace.",
    )
    suspend: bool = Field(False, description="Whether to stop applying, correcting and pruning.")
