"""The operator's settings: one frozen model, read from the environment (pure).

In: a mapping such as `os.environ`. Out: `Settings`, or Problem(InvalidSpec) that names the variable. Each field
is the variable `SETPOINT_<FIELD>`; the chart's `settings` and docs/reference/settings.md are made from this model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
)

from setpoint.api import formats, hosts
from setpoint.api.base import DURATION_PATTERN
from setpoint.api.budgets import DEFAULTS, Budgets
from setpoint.api.reasons import Problem, Reason

PREFIX = "SETPOINT_"
RELEASE_NAMESPACE = "POD_NAMESPACE"
SIZES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def _seconds(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return formats.seconds(value)
    except Problem as problem:
        raise ValueError(problem.message) from problem


def _size(value: object) -> object:
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"([0-9]{1,15})([kMG]|[KMG]i)?", value)
    if not found:
        raise ValueError("write a size as 512Mi or 1Gi")
    return int(found[1]) * SIZES[found[2] or ""]


def _boolean(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value.lower() not in BOOLEANS:
        raise ValueError("write true or false")
    return BOOLEANS[value.lower()]


def _words(value: object) -> object:
    return tuple(filter(None, re.split(r"[,\s]+", value))) if isinstance(value, str) else value


def _hosts(value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(hosts.entry(each) for each in value)


SIZE_PATTERN = r"^[0-9]{1,15}([kMG]|[KMG]i)?$"
# The JSON schema is that of the chart's values, where durations and sizes are texts.
Seconds = Annotated[
    float,
    Field(gt=0),
    BeforeValidator(_seconds),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN}),
]
Size = Annotated[
    int,
    Field(gt=0),
    BeforeValidator(_size),
    WithJsonSchema({"type": "string", "pattern": SIZE_PATTERN}),
]
KnownSize = Annotated[
    int,
    Field(ge=0),
    BeforeValidator(_size),
    WithJsonSchema({"type": "string", "pattern": SIZE_PATTERN}),
]
"""A size, or 0 if it is not known."""
Count = Annotated[int, Field(ge=1, le=1024)]
Many = Annotated[int, Field(ge=1, le=2**31 - 1)]
Flag = Annotated[bool, BeforeValidator(_boolean)]
Words = Annotated[tuple[str, ...], BeforeValidator(_words)]
Hosts = Annotated[Words, AfterValidator(_hosts)]
User = Annotated[int, Field(ge=0, le=2**32 - 2)]
Port = Annotated[int, Field(ge=0, le=65535)]


class Settings(BaseModel):
    """Everything that can be set from outside. Durations are seconds, sizes are bytes, once read."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    namespace: str = Field(
        "setpoint-system",
        min_length=1,
        description="The release namespace, where the operator keeps its lease and its key (also read from `POD_NAMESPACE`).",
    )
    cluster_id: str = Field(
        "",
        max_length=253,
        description="What distinguishes this cluster from others in `setpoint.dev/sync`; empty: the uid of the namespace kube-system.",
    )
    admin_namespaces: Words = Field(
        (),
        description="Namespaces whose Syncs may go without `serviceAccountName`; not set at all: the release namespace alone.",
    )
    admin_service_account: str = Field(
        "setpoint-admin",
        min_length=1,
        description="The account in the release namespace that such Syncs act as.",
    )
    watch_namespaces: Words = Field(
        (), description="Namespaces that the operator looks at; empty: all of them."
    )
    workers: Count = Field(16, description="How many Syncs and Sources are reconciled at the same time.")
    fetch_concurrency: Count = Field(4, description="How many Git operations run at the same time.")
    git_processes: Annotated[int, Field(ge=2, le=1024)] = Field(
        8,
        description="How many processes that talk to Git servers there are at most: one for each namespace, server and what is trusted of it, and one for each fetch.",
    )
    git_memory: Size = Field(
        384 * SIZES["Mi"],
        description="How much memory these processes may take together; of more, the largest is ended.",
    )
    git_allowed_hosts: Hosts = Field(
        (),
        description="Git servers that may be connected to: names, `*.` and a domain, addresses, networks; empty: all. Loopback, link-local and multicast addresses, those where clouds keep credentials, and the API server are allowed only by an entry that lies within them, such as `127.0.0.0/8`; beside such entries, `*` allows all others.",
    )
    git_denied_hosts: Hosts = Field(
        (),
        description="Git servers that may not be connected to, written as those that may; they are denied though they are in both lists.",
    )
    readers: Count = Field(
        3,
        description="How many processes that read commits there may be: one for each namespace in use; where another is needed, an idle one ends.",
    )
    reader_memory: Size = Field(
        512 * SIZES["Mi"], description="The memory limit of one process that reads commits."
    )
    render_concurrency: Count = Field(
        3,
        description="How many renderer processes run at the same time. A namespace never has all of them, so one alone has two.",
    )
    render_timeout: Seconds = Field(60.0, description="The time limit of one renderer process.")
    render_memory: Size = Field(512 * SIZES["Mi"], description="The memory limit of one renderer process.")
    render_libraries: Words = Field(
        (),
        description="Files and folders that a renderer may read and run beside its program, if that is not linked statically as the image's is.",
    )
    landlock: Literal["required", "best-effort"] = Field(
        "required",
        description="Whether the worker starts where the kernel has no Landlock, which keeps readers, renderers and Git processes from files: with `best-effort` it does, and they keep their other fences.",
    )
    apply_concurrency: Count = Field(
        16,
        description="How many objects of all Syncs together are checked, written or deleted at the same time.",
    )
    worker_memory: KnownSize = Field(
        0,
        description="The memory limit of the worker's container, in which all of its parts must have room; 0: not known, and nothing is compared with it.",
    )
    worker_socket: str = Field(
        "",
        description="The folder of the socket at which a worker listens; empty: the operator starts a worker itself.",
    )
    worker_user: User = Field(
        65533, description="The user id that the worker must have that the operator dials."
    )
    operator_user: User = Field(
        65532, description="The user id that the operator must have that dials the worker."
    )
    same_user: Flag = Field(
        False,
        description="Whether operator and worker run as one user, each as that of its own process, where a platform gives both the same.",
    )
    cache_dir: str = Field(
        "",
        description="The folder of the Git mirrors; empty: `setpoint` in `$XDG_CACHE_HOME` or `$HOME/.cache`.",
    )
    cache_size: Size = Field(
        256 * SIZES["Mi"],
        description="How large the cache may grow before mirrors are removed: those that nobody reads first, and of them the one used longest ago.",
    )
    cache_in_memory: Flag = Field(
        False, description="Whether the cache is in memory, and counts towards that of the worker."
    )
    kustomize: str = Field(
        "kustomize", min_length=1, description="The kustomize program: a path, or a name on `PATH`."
    )
    allow_file_urls: Flag = Field(
        False, description="Whether a Source may have a `file://` URL: for tests and demos on one machine."
    )
    people_managers: Words = Field(
        (), description="Field managers besides `kubectl*` whose additions to managed objects are removed."
    )
    strict_fields: Flag = Field(
        False,
        description="Whether a field that the API server does not know is an error instead of a warning.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least severe messages that are logged."
    )
    log_format: Literal["json", "text"] = Field(
        "json", description="One JSON object a line, or text for people."
    )
    metrics_port: Port = Field(8080, description="The port of `/metrics`; 0: none.")
    probe_port: Port = Field(8081, description="The port of `/healthz` and `/readyz`; 0: none.")
    leader_election: Flag = Field(
        True, description="Whether a lease keeps a second operator from working at the same time."
    )
    lease_name: str = Field("setpoint", min_length=1, description="The name of the lease.")
    lease_duration: Seconds = Field(
        10.0,
        ge=3,
        description="How long a lease lasts; after a crash the takeover waits that long, after a clean stop not at all.",
    )
    hmac_secret: str = Field(
        "setpoint-redaction-key",
        min_length=1,
        description="The Secret in the release namespace whose `key` turns values of Secrets into hashes, in patches that people see; digests in statuses are made with it too.",
    )
    request_timeout: Seconds = Field(30.0, description="The time limit of one request to the API server.")
    watch_silence: Seconds = Field(
        90.0,
        description="How long a watch may be silent before its connection counts as dead. API servers send something each minute.",
    )

    max_file_size: Size = Field(
        DEFAULTS.max_file_size,
        description="How large one file of a commit may be that is read. Git's header is asked first, and what is larger is not unpacked.",
    )
    max_folder_entries: Many = Field(
        DEFAULTS.max_folder_entries, description="How many files and folders one folder of a commit may hold."
    )
    max_files: Many = Field(
        DEFAULTS.max_files,
        description="How many files and folders a Sync may lead to: all below its path, and all that kustomizations refer to.",
    )
    max_input_size: Size = Field(
        DEFAULTS.max_input_size, description="How many bytes of files a Sync may read."
    )
    max_depth: Annotated[int, Field(ge=8, le=64)] = Field(
        DEFAULTS.max_depth,
        description="How many levels there may be of folders, of kustomizations that refer to each other, and in a YAML document.",
    )
    max_links: Many = Field(
        DEFAULTS.max_links,
        description="How many symlinks to folders a folder of plain manifests may lead through.",
    )
    max_yaml_values: Many = Field(
        DEFAULTS.max_yaml_values,
        description="How many values the YAML and JSON of a Sync may have: mappings, lists, keys and scalars, what aliases stand for included.",
    )
    max_objects: Many = Field(DEFAULTS.max_objects, description="How many objects a Sync may have.")
    max_object_size: Size = Field(
        DEFAULTS.max_object_size,
        description="How large one object may be as JSON. The API server takes no more than this unless etcd is told to.",
    )
    max_render_size: Size = Field(
        DEFAULTS.max_render_size,
        description="How large all objects of a Sync may be as JSON; and how much one build may print.",
    )
    max_patterns: Annotated[int, Field(ge=1, le=256)] = Field(
        DEFAULTS.max_patterns,
        description="How many patterns `spec.exclude` may have; the CRD allows no more.",
    )
    max_patterns_size: Annotated[int, Field(ge=1, le=16_384)] = Field(
        DEFAULTS.max_patterns_size,
        description="How many characters the patterns of `spec.exclude` may have in all; the CRD allows no more.",
    )
    max_fetch_size: Size = Field(
        DEFAULTS.max_fetch_size,
        description="How many bytes one fetch from a Git server may bring, however large the cache is.",
    )
    max_fetch_unpacked: Size = Field(
        DEFAULTS.max_fetch_unpacked, description="How many bytes the objects of one fetch may have, unpacked."
    )
    max_fetch_objects: Many = Field(
        DEFAULTS.max_fetch_objects, description="How many Git objects one fetch may bring."
    )
    max_submodules: Many = Field(
        DEFAULTS.max_submodules,
        description="How many submodules a commit may have, with those of submodules.",
    )
    max_diff: Many = Field(
        DEFAULTS.max_diff,
        description="How many fields of an object may differ for each of them to be shown; of more, their number is.",
    )
    max_read_set: Many = Field(
        DEFAULTS.max_read_set,
        description="How many paths are remembered of what a Sync looked at; with more, each commit is looked at.",
    )

    @property
    def budgets(self) -> Budgets:
        """How much is read of what a tenant wrote."""
        return Budgets(**{each.name: getattr(self, each.name) for each in fields(Budgets)})


