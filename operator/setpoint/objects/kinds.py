"""What kinds a cluster has: discovery documents in, kinds out (pure).

Two forms are read. Aggregated discovery (KEP-3352) is one document each for `/api` and `/apis`; a group
version whose server is broken has no `resources` key there, or the freshness `Stale`. The legacy form is
an index (`APIVersions`, `APIGroupList`) and one `APIResourceList` for each group version.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
"""Accept header: the aggregated form, or the legacy one from a server that does not know it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind at one version, and where it is served; `plural` is the resource name in URLs."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    verbs: frozenset[str]
    has_status: bool = True
    """Whether status is a subresource, so that no write of the object itself changes it."""

    @property
    def api_version(self) -> str:
        """`group/version`, or the version alone for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """The resource as RBAC and kubectl name it: `deployments.apps`, `pods`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(
        self, namespace: str | None = None, name: str | None = None, subresource: str | None = None
    ) -> str:
        """Return the URL path of the collection or of one object; no namespace means all of them."""
        parts = ["apis" if self.group else "api", self.api_version]
        if self.namespaced and namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        parts.append(self.plural)
        if name:
            parts.append(quote(name, safe=""))
        if subresource:
            parts.append(subresource)
        return "/" + "/".join(parts)


@dataclass(frozen=True, slots=True)
class Catalog:
    """All kinds of a cluster: `kinds` has the preferred version first; `broken` are (group, version) without an answer."""

    kinds: tuple[Kind, ...] = ()
    broken: frozenset[tuple[str, str]] = frozenset()
    _exact: Mapping[tuple[str, str], Kind] = field(init=False, repr=False, compare=False)
    _preferred: Mapping[tuple[str, str], Kind] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_exact", {(k.api_version, k.kind): k for k in reversed(self.kinds)})
        object.__setattr__(self, "_preferred", {(k.group, k.kind): k for k in reversed(self.kinds)})

    def kind(self, api_version: str, kind: str) -> Kind | None:
        """Return the kind at exactly that version."""
        return self._exact.get((api_version, kind))

    def preferred(self, group: str, kind: str) -> Kind | None:
        """Return the kind at the version that the server prefers."""
        return self._preferred.get((group, kind))

    def named(self, kind: str) -> tuple[Kind, ...]:
        """Return the kinds of that name in all groups and versions, preferred versions first."""
        return tuple(k for k in self.kinds if k.kind == kind)

    def after(self, known: Catalog) -> Catalog:
        """Keep what `known` knew of versions that are broken now: their kinds still exist, their server is away."""
        present = {(k.group, k.version) for k in self.kinds}
        lost = self.broken - present
        kept = tuple(k for k in known.kinds if (k.group, k.version) in lost)
        return Catalog(self.kinds + kept, self.broken) if kept else self


def is_aggregated(document: Mapping[str, Any]) -> bool:
    """Return whether the server answered in the aggregated form."""
    return document.get("kind") == "APIGroupDiscoveryList"


def from_aggregated(documents: Iterable[Mapping[str, Any]]) -> Catalog:
    """Read the aggregated documents of `/api` and `/apis`."""
    kinds: list[Kind] = []
    broken: set[tuple[str, str]] = set()
    for group, version in _versions(documents):
        if "resources" not in version or version.get("freshness") == "Stale":
            broken.add((group, version["version"]))
        kinds += _aggregated_kinds(group, version)
    return Catalog(tuple(kinds), frozenset(broken))


def _versions(documents: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for document in documents:
        for item in document.get("items") or ():
            for version in item.get("versions") or ():
                yield (item.get("metadata") or {}).get("name") or "", version


def _aggregated_kinds(group: str, version: Mapping[str, Any]) -> Iterator[Kind]:
    for resource in version.get("resources") or ():
        # A resource with subresources only (such as a webhook's) has no kind of its own.
        if kind := (resource.get("responseKind") or {}).get("kind"):
            yield Kind(
                group,
                version["version"],
                kind,
                resource["resource"],
                resource.get("scope") == "Namespaced",
                frozenset(resource.get("verbs") or ()),
                any(s.get("subresource") == "status" for s in resource.get("subresources") or ()),
            )


def legacy_versions(core: Mapping[str, Any], groups: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the (group, version) pairs of the legacy indexes of `/api` and `/apis`, preferred versions first."""
    pairs = [("", version) for version in core.get("versions") or ()]
    for group in groups.get("groups") or ():
        first = (group.get("preferredVersion") or {}).get("version")
        versions = [v["version"] for v in group.get("versions") or ()]
        pairs += [(group["name"], v) for v in sorted(versions, key=lambda v: v != first)]
    return pairs


def from_legacy(lists: Mapping[tuple[str, str], Mapping[str, Any] | None]) -> Catalog:
    """Read the APIResourceList of each (group, version); None stands for one that did not answer."""
    kinds: list[Kind] = []
    for (group, version), document in lists.items():
        resources = (document or {}).get("resources") or ()
        served = {r["name"] for r in resources}
        for r in resources:
            if "/" not in (name := r["name"]):
                verbs = frozenset(r.get("verbs") or ())
                has_status = f"{name}/status" in served
                kinds.append(Kind(group, version, r["kind"], name, bool(r["namespaced"]), verbs, has_status))
    return Catalog(tuple(kinds), frozenset(pair for pair, document in lists.items() if document is None))
