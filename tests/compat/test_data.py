"""The objects of the sweep, its record and the page that shows it belong together; no server is needed."""

from __future__ import annotations

import pytest
from tests.compat import catalog, report
from tests.compat.catalog import Json, Kind
from tests.compat.schema import Field, Schemas, replaced, value_at
from tests.compat.values import candidates


def test_the_record_is_of_the_objects_that_there_are() -> None:
    found = {name: (row["apiVersion"], row["objects"]) for name, row in report.read()["kinds"].items()}
    there = {str(k): (k.api_version, len(each)) for k, each in catalog.objects().items()}
    assert found == {name: row for name, row in there.items() if name in found}


def test_the_page_names_each_kind_that_there_are_objects_of() -> None:
    present = report.PAGE.read_text()
    assert [k for k in catalog.objects() if k.name not in present] == []


def test_all_that_was_changed_was_put_back_and_all_that_was_applied_was_removed() -> None:
    rows = report.read()["kinds"]
    assert {n: r for n, r in rows.items() if r["drifted"] != r["changed"]} == {}
    assert {n: r for n, r in rows.items() if r["removed"] != r["objects"]} == {}


def test_each_field_that_is_set_was_changed_or_refused_or_is_tied_to_others() -> None:
    for name, row in report.read()["kinds"].items():
        assert row["changed"] + row["refused"] + len(row["tied"]) == row["set"], name
        assert row["set"] + row["unset"] == row["fields"], name


def test_the_page_shows_the_record() -> None:
    present = report.PAGE.read_text()
    assert report.page(present, report.read()) == present, "run `python -m tests.compat --table`"


def test_no_kind_is_both_tried_and_left_out() -> None:
    assert {str(kind) for kind in catalog.objects()} & set(catalog.exceptions().kinds) == set()


def test_objects_of_a_kind_have_names_of_their_own() -> None:
    for kind, each in catalog.objects().items():
        names = [(m["metadata"].get("namespace"), m["metadata"]["name"]) for m in each]
        assert len(names) == len(set(names)), kind


DOCUMENT: Json = {
    "components": {
        "schemas": {
            "Thing": {
                "x-kubernetes-group-version-kind": [{"group": "", "version": "v1", "kind": "Thing"}],
                "properties": {
                    "kind": {"type": "string"},
                    "metadata": {"allOf": [{"$ref": "#/x/ObjectMeta"}]},
                    "spec": {"$ref": "#/x/Spec"},
                    "status": {"type": "object"},
                },
            },
            "ObjectMeta": {
                "properties": {
                    "name": {"type": "string"},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                }
            },
            "Spec": {
                "properties": {
                    "ports": {"type": "array", "items": {"properties": {"name": {"type": "string"}}}},
                    "again": {"$ref": "#/x/Spec"},
                }
            },
        }
    }
}
THING: Json = {
    "apiVersion": "v1",
    "kind": "Thing",
    "metadata": {"name": "a", "labels": {"b": "c"}},
    "spec": {"ports": [{"name": "x"}, {"name": "y"}]},
}


def test_fields_are_named_as_the_schema_has_them() -> None:
    schemas = Schemas({"v1": DOCUMENT})
    assert [*schemas.fields(Kind("v1", "Thing"))] == [
        ".metadata.labels{}",
        ".spec.ports[].name",
        ".spec.again",
    ]
    assert [(leaf.field.name, leaf.path) for leaf in schemas.leaves(THING)] == [
        (".metadata.labels{}", ("metadata", "labels", "b")),
        (".spec.ports[].name", ("spec", "ports", 0, "name")),
        (".spec.ports[].name", ("spec", "ports", 1, "name")),
    ]
    with pytest.raises(KeyError, match=r"spec\.oops"):
        schemas.leaves({**THING, "spec": {"oops": 1}})


def test_a_value_is_found_by_the_name_of_its_element() -> None:
    live = {**THING, "spec": {"ports": [{"name": "added"}, {"name": "x", "port": 1}, {"name": "y"}]}}
    git = {**THING, "spec": {"ports": [{"name": "x", "port": 0}, {"name": "y"}]}}
    assert value_at(live, ("spec", "ports", 0, "port"), git) == (True, 1)
    changed = replaced(git, ("spec", "ports", 0, "port"), 2)
    assert (changed["spec"]["ports"][0]["port"], git["spec"]["ports"][0]["port"]) == (2, 0)


@pytest.mark.parametrize(
    ("field", "value", "first"),
    [
        (Field(".a", "boolean"), True, False),
        (Field(".a", "integer"), 3, 4),
        (Field(".a", "string", ("A", "B")), "A", "B"),
        (Field(".a", "quantity"), "10Gi", "11Gi"),
        (Field(".a", "int-or-string"), "25%", "26%"),
        (Field(".a", "byte"), "b25l", "b25lMg=="),
        (Field(".a", "date-time"), "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"),
        (Field(".a", "string"), "192.0.2.1", "192.0.2.2"),
        (Field(".a", "string"), "192.0.2.0/24", "192.0.3.0/24"),
        (Field(".a", "string"), "text", "textx"),
    ],
)
def test_another_value_follows_from_the_type(field: Field, value: object, first: object) -> None:
    assert candidates(field, value)[0] == first
