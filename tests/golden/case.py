"""A golden case: what Git says, what was there before, what people did, and where its records stand.

In: `cases/<name>.yaml`. Out: a `Case`, and the desired objects of a set of files as the operator would see them (pure).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from setpoint.api.resources import Sync
from setpoint.objects import documents
from setpoint.objects.identity import ObjectId, SyncKey
from setpoint.objects.kinds import Kind
from setpoint.plan.desired import Desired, OwnershipMarks, Rendered, complete

Json = dict[str, Any]
FOLDER = Path(__file__).parent
KEY = SyncKey("team", "app")
OTHER = SyncKey("team", "other")
STAMP = OwnershipMarks(KEY, "0123456789abcdef")
VERBS = frozenset({"list", "watch", "delete", "patch"})
KINDS = {
    (kind.api_version, kind.kind): kind
    for kind in (
        Kind("", "v1", "ConfigMap", "configmaps", True, VERBS),
        Kind("", "v1", "Secret", "secrets", True, VERBS),
        Kind("", "v1", "Service", "services", True, VERBS),
        Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", True, VERBS),
        Kind("apps", "v1", "Deployment", "deployments", True, VERBS),
    )
}


@dataclass(frozen=True)
class Case:
    """`before`: files that were applied; `people`: what was done by others since; `repo`: files of the commit now."""

    name: str
    about: str
    repo: Mapping[str, str]
    before: Mapping[str, str] = field(default_factory=dict)
    spec: Json = field(default_factory=dict)
    people: tuple[Json, ...] = ()
    claimed: tuple[str, ...] = ()
    """Objects (Kind/name) that another Sync has in its inventory."""

    @property
    def namespace(self) -> str:
        """Of the objects; the Sync itself lives elsewhere."""
        return f"golden-{self.name}"

    @property
    def desired(self) -> list[Desired]:
        """The objects of the commit now, placed and stamped."""
        return _desired(self.repo, self.namespace)

    @property
    def applied(self) -> list[Desired]:
        """The objects that were applied before."""
        return _desired(self.before, self.namespace)

    @property
    def sync(self) -> Sync:
        """The Sync, with the spec of the case."""
        spec = {"source": {"name": "src"}, "targetNamespace": self.namespace, **self.spec}
        metadata = {"namespace": KEY.namespace, "name": KEY.name}
        head = {"apiVersion": "setpoint.dev/v1alpha1", "kind": "Sync", "metadata": metadata}
        return Sync.model_validate({**head, "spec": spec})

    @property
    def recorded(self) -> Path:
        """What the server said: `live` objects, and its `predicted` ones for those that Git has."""
        return FOLDER / "recorded" / f"{self.name}.yaml"

    @property
    def expected(self) -> Path:
        """The plan and the status that must come of it."""
        return FOLDER / "expected" / f"{self.name}.yaml"


def cases() -> Iterator[Case]:
    """All of them, by name."""
    for path in sorted((FOLDER / "cases").glob("*.yaml")):
        document = yaml.safe_load(path.read_text())
        people = tuple(document.pop("people", ()))
        claimed = tuple(document.pop("claimed", ()))
        yield Case(path.stem, people=people, claimed=claimed, **document)


def _desired(files: Mapping[str, str], namespace: str) -> list[Desired]:
    rendered = [
        Rendered(found.manifest, found.where)
        for name, text in sorted(files.items())
        for found in documents.load(text.encode(), name)
    ]
    good, bad = complete(rendered, lambda version, kind: KINDS.get((version, kind)), namespace, STAMP)
    assert bad == []
    return good


def short(oid: ObjectId) -> str:
    """Kind/name: enough within one namespace."""
    return f"{oid.kind}/{oid.name}"
