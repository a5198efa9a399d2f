"""Spec and status of a Source."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from setpoint.api import validation
from setpoint.api.base import CONDITIONS_LIST, TIME, Condition, Duration, Name, Namespace, Reported, Spec
from setpoint.api.validation import Rule

LONGEST_TIMEOUT = "10m"


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
        validation.SCHEME,
        validation.NO_CREDENTIALS,
        validation.NO_DOTS,
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
    timeout: Annotated[Duration, validation.at_most(LONGEST_TIMEOUT)] = Field(
        "60s", description=f"The limit of one Git operation, {LONGEST_TIMEOUT} at most."
    )
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


class Commit(Reported):
    """A commit, as people know it."""

    sha: str = Field(description="40 hex digits.")
    subject: str = Field("", description="The first line of its message.")
    author: str = Field("", description="The author's name.")
    time: str | None = Field(None, description="When it was authored.", json_schema_extra=TIME)
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
    commit: Commit | None = Field(None, description="The commit of the last good revision.")
    last_fetched: str | None = Field(
        None, description="When that commit was fetched.", json_schema_extra=TIME
    )
