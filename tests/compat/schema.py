"""The fields of each kind, as the API server's OpenAPI documents have them.

A field is named by its path: `.spec.containers[].env[].name`, with `[]` for elements of a list and `{}` for values of a
map. What nests without end (the schema inside a CRD) is one field where it meets itself again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.compat.catalog import Json, Kind

Path = tuple[str | int, ...]
META = "ObjectMeta"
META_FIELDS = ("labels", "annotations")
"""Of metadata: the others name the object, or the API server owns them."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a kind: its type in OpenAPI (`quantity` and `int-or-string` are types here), and the values it may have."""

    name: str
    type: str
    enum: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Leaf:
    """A field that a manifest sets, and where."""

    field: Field
    path: Path
    value: Any


class Schemas:
    """The schemas of API versions: apiVersion -> OpenAPI v3 document."""

    def __init__(self, documents: Mapping[str, Json]) -> None:
        self._documents = documents

    def fields(self, kind: Kind) -> dict[str, Field]:
        """Return all fields of a kind that a manifest may set."""
        root = {"$ref": self._root(kind)}
        return {f.name: f for f in self._fields(self._documents[kind.api_version], root, "", frozenset())}

    def leaves(self, manifest: Json) -> list[Leaf]:
        """Return what a manifest sets, in its order. Raises KeyError for a field that the kind has not."""
        kind = Kind(manifest["apiVersion"], manifest["kind"])
        root = {"$ref": self._root(kind)}
        return [*self._leaves(self._documents[kind.api_version], root, "", (), manifest, frozenset())]

    def _root(self, kind: Kind) -> str:
        for name, schema in self._documents[kind.api_version]["components"]["schemas"].items():
            known = schema.get("x-kubernetes-group-version-kind", ())
            version = kind.api_version.rpartition("/")[2]
            if known == [{"group": kind.group, "version": version, "kind": kind.name}]:
                return f"#/components/schemas/{name}"
        raise KeyError(kind)

    def _fields(self, document: Json, schema: Json, name: str, seen: frozenset[str]) -> Iterator[Field]:
        node, seen, again = _resolved(document, schema, seen)
        if again:
            yield Field(name, "recursive")
        elif properties := _properties(node, name):
            for key, each in properties.items():
                yield from self._fields(document, each, f"{name}.{key}", seen)
        elif node.get("type") == "array":
            yield from self._fields(document, node["items"], f"{name}[]", seen)
        elif isinstance(node.get("additionalProperties"), dict):
            yield from self._fields(document, node["additionalProperties"], f"{name}{{}}", seen)
        else:
            yield _leaf(node, name)

    def _leaves(
        self, document: Json, schema: Json, name: str, path: Path, value: Any, seen: frozenset[str]
    ) -> Iterator[Leaf]:
        node, seen, again = _resolved(document, schema, seen)
        if again:
            yield Leaf(Field(name, "recursive"), path, value)
        elif (properties := _properties(node, name)) is not None and isinstance(value, dict):
            for key, each in value.items():
                if key in properties:
                    yield from self._leaves(
                        document, properties[key], f"{name}.{key}", (*path, key), each, seen
                    )
                elif not _is_left_out(node, name, key):
                    raise KeyError(f"{name}.{key}")
        elif node.get("type") == "array" and isinstance(value, list):
            for index, each in enumerate(value):
                yield from self._leaves(document, node["items"], f"{name}[]", (*path, index), each, seen)
        elif isinstance(node.get("additionalProperties"), dict):
            for key, each in value.items():
                inner = node["additionalProperties"]
                yield from self._leaves(document, inner, f"{name}{{}}", (*path, key), each, seen)
        else:
            yield Leaf(_leaf(node, name), path, value)


def _resolved(document: Json, schema: Json, seen: frozenset[str]) -> tuple[Json, frozenset[str], bool]:
    """Return a schema without references, the references that led here, and whether it contains itself."""
    while True:
        each: list[Json] = schema.get("allOf") or []
        if len(each) == 1:
            schema = {**{k: v for k, v in schema.items() if k != "allOf"}, **each[0]}
        elif reference := schema.get("$ref"):
            name = reference.rpartition("/")[2]
            if name in seen:
                return {}, seen, True
            seen |= {name}
            schema = {**document["components"]["schemas"][name], "title": name}
        else:
            return schema, seen, False


def _properties(node: Json, name: str) -> Json | None:
    known: Json | None = node.get("properties")
    if known is None:
        return None
    return {key: each for key, each in known.items() if not _is_left_out(node, name, key)}


def _is_left_out(node: Json, name: str, key: str) -> bool:
    if str(node.get("title")).endswith(META):
        return key not in META_FIELDS
    # A status beside a spec is reported, be it of the object or of a claim inside of it.
    return (not name and key in {"apiVersion", "kind"}) or (key == "status" and "spec" in node["properties"])


def _leaf(node: Json, name: str) -> Field:
    kind = node.get("format") if node.get("format") in {"int-or-string", "byte", "date-time"} else None
    if str(node.get("title")).endswith("Quantity"):
        kind = "quantity"
    return Field(name, kind or node.get("type") or "any", tuple(node.get("enum") or ()))


def value_at(obj: Any, path: Sequence[str | int], guide: Any) -> tuple[bool, Any]:
    """Return whether there is a value at a path of `guide`, and which, in another state of the same object.

    An element of a list is found by the name that `guide` gives it, or by the keys of a port, else by its index.
    """
    for step in path:
        if isinstance(step, int):
            index = _index(obj, guide, step)
            if index is None:
                return False, None
            obj, guide = obj[index], guide[step]
        elif not isinstance(obj, dict) or step not in obj:
            return False, None
        else:
            obj, guide = obj[step], guide[step]
    return True, obj


KEYS = ("name", "key", "mountPath", "devicePath", "containerPort", "port", "ip", "uid", "topologyKey", "type")


def _index(found: Any, guide: Any, index: int) -> int | None:
    if not isinstance(found, list):
        return None
    wanted = guide[index]
    if len(found) != len(guide) and isinstance(wanted, dict):
        key = next((k for k in KEYS if k in wanted), None)
        return next((i for i, e in enumerate(found) if key and e.get(key) == wanted[key]), None)
    return index if index < len(found) else None


def replaced(obj: Any, path: Sequence[str | int], value: Any) -> Any:
    """Return a copy of an object with another value at a path."""
    if not path:
        return value
    head, *rest = path
    copy: Any = list(obj) if isinstance(obj, list) else dict(obj)
    copy[head] = replaced(obj[head], rest, value)
    return copy
