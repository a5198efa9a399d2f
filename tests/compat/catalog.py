"""The objects of the sweep, and what is left out with the reason (data, read from YAML)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

DATA = Path(__file__).with_name("data")
FILES = ("core.yaml", "workloads.yaml", "network.yaml", "storage.yaml", "cluster.yaml")
NAMESPACE = "compat"
PROTECTED = {"Namespace", "CustomResourceDefinition", "PersistentVolume", "PersistentVolumeClaim"}
"""Kinds that are only pruned where an annotation allows it."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Kind:
    """A kind by its API version, as manifests name it."""

    api_version: str
    name: str

    @property
    def group(self) -> str:
        """The API group, "" for the core one."""
        return self.api_version.rpartition("/")[0]

    def __str__(self) -> str:
        """`Event.events.k8s.io`, as kubectl takes it."""
        return f"{self.name}.{self.group}" if self.group else self.name


@dataclass(frozen=True, slots=True)
class Excepted:
    """Fields (with `*` for anything) and why they are left out."""

    fields: tuple[str, ...]
    reason: str

    def holds(self, kind: Kind, field: str) -> bool:
        """Return whether a field of a kind is meant."""
        return any(_matches(pattern, f"{kind}{field}") for pattern in self.fields)


@dataclass(frozen=True, slots=True)
class Exceptions:
    """What is not tried: whole kinds, fields that no object sets, fields that the API server drops, values to take."""

    kinds: Mapping[str, str]
    unset: tuple[Excepted, ...]
    dropped: tuple[Excepted, ...]
    values: Mapping[str, tuple[Any, ...]]

    def values_for(self, kind: Kind, field: str) -> tuple[Any, ...] | None:
        """Return the only values to try for a field of a kind, if it has such; none at all leaves the field alone."""
        return next((v for p, v in self.values.items() if _matches(p, f"{kind}{field}")), None)


def reason_of(rows: Iterable[Excepted], kind: Kind, field: str) -> str | None:
    """Return why a field is excepted, if it is."""
    return next((row.reason for row in rows if row.holds(kind, field)), None)


@cache
def exceptions() -> Exceptions:
    """Read what is left out."""
    data = _read("exceptions.yaml")
    rows = {
        part: tuple(Excepted(tuple(row["fields"]), row["reason"]) for row in data[part])
        for part in ("unset", "dropped")
    }
    values = {field: tuple(each) for field, each in data["values"].items()}
    return Exceptions(data["kinds"], rows["unset"], rows["dropped"], values)


@cache
def objects() -> Mapping[Kind, tuple[Json, ...]]:
    """Read the objects of each kind, as Git is to have them."""
    found: dict[Kind, tuple[Json, ...]] = {}
    for file in FILES:
        for manifest in _read(file)["objects"]:
            kind = kind_of(manifest)
            found[kind] = (*found.get(kind, ()), _with_annotation(manifest))
    return found


def props() -> list[Json]:
    """Read what the objects need to be there before them."""
    found: list[Json] = _read("props.yaml")["objects"]
    return found


def kind_of(manifest: Json) -> Kind:
    """Return the kind of a manifest."""
    return Kind(manifest["apiVersion"], manifest["kind"])


def _with_annotation(manifest: Json) -> Json:
    if manifest["kind"] not in PROTECTED:
        return manifest
    meta = manifest["metadata"]
    notes = {**meta.get("annotations", {}), "setpoint.dev/prune": "allow"}
    return {**manifest, "metadata": {**meta, "annotations": notes}}


def _matches(pattern: str, text: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), text) is not None


def _read(file: str) -> Json:
    found: Json = yaml.safe_load((DATA / file).read_text())
    return found
