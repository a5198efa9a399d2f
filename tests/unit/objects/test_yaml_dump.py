"""What is printed is read as the same value."""

from __future__ import annotations

from typing import Any

import pytest

from setpoint.objects.documents import load
from setpoint.objects.yaml_dump import dump


@pytest.mark.parametrize(
    "text", ["yes", "0755", "1e3", ".inf", "null", "2020-01-01", "plain words", "two\nlines\n", ""]
)
def test_a_text_stays_a_text(text: str) -> None:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": text}}
    assert load(dump(manifest).encode(), "f")[0].manifest == manifest


def test_shared_values_are_written_out_and_keys_keep_their_order() -> None:
    shared: dict[str, Any] = {"b": 1, "a": True}
    assert dump({"w": shared, "x": shared}) == "w:\n  b: 1\n  a: true\nx:\n  b: 1\n  a: true\n"
    assert dump({"k": "one\ntwo\n"}) == "k: |\n  one\n  two\n"
