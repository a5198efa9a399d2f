"""Generates the CustomResourceDefinitions from the models of `api.resources` (pure).

In: pydantic models. Out: CRD dicts whose schemas are structural (Kubernetes documentation, "Specifying a
structural schema"): no `$ref`, no unions but int-or-string, a type and a description everywhere.

Only specs carry defaults. In a status the API server would add them to what the operator wrote, and the status
would never equal itself. Empty lists and maps are no defaults either: they would say nothing in every object.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import BaseModel

from setpoint.api import names
from setpoint.api import resources as api

Schema = dict[str, Any]

INT_OR_STRING = "x-kubernetes-int-or-string"
PRESERVE = "x-kubernetes-preserve-unknown-fields"
KEPT = (
    "description",
    "type",
    "format",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-validations",
    INT_OR_STRING,
    PRESERVE,
)
DROPPED = (
    "title",
    "default",
    "const",
    "$ref",
    "anyOf",
    "properties",
    "required",
    "items",
    "additionalProperties",
)
ROOT = {
    "apiVersion": {"type": "string", "description": "The version of this schema: `setpoint.dev/v1alpha1`."},
    "kind": {"type": "string", "description": "The kind of this object."},
    "metadata": {"type": "object"},
}


class SchemaError(ValueError):
    """A model says what a structural schema cannot; the message has the path of the field."""


@dataclass(frozen=True)
class Column:
    """A printer column; `wide`: only with `-o wide`."""

    name: str
    path: str
    description: str
    kind: str = "string"
    wide: bool = False

    def entry(self) -> Schema:
        """Return the entry of `additionalPrinterColumns`."""
        entry = {
            "name": self.name,
            "type": self.kind,
            "description": self.description,
            "jsonPath": self.path,
        }
        return {**entry, "priority": 1} if self.wide else entry


@dataclass(frozen=True)
class Kind:
    """A custom resource: its model, its names and its columns."""

    model: type[BaseModel]
    plural: str
    short: str
    columns: tuple[Column, ...]

    @property
    def name(self) -> str:
        """The kind, as manifests have it."""
        return self.model.__name__


def _condition(kind: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{field}'


READY = Column("Ready", _condition("Ready", "status"), "Whether all is as it should be.")
AGE = Column("Age", ".metadata.creationTimestamp", "Since when this object exists.", "date")

KINDS = (
    Kind(
        api.Source,
        "sources",
        "src",
        (
            READY,
            Column("Revision", ".status.short", "The last good revision."),
            Column("URL", ".spec.url", "The repository."),
            Column("Commit", ".status.commit.summary", "Subject and author of that commit."),
            Column("Status", _condition("Ready", "message"), "How it is, in a phrase.", wide=True),
            AGE,
        ),
    ),
    Kind(
        api.Sync,
        "syncs",
        "sy",
        (
            READY,
            Column("Status", _condition("Ready", "message"), "How it is, in a phrase."),
            Column("Revision", ".status.applied.short", "The revision that was last written completely."),
            Column("Objects", ".status.summary.objects", "How many objects this Sync has.", "integer"),
            Column(
                "Drift", ".status.summary.corrected", "How many manual changes were corrected.", "integer"
            ),
            Column("Source", ".spec.source.name", "Where the commit comes from.", wide=True),
            Column("Path", ".spec.path", "The folder in the repository.", wide=True),
            Column("Changed", ".status.applied.at", "When that revision was written.", "date", wide=True),
            AGE,
        ),
    ),
)


def crd(kind: Kind) -> Schema:
    """Return the CustomResourceDefinition of a kind."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.name.lower(),
                "shortNames": [kind.short],
                "categories": ["gitops"],
            },
            "versions": [_version(kind)],
        },
    }


def _version(kind: Kind) -> Schema:
    return {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [column.entry() for column in kind.columns],
        "schema": {"openAPIV3Schema": schema(kind.model)},
    }


def schema(model: type[BaseModel]) -> Schema:
    """Return the structural schema of a whole object: root, spec and status. Raises SchemaError."""
    source = model.model_json_schema()
    definitions = source.get("$defs", {})
    parts = {name: source["properties"][name] for name in ("spec", "status")}
    return {
        "description": source["description"],
        "type": "object",
        "required": ["spec"],
        "properties": {
            **ROOT,
            "spec": structural(parts["spec"], definitions, "spec", with_defaults=True),
            "status": structural(parts["status"], definitions, "status", with_defaults=False),
        },
    }


