"""The CRDs: structural, described, and in agreement with the models."""

from __future__ import annotations

from typing import Any, Literal

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError
from tests.chart import samples

from setpoint.api import resources as api
from setpoint.api.sync_status import SyncStatus
from setpoint.codegen import crds

MODELS: dict[str, type[BaseModel]] = {"Source": api.Source, "Sync": api.Sync}
SCHEMAS = {kind.name: crds.schema(kind.model) for kind in crds.KINDS}


def nodes(schema: dict[str, Any], path: str = "") -> list[tuple[str, dict[str, Any]]]:
    """Every node of a schema below the root, with its path."""
    found = []
    for name, field in schema.get("properties", {}).items():
        found += [(f"{path}.{name}", field), *nodes(field, f"{path}.{name}")]
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            found += [(f"{path}[]", schema[key]), *nodes(schema[key], f"{path}[]")]
    return found


@pytest.mark.parametrize("kind", crds.KINDS, ids=lambda kind: kind.plural)
def test_every_field_is_described(kind: crds.Kind) -> None:
    assert crds.undescribed(SCHEMAS[kind.name]) == []


def test_a_field_without_a_description_is_found() -> None:
    field: dict[str, Any] = {"items": {"properties": {"b": {}}}}
    assert crds.undescribed({"properties": {"a": {"description": "A.", **field}}}) == [".a[].b"]


@pytest.mark.parametrize("kind", crds.KINDS, ids=lambda kind: kind.plural)
def test_every_node_is_structural(kind: crds.Kind) -> None:
    for path, node in nodes(SCHEMAS[kind.name]):
        assert "type" in node or node.get(crds.PRESERVE) or node.get(crds.INT_OR_STRING), path
        assert not {"$ref", "title", "$defs", "allOf", "oneOf", "not", "const"} & set(node), path
        assert node.get("additionalProperties") is not False, path
        assert "anyOf" not in node or node[crds.INT_OR_STRING], path


@pytest.mark.parametrize("kind", crds.KINDS, ids=lambda kind: kind.plural)
def test_a_status_has_no_defaults(kind: crds.Kind) -> None:
    """A default would be added to what the operator wrote, and it would write again for ever."""
    status = SCHEMAS[kind.name]["properties"]["status"]
    assert [path for path, node in nodes(status) if "default" in node] == []


def test_nothing_is_nullable_but_the_value_of_a_patch() -> None:
    for kind in crds.KINDS:
        found = {path for path, node in nodes(SCHEMAS[kind.name]) if node.get("nullable")}
        patches = {".status.differences[].patch[].value", ".status.driftLog[].patch[].value"}
        assert found == (patches if kind.name == "Sync" else set())


def test_defaults_of_specs_are_shown() -> None:
    spec = SCHEMAS["Sync"]["properties"]["spec"]["properties"]
    shown = {name: field["default"] for name, field in spec.items() if "default" in field}
    assert shown == {
        "path": ".",
        "interval": "1h",
        "timeout": "5m",
        "createNamespace": False,
        "prune": True,
        "pruneLimit": "25%",
        "drift": "Correct",
        "onError": "Abort",
        "suspend": False,
    }


@pytest.mark.parametrize("kind", crds.KINDS, ids=lambda kind: kind.plural)
def test_columns_show_fields_that_exist(kind: crds.Kind) -> None:
    known = {path for path, _ in nodes(SCHEMAS[kind.name])}
    for column in kind.columns:
        path = column.path.replace('[?(@.type=="Ready")]', "[]")
        assert path in known | {".metadata.creationTimestamp"}, column.name


def test_columns_of_the_design() -> None:
    def shown(kind: crds.Kind, *, wide: bool) -> list[str]:
        return [column.name.upper() for column in kind.columns if column.wide is wide]

    source, sync = crds.KINDS
    assert shown(source, wide=False) == ["READY", "REVISION", "URL", "COMMIT", "AGE"]
    assert shown(sync, wide=False) == ["READY", "STATUS", "REVISION", "OBJECTS", "DRIFT", "AGE"]
    assert shown(sync, wide=True) == ["SOURCE", "PATH", "CHANGED"]


