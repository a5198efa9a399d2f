"""The API: pydantic models of Source and Sync. The one truth that CRDs, chart schema and docs are made from.

Specs are strict (`extra="forbid"`: files and the command line meet unknown fields with an error; the API
server prunes them before we see them). Statuses are lenient on read, so that an older operator survives a
newer status. JSON names are camelCase, as the Kubernetes API conventions ask.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    StrictInt,
    StrictStr,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from setpoint import rules
from setpoint.rules import Rule

DURATION_PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
NAMESPACE_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"

Duration = Annotated[str, Field(pattern=DURATION_PATTERN, max_length=32), rules.POSITIVE]
Name = Annotated[str, Field(pattern=NAME_PATTERN, min_length=1, max_length=253)]
Namespace = Annotated[str, Field(pattern=NAMESPACE_PATTERN, min_length=1, max_length=63)]
Path = Annotated[str, Field(max_length=1024), rules.RELATIVE]
FreeForm = dict[str, Any]


class Spec(BaseModel):
    """What a user writes: unknown fields are an error, and errors never quote the input."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )
    invariants: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _obeys_its_rules(self) -> Self:
        for rule in self.invariants:
            rule.check(self)
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return rules.with_rules(handler.resolve_ref_schema(handler(schema)), cls.invariants)


class Reported(BaseModel):
    """What the operator writes: unknown fields are dropped on read."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)


class SecretReference(Spec):
    """A Secret in the same namespace."""

    name: Name = Field(description="Name of the Secret.")


class GitRef(Spec):
    """Which commit of the repository: at most one way of saying it; `branch` may accompany `commit`."""

    invariants = (
        Rule(
            "[has(self.branch) && !has(self.commit), has(self.tag), has(self.semver), has(self.name), "
            "has(self.commit)].filter(x, x).size() <= 1",
            "set at most one of branch, tag, semver, name, commit (branch may accompany commit)",
            lambda ref: (
                [ref.branch if ref.commit is None else None, ref.tag, ref.semver, ref.name, ref.commit].count(
                    None
                )
                >= 4
            ),
        ),
    )
    branch: str | None = Field(None, min_length=1, max_length=255, description="A branch, such as `main`.")
    tag: str | None = Field(None, min_length=1, max_length=255, description="A tag, such as `v1.4.0`.")
    semver: str | None = Field(
        None,
        min_length=1,
        max_length=255,
        description="A range over tags, such as `>=1.4.0 <2.0.0`; the highest one wins.",
    )
    name: str | None = Field(
        None,
        min_length=1,
        max_length=255,
        pattern=r"^refs/",
        description="Any full ref, such as `refs/pull/42/head`.",
    )
    commit: str | None = Field(
        None,
        pattern=r"^[0-9a-f]{40}$",
        description="A commit, by its 40 hex digits; `branch` says where to look for it.",
    )


class SourceSpec(Spec):
    """Where commits come from."""

    invariants = (
        rules.SCHEME,
        rules.NO_CREDENTIALS,
        Rule(
            "!(self.url.startsWith('http://') && has(self.secretRef))",
            "credentials are never sent over http: use https or ssh, or remove secretRef",
            lambda spec: not (spec.url.startswith("http://") and spec.secret_ref),
        ),
    )
    url: str = Field(
        max_length=2048,
        description="The repository: https, http (never with credentials), ssh:// or git@host:path.",
    )
    ref: GitRef = Field(default_factory=GitRef, description="Which commit; without it the remote's HEAD.")
    interval: Duration = Field(
        "1m",
        description="How often the remote is asked for its refs; a fetch follows only when the answer changed.",
    )
    timeout: Duration = Field("60s", description="The limit of one Git operation.")
    secret_ref: SecretReference | None = Field(
        None,
        description="Credentials: username and password, or bearerToken, or identity and known_hosts (and password of the key); "
        "ca.crt with any of them.",
    )
    submodules: bool = Field(False, description="Whether submodules are fetched too.")
    allowed_namespaces: tuple[Namespace, ...] = Field(
        (),
        max_length=256,
        description="Other namespaces whose Syncs may use this Source.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    suspend: bool = Field(False, description="Whether to stop asking the remote.")


class ConditionStatus(StrEnum):
    """The three states of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Reported):
    """A condition as the Kubernetes API conventions define it (metav1.Condition)."""

    type: str = Field(description="Ready, Synced, Healthy, Reconciling or Stalled.")
    status: ConditionStatus = Field(description="True, False or Unknown.")
    observed_generation: int | None = Field(
        None, description="The generation of the spec that this speaks of."
    )
    last_transition_time: str = Field(
        description="When `status` last changed.", json_schema_extra={"format": "date-time"}
    )
    reason: str = Field(description="A word for machines; `docs/operations.md` explains each.")
    message: str = Field(description="A sentence for people.")