def structural(node: Schema, definitions: Mapping[str, Schema], path: str, *, with_defaults: bool) -> Schema:
    """Return the structural form of one node of a JSON schema. `path` is for errors, which are SchemaError."""
    flat = _resolve(node, definitions, path)
    if unknown := sorted(set(flat) - {*KEPT, *DROPPED}):
        raise SchemaError(f"{path}: {', '.join(unknown)} cannot be said in a structural schema")
    result: Schema = {key: flat[key] for key in KEPT if key in flat}
    if with_defaults and flat.get("default") not in (None, [], {}):
        result["default"] = flat["default"]
    if "anyOf" in flat or not ({"type", INT_OR_STRING} & set(flat)):
        result |= _untyped(flat, path)
    for key in set(flat) & {"properties", "items", "additionalProperties"}:
        result |= _nested(key, flat, definitions, path, with_defaults)
    if flat.get("type") == "integer":
        result["format"] = "int64"
    return dict(sorted(result.items(), key=lambda item: _rank(item[0])))


def _rank(key: str) -> tuple[int, str]:
    """Order keys as people read them: what it is, then its rules, then what is in it."""
    order = ("description", "type", "format", "default", "enum", "nullable", "required")
    last = ("items", "additionalProperties", "properties")
    if key in order:
        return order.index(key), key
    return (len(order) + 1 + last.index(key), key) if key in last else (len(order), key)


def _resolve(node: Schema, definitions: Mapping[str, Schema], path: str) -> Schema:
    """Inline `$ref` and drop the null branch of Optional; what stands beside them wins."""
    beside = {key: value for key, value in node.items() if key not in ("$ref", "anyOf")}
    if "$ref" in node:
        return _resolve({**definitions[node["$ref"].rpartition("/")[2]], **beside}, definitions, path)
    branches = [branch for branch in node.get("anyOf", ()) if branch.get("type") != "null"]
    if len(branches) == 1:
        return _resolve({**branches[0], **beside}, definitions, path)
    return node


def _untyped(flat: Schema, path: str) -> Schema:
    """Return what stands in place of a type: int-or-string, or any value, null included."""
    if not flat.get("anyOf"):
        return {PRESERVE: True, "nullable": True}
    types = sorted(branch.get("type", "?") for branch in flat["anyOf"])
    if types != ["integer", "string"] or not flat.get(INT_OR_STRING):
        raise SchemaError(f"{path}: a union of {', '.join(types)} cannot be said in a structural schema")
    return {"anyOf": [{"type": "integer"}, {"type": "string"}]}


def _nested(
    key: str, flat: Schema, definitions: Mapping[str, Schema], path: str, with_defaults: bool
) -> Schema:
    """Return the parts of a node that hold schemas themselves."""
    inner = flat[key]
    if key == "properties":
        fields = {
            name: structural(field, definitions, f"{path}.{name}", with_defaults=with_defaults)
            for name, field in inner.items()
        }
        return {"properties": fields} | ({"required": flat["required"]} if flat.get("required") else {})
    if key == "additionalProperties" and inner is False:
        return {}
    if inner is True:
        return {PRESERVE: True}
    return {key: structural(inner, definitions, f"{path}[]", with_defaults=with_defaults)}


def undescribed(node: Schema, path: str = "") -> list[str]:
    """Return the paths of all fields without a description; metadata describes itself."""
    found = []
    for name, field in node.get("properties", {}).items():
        where = f"{path}.{name}"
        if not field.get("description") and where != ".metadata":
            found.append(where)
        found += undescribed(field, where)
    return found + (undescribed(node["items"], f"{path}[]") if "items" in node else [])


class _Dumper(yaml.SafeDumper):
    """YAML without aliases: the same list may stand in many places."""

    def ignore_aliases(self, data: Any) -> bool:
        """Return True: nothing is shared."""
        return True


def dump(document: Schema) -> str:
    """Return a document as YAML, in the order of its keys, one line to a text."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=1_000_000, allow_unicode=True)


def flow(value: Any) -> str:
    """Return a value as YAML on one line."""
    text = yaml.dump(
        value, Dumper=_Dumper, sort_keys=False, width=1_000_000, allow_unicode=True, default_flow_style=True
    )
    return text.removesuffix("...\n").strip()


def to_yaml() -> str:
    """Return all CRDs as one stream of YAML documents."""
    return "---\n".join(dump(crd(kind)) for kind in KINDS)
