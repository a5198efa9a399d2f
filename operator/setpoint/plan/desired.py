"""Turns rendered documents into desired objects: with a namespace and with marks of ownership (pure)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeGuard

from setpoint.api import names
from setpoint.api.reasons import Problem, Reason
from setpoint.objects.exported import without_server_fields
from setpoint.objects.identity import Manifest, ObjectId, SyncKey, digest, group_of, owner_annotation
from setpoint.objects.kinds import Kind
from setpoint.plan.served import FindServed, not_served, successors


@dataclass(frozen=True, slots=True)
class Ref:
    """A desired object without its content: the manifest is rendered again when it is needed."""

    id: ObjectId
    api_version: str
    digest: str
    where: str
    stage: StageKey


class Phase(IntEnum):
    """What is written one after the other, whatever the waves say."""

    NAMESPACES = 0
    CRDS = 1
    ACCESS = 2
    WAVES = 3
    """All the rest; only these have waves."""
    BLOCKING = 4
    """What can block other writes."""


StageKey = tuple[Phase, int, int]
"""(phase, wave, part)."""


FindKind = Callable[[str, str], Kind | None]
"""(apiVersion, kind) -> what discovery says of it, or None."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A manifest and where it stands: `file`, and for people `file:line`."""

    manifest: Manifest
    where: str


@dataclass(frozen=True, slots=True)
class Desired:
    """One object as Git wants it. `kind` is None while its CRD is not there; `digest` is of the stamped manifest."""

    id: ObjectId
    manifest: Manifest
    digest: str
    where: str
    kind: Kind | None
    unsent: tuple[str, ...] = ()
    """Fields of the file that say something and are the API server's, so that they were left out."""


@dataclass(frozen=True, slots=True)
class OwnershipMarks:
    """What marks an object as a Sync's: the Sync and the value of its label."""

    key: SyncKey
    label: str


def stamped(manifest: Manifest, oid: ObjectId, marks: OwnershipMarks) -> Manifest:
    """Return a copy with our label and owner annotation; `metadata` and its two maps are copied, the rest is shared."""
    meta = dict(manifest["metadata"])
    meta["labels"] = {**(meta.get("labels") or {}), names.LABEL_SYNC: marks.label}
    wanted = meta.get("annotations") or {}
    meta["annotations"] = {
        **{k: v for k, v in wanted.items() if k != names.ANNOTATION_DROPPED_BY},  # ours, never Git's
        names.ANNOTATION_OWNER: owner_annotation(marks.key, oid),
    }
    return {**manifest, "metadata": meta}


def as_stored(manifest: Manifest) -> Manifest:
    """Return a Secret with its write-only `stringData` as the `data` that the server makes of it.

    The server keeps no owner of what came by `stringData`: a key that leaves Git would stay, and one that somebody
    edited would look like an addition of theirs. What is no map of texts is left for the server to refuse.
    """
    texts = manifest.get("stringData")
    data = manifest.get("data") or {}
    if (manifest["apiVersion"], manifest["kind"]) != ("v1", "Secret") or not _is_of_texts(texts):
        return manifest
    if not isinstance(data, dict):
        return manifest
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    return {**{k: v for k, v in manifest.items() if k != "stringData"}, "data": {**data, **encoded}}


def _is_of_texts(value: object) -> TypeGuard[dict[str, str]]:
    return isinstance(value, dict) and all(isinstance(v, str) for v in value.values())


def crd_scopes(documents: Iterable[Rendered]) -> Mapping[tuple[str, str], bool]:
    """Return (group, kind) -> namespaced for the CRDs among the documents."""
    return {called: crd.namespaced for called, crd in _brought(documents).items()}


@dataclass(frozen=True, slots=True)
class _Brought:
    """A kind that a CRD of the commit brings: its scope, and the apiVersions that it serves."""

    namespaced: bool
    versions: tuple[str, ...]


def _brought(documents: Iterable[Rendered]) -> Mapping[tuple[str, str], _Brought]:
    """Return (group, kind) -> what the CRDs among the documents say."""
    return {
        (group, kind): _Brought(
            spec.get("scope") == "Namespaced",
            tuple(
                f"{group}/{v.get('name')}"
                for v in _mappings(spec.get("versions"))
                if v.get("served") is not False
            ),
        )
        for group, kind, spec in _definitions(documents)
    }