CONDITIONS_LIST: JsonDict = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
_TIME: JsonDict = {"format": "date-time"}


class Commit(Reported):
    """A commit, as people know it."""

    sha: str = Field(description="40 hex digits.")
    subject: str = Field("", description="The first line of its message.")
    author: str = Field("", description="The author's name.")
    time: str | None = Field(None, description="When it was authored.", json_schema_extra=_TIME)
    summary: str = Field("", description="`subject (author)`, for the column COMMIT.")


class SourceStatus(Reported):
    """What the remote last said."""

    observed_generation: int | None = Field(
        None, description="The generation of the spec that was last evaluated."
    )
    requested: str | None = Field(
        None, description="The value of annotation `setpoint.dev/requested` that was last answered."
    )
    conditions: tuple[Condition, ...] = Field(
        (), description="Ready, and Stalled while true.", json_schema_extra=CONDITIONS_LIST
    )
    revision: str | None = Field(None, description="The last good revision, such as `main@sha1:<40 hex>`.")
    short: str | None = Field(None, description="The revision for people: `main@1a2b3c4`.")
    commit: Commit | None = Field(None, description="The commit of that revision.")
    last_fetched: str | None = Field(
        None, description="When that commit was fetched.", json_schema_extra=_TIME
    )


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
    paths: tuple[Annotated[str, Field(pattern=r"^(/([^~/]|~[01])*)+$", max_length=1024)], ...] = Field(
        min_length=1, max_length=256, description="JSON Pointers (RFC 6901), such as `/spec/replicas`."
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
    exclude: tuple[Annotated[str, Field(min_length=1, max_length=1024)], ...] = Field(
        (),
        max_length=256,
        description="Files to leave out of a folder of plain manifests (gitignore patterns, relative to `path`).",
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
    prune_limit: Annotated[StrictInt | StrictStr, rules.LIMIT] = Field(
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


class Desired(Reported):
    """What Git says."""

    revision: str = Field(description="The commit that last touched the inputs of this Sync.")
    short: str = Field("", description="The revision for people: `main@1a2b3c4`.")
    digest: str = Field(description="Digest of the inputs.")
    at: str = Field(description="Since when.", json_schema_extra=_TIME)


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
    drifted: int = Field(0, description="Different from Git now.")
    corrected: int = Field(0, description="Corrections so far.")


class InventoryGroup(Reported):
    """Objects of one kind in one namespace."""

    api_version: str = Field(description="API version, as last applied.")
    kind: str = Field(description="Kind.")
    namespace: str | None = Field(None, description="Namespace; none for cluster-scoped objects.")
    names: tuple[str, ...] = Field(description="Names.")


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
    reason: str = Field(description="A word for machines.")
    message: str = Field("", description="A sentence for people.")
    since: str = Field(description="Since when.", json_schema_extra=_TIME)
    patch: tuple[Operation, ...] | None = Field(
        None, description="JSON Patch (RFC 6902) from live to desired."
    )


class DriftEntry(ObjectReference):
    """A manual change, and its correction."""

    manager: str | None = Field(None, description="The field manager that made it.")
    user: str | None = Field(None, description="The user who made it, where the attribution policy saw it.")
    detected: str = Field(description="When it was seen.", json_schema_extra=_TIME)
    corrected: str | None = Field(None, description="When it was put back.", json_schema_extra=_TIME)
    patch: tuple[Operation, ...] = Field(
        (), description="JSON Patch (RFC 6902) from what it was changed to, to what Git says."
    )


class HistoryEntry(Reported):
    """One application of a revision."""

    revision: str = Field(description="Revision.")
    started: str = Field(description="When it began.", json_schema_extra=_TIME)
    finished: str | None = Field(None, description="When it ended.", json_schema_extra=_TIME)
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
    differences: tuple[Difference, ...] = Field((), description="Only what differs, at most 50.")
    omitted: int | None = Field(None, description="How many differences are not listed.")
    drift_log: tuple[DriftEntry, ...] = Field((), description="Manual changes, newest first, at most 20.")
    history: tuple[HistoryEntry, ...] = Field((), description="Revisions, newest first, at most 10.")


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