@pytest.mark.parametrize(("kind", "spec"), samples.GOOD)
def test_good_specs_pass_model_and_schema(kind: str, spec: samples.Spec) -> None:
    manifest = samples.manifest(kind, spec)
    jsonschema.validate(manifest, SCHEMAS[kind])
    model = MODELS[kind].model_validate(manifest)
    text = model.model_dump_json(by_alias=True)
    assert MODELS[kind].model_validate_json(text) == model


@pytest.mark.parametrize(("kind", "spec", "message"), samples.BAD)
def test_bad_specs_fail_the_model_with_the_words_of_the_rule(
    kind: str, spec: samples.Spec, message: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        MODELS[kind].model_validate(samples.manifest(kind, spec))
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)


SERVER_ALONE = {"must be 10m or less"}
"""Rules for what is written from now on: what was stored before is taken."""


@pytest.mark.parametrize("kind", ["Source", "Sync"])
def test_every_rule_has_a_good_and_a_bad_sample(kind: str) -> None:
    rules = [
        rule["message"]
        for _, node in nodes(SCHEMAS[kind])
        for rule in node.get("x-kubernetes-validations", [])
    ]
    assert rules
    rules = [message for message in rules if message not in SERVER_ALONE]
    for message in rules:
        assert any(text in message for which, _, text in samples.BAD if which == kind), message


class Free(BaseModel):
    anything: Any = Field(description="Any value.")
    texts: dict[str, str] = Field(description="Texts.")
    tree: dict[str, Any] | None = Field(None, description="A tree.")


def test_free_form_fields_keep_what_is_in_them() -> None:
    schema = Free.model_json_schema()
    found = crds.structural(schema, {}, "free", with_defaults=True)["properties"]
    assert found["anything"] == {
        "description": "Any value.",
        "nullable": True,
        crds.PRESERVE: True,
    }
    assert found["texts"]["additionalProperties"] == {"type": "string"}
    assert found["tree"] == {"description": "A tree.", "type": "object", crds.PRESERVE: True}


class Union(BaseModel):
    field: int | bool | None = None


class Unknown(BaseModel):
    field: int = Field(multiple_of=3)


class Fixed(BaseModel):
    field: Literal["a"] | list[str]


@pytest.mark.parametrize("model", [Union, Unknown, Fixed])
def test_what_cannot_be_said_is_an_error_that_names_the_field(model: type[BaseModel]) -> None:
    with pytest.raises(crds.SchemaError, match=r"^spec\.field: "):
        crds.structural(model.model_json_schema(), {}, "spec", with_defaults=True)


def test_the_stream_of_documents_is_what_the_kinds_say() -> None:
    documents = list(yaml.safe_load_all(crds.to_yaml()))
    assert documents == [crds.crd(kind) for kind in crds.KINDS]
    assert [doc["spec"]["names"]["shortNames"] for doc in documents] == [["src"], ["sy"]]
    assert all(doc["spec"]["names"]["categories"] == ["gitops"] for doc in documents)
    assert "&id" not in crds.to_yaml()


patches = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "replace"]), "path": st.just("/a")},
    optional={"value": st.none() | st.integers() | st.text() | st.lists(st.none())},
)


@given(st.lists(patches, max_size=3))
def test_a_patch_in_a_status_keeps_its_nulls(operations: list[dict[str, Any]]) -> None:
    entry = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "a",
        "detected": "2026-01-01T00:00:00Z",
        "patch": operations,
    }
    status = SyncStatus.model_validate({"driftLog": [entry]})
    shown = status.model_dump(by_alias=True, mode="json")["driftLog"][0]
    assert shown["patch"] == operations


def test_an_older_operator_survives_a_newer_status() -> None:
    newer = {"conditions": [], "invented": {"later": True}, "summary": {"objects": 1, "else": 2}}
    status = SyncStatus.model_validate(newer)
    assert status.summary is not None
    assert status.summary.objects == 1