FIELDS = tuple(Settings.model_fields)
OF_BOTH = frozenset(
    {
        *("allow_file_urls", "log_level", "log_format", "same_user"),
        *("max_objects", "max_render_size", "max_yaml_values"),
    }
)
"""The settings that the operator reads and the worker too."""
OF_WORKER = OF_BOTH | frozenset(
    (
        *("git_processes", "git_memory", "git_allowed_hosts", "git_denied_hosts", "operator_user"),
        *("readers", "reader_memory", "worker_memory"),
        *("render_concurrency", "render_timeout", "render_memory", "render_libraries", "landlock"),
        *("cache_dir", "cache_size", "cache_in_memory", "kustomize"),
        *(each.name for each in fields(Budgets) if each.name != "max_diff"),
    )
)
"""The settings that the worker reads: how to fetch, read and render."""
SIZED = frozenset(
    name
    for name, schema in Settings.model_json_schema()["properties"].items()
    if schema.get("pattern") == SIZE_PATTERN
)
"""The settings that are sizes, in bytes."""
LISTS = tuple(name for name, field in Settings.model_fields.items() if field.annotation == tuple[str, ...])


def of_worker(field: str) -> bool:
    """Return whether the worker reads a setting."""
    return field in OF_WORKER


def of_operator(field: str) -> bool:
    """Return whether the operator reads a setting, where the worker is a container of its own."""
    return field not in OF_WORKER or field in OF_BOTH