def _definitions(documents: Iterable[Rendered]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Return group, kind and spec of each CRD among the documents."""
    for d in documents:
        if d.manifest["kind"] == "CustomResourceDefinition":
            spec: Mapping[str, Any] = d.manifest.get("spec") or {}
            kind = (spec.get("names") or {}).get("kind")
            if isinstance(kind, str):
                yield str(spec.get("group")), kind, spec


def _with_status(documents: Iterable[Rendered]) -> frozenset[tuple[str, str]]:
    """Return (apiVersion, kind) of what the CRDs among the documents give a status subresource."""
    return frozenset(
        (f"{group}/{version.get('name')}", kind)
        for group, kind, spec in _definitions(documents)
        for version in _mappings(spec.get("versions"))
        if isinstance(parts := version.get("subresources"), dict) and "status" in parts
    )


def _mappings(value: object) -> Iterable[Mapping[str, Any]]:
    return (v for v in value if isinstance(v, dict)) if isinstance(value, list) else ()


def complete(
    documents: Iterable[Rendered],
    find: FindKind,
    target_namespace: str | None,
    marks: OwnershipMarks,
    broken: Collection[str] = (),
    served: FindServed = lambda _kind: (),
) -> tuple[list[Desired], list[tuple[ObjectId, Problem]]]:
    """Turn documents into desired objects; what cannot be placed comes back as (identity, problem).

    Namespaced objects without a namespace get `target_namespace`; cluster-scoped ones lose theirs, as with kubectl.
    `broken` are the API groups whose server does not answer, so that their kinds are not known now; `served` says in
    which other versions a kind is there.
    """
    documents = list(documents)
    brought, with_status = _brought(documents), _with_status(documents)
    good: list[Desired] = []
    bad: list[tuple[ObjectId, Problem]] = []
    seen: dict[ObjectId, str] = {}
    for d in documents:
        kind = find(d.manifest["apiVersion"], d.manifest["kind"])
        oid, problem = _place(d, kind, brought, target_namespace, _Served(broken, served))
        if problem is None and oid in seen:
            text = f"{d.where}: {oid.label()} is already defined at {seen[oid]}; remove one of them"
            problem = Problem(Reason.RenderFailed, text)
        seen.setdefault(oid, d.where)
        if problem is not None:
            bad.append((oid, problem))
            continue
        called = (d.manifest["apiVersion"], d.manifest["kind"])
        has_status = kind.has_status if kind else called in with_status
        own, unsent = without_server_fields(as_stored(d.manifest), has_status=has_status)
        manifest = stamped(_with_namespace(own, oid.namespace), oid, marks)
        good.append(Desired(oid, manifest, digest(manifest), d.where, kind, unsent))
    return good, bad


@dataclass(frozen=True, slots=True)
class _Served:
    """What is known of kinds that are not served at the version of Git: as the arguments of `complete`."""

    broken: Collection[str]
    find: FindServed


def _place(
    d: Rendered,
    kind: Kind | None,
    brought: Mapping[tuple[str, str], _Brought],
    target: str | None,
    known: _Served,
) -> tuple[ObjectId, Problem | None]:
    m = d.manifest
    group = group_of(m["apiVersion"])
    name, own = m["metadata"]["name"], m["metadata"].get("namespace") or ""
    crd = brought.get((group, m["kind"]))
    # What the commit says of a kind counts, though the cluster may serve another version until its CRD is written.
    if kind is None if crd is None else crd.versions and m["apiVersion"] not in crd.versions:
        return _unserved(d, own or target or "", crd, known)
    namespaced = kind.namespaced if kind else crd is not None and crd.namespaced
    oid = ObjectId(group, m["kind"], (own or target or "") if namespaced else "", name)
    if namespaced and not oid.namespace:
        text = f"{d.where}: {oid.label()} names no namespace; set metadata.namespace or spec.targetNamespace"
        return oid, Problem(Reason.NamespaceMissing, text, retry=False)
    return oid, None


def _unserved(d: Rendered, namespace: str, crd: _Brought | None, known: _Served) -> tuple[ObjectId, Problem]:
    """Return the identity of an object whose kind is not served at its version, and what to do about it."""
    api_version, kind = d.manifest["apiVersion"], d.manifest["kind"]
    group = group_of(api_version)
    others = successors(api_version, kind, known.find)
    namespaced = crd.namespaced if crd else all(k.namespaced for k in others)
    oid = ObjectId(group, kind, namespace if namespaced else "", d.manifest["metadata"]["name"])
    if crd is None and group in known.broken:
        what = f"{d.where}: the cluster has no kind {kind} in {api_version} now"
        why = f"{what}: the server of API group {group} does not answer; look at its APIService"
        return oid, Problem(Reason.KindUnknown, why)
    versions = crd.versions if crd else tuple(k.api_version for k in others)
    return oid, Problem(Reason.KindUnknown, f"{d.where}: {not_served(api_version, kind, versions)}")


def _with_namespace(manifest: Manifest, namespace: str) -> Manifest:
    meta = {k: v for k, v in manifest["metadata"].items() if k != "namespace"}
    if namespace:
        meta["namespace"] = namespace
    return {**manifest, "metadata": meta}
