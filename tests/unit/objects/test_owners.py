"""Whom the garbage collector looks for."""

from __future__ import annotations

from typing import Any

import pytest

from setpoint.objects.owners import Owner, missing_owner, owners_of

SET = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1", "uid": "u-1", "controller": True}
WEB = Owner("apps/v1", "ReplicaSet", "web-1", "u-1")


@pytest.mark.parametrize(
    ("found", "owners"),
    [
        ([SET], (WEB,)),
        ([SET, {**SET, "uid": ""}, {"kind": "ReplicaSet"}, "x", {**SET, "uid": 1}], (WEB,)),
        ([SET] * 10_000, (WEB,)),
        ([], ()),
        (None, ()),
        ("x", ()),
    ],
)
def test_owners_of_a_manifest(found: Any, owners: tuple[Owner, ...]) -> None:
    assert owners_of({"metadata": {"name": "a", "ownerReferences": found}}) == owners


def test_most_manifests_have_none() -> None:
    assert owners_of({"metadata": {"name": "a"}}) == ()


def test_who_is_missing_is_named() -> None:
    words = missing_owner(WEB)
    assert "ReplicaSet/web-1 with uid u-1 does not exist" in words
    assert "metadata.ownerReferences" in words