def variable(field: str) -> str:
    """Return the name of the environment variable of a field."""
    return PREFIX + field.upper()


def written(field: str) -> str:
    """Return the default of a field as people write it: `15s`, `256Mi`, `true`; empty if there is none."""
    default = Settings.model_fields[field].default
    if isinstance(default, float):
        return f"{default:g}s"
    if isinstance(default, bool):
        return str(default).lower()
    if field in SIZED and default:
        unit = next(u for u in ("Mi", "Ki", "") if default % SIZES[u] == 0)
        return f"{default // SIZES[unit]}{unit}"
    return ",".join(default) if isinstance(default, tuple) else str(default)


def from_environ(environ: Mapping[str, str]) -> Settings:
    """Read the settings; Problem(InvalidSpec) with the variable's name if a value cannot be used.

    An empty variable counts as not set, but for lists, where it means none.
    """
    found = {name: environ[variable(name)].strip() for name in FIELDS if variable(name) in environ}
    given = {name: text for name, text in found.items() if text or name in LISTS}
    try:
        return Settings.model_validate({**_defaults(environ, given), **given})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        name = variable(str(first["loc"][0]))
        raise Problem(Reason.InvalidSpec, f"{name}: {_words_of(first['msg'])}") from None


def _defaults(environ: Mapping[str, str], given: Mapping[str, str]) -> dict[str, object]:
    """Return the defaults that depend on other settings or on where the operator runs."""
    namespace = given.get("namespace") or environ.get(RELEASE_NAMESPACE) or Settings().namespace
    caches = environ.get("XDG_CACHE_HOME") or f"{environ.get('HOME', '')}/.cache"
    return {
        "namespace": namespace,
        "admin_namespaces": (namespace,),
        "cache_dir": f"{caches}/setpoint",
    }


def _words_of(message: str) -> str:
    return message.removeprefix("Value error, ")
