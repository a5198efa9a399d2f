"""What an export holds that no person wrote."""

from __future__ import annotations

from typing import Any

import pytest

from setpoint.objects.exported import is_empty, without_server_fields

SPEC = {"replicas": 1}
EXPORT = {
    "name": "web",
    "labels": {"app": "web"},
    "uid": "u-1",
    "resourceVersion": "7",
    "generation": 2,
    "creationTimestamp": "2026-01-01T00:00:00Z",
    "selfLink": "/apis/apps/v1/namespaces/shop/deployments/web",
    "managedFields": [{"manager": "kubectl"}],
    "deletionTimestamp": "2026-01-02T00:00:00Z",
    "deletionGracePeriodSeconds": 30,
}


def made(meta: Any, **more: Any) -> dict[str, Any]:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": SPEC, **more}


def test_all_that_is_the_servers_goes_and_is_named() -> None:
    manifest = made(EXPORT, status={"replicas": 1})
    kept, said = without_server_fields(manifest, has_status=True)
    assert kept == made({"name": "web", "labels": {"app": "web"}})
    assert set(said) == {f"metadata.{k}" for k in EXPORT if k not in ("name", "labels")} | {"status"}
    assert manifest == made(EXPORT, status={"replicas": 1})


def test_the_status_of_a_kind_without_that_subresource_stays() -> None:
    kept, said = without_server_fields(made({"name": "web", "uid": "u"}, status={"a": 1}), has_status=False)
    assert kept == made({"name": "web"}, status={"a": 1})
    assert said == ("metadata.uid",)


CONTROLLER_GEN = {"acceptedNames": {"kind": "", "plural": ""}, "conditions": [], "storedVersions": []}


@pytest.mark.parametrize(
    ("meta", "more"),
    [
        ({"creationTimestamp": None}, {}),
        ({"managedFields": [], "uid": "", "generation": 0}, {"status": {}}),
        ({}, {"status": CONTROLLER_GEN}),
        ({}, {"status": None}),
        ({}, {"status": {"loadBalancer": {}}}),
        ({}, {"status": {"currentHealthy": 0, "disruptionsAllowed": 0}}),
    ],
)
def test_empty_ones_go_without_a_word(meta: dict[str, Any], more: dict[str, Any]) -> None:
    kept, said = without_server_fields(made({"name": "web", **meta}, **more), has_status=True)
    assert (kept, said) == (made({"name": "web"}), ())


def test_what_a_person_wrote_is_handed_on_as_it_is() -> None:
    manifest = made({"name": "web", "ownerReferences": [], "finalizers": ["x/y"]})
    kept, said = without_server_fields(manifest, has_status=True)
    assert kept is manifest
    assert said == ()


@pytest.mark.parametrize(("value", "empty"), [([[], {}], True), ([0, ""], True), ([1], False), ("x", False)])
def test_empty(value: Any, empty: bool) -> None:
    assert is_empty(value) is empty
