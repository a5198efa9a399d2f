"""Each reason that the docs promise can occur."""

from __future__ import annotations

import ast
from pathlib import Path

import setpoint
from setpoint.api.reasons import Reason

PACKAGE = Path(setpoint.__file__).parent


def named(source: str) -> set[str]:
    """Return the reasons that a module names, as `Reason.Name`."""
    return {
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Reason"
    }


def test_each_reason_is_given_somewhere() -> None:
    found: set[str] = set()
    for file in PACKAGE.rglob("*.py"):
        found |= named(file.read_text()) if file.name != "reasons.py" else set()
    assert {reason.name for reason in Reason} - found == set()
