"""No class is given more than eight things: whoever needs more is two classes."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import setpoint

MOST = 8
PACKAGE = Path(setpoint.__file__).parent
LEFT: frozenset[str] = frozenset()
"""Classes that may take more for now."""


def too_many(source: str) -> list[str]:
    """Return the classes whose constructor takes too many things, as "name: count"."""
    found = []
    for made in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)):
        for function in made.body:
            if isinstance(function, ast.FunctionDef) and function.name == "__init__":
                takes = function.args
                count = len([*takes.posonlyargs, *takes.args, *takes.kwonlyargs]) - 1
                if count > MOST or takes.vararg or takes.kwarg:
                    found.append(f"{made.name}: {count}")
    return found


def test_no_constructor_takes_more_than_eight_things() -> None:
    found = {each: file.name for file in PACKAGE.rglob("*.py") for each in too_many(file.read_text())}
    assert {each.partition(":")[0] for each in found} == LEFT, found


@pytest.mark.parametrize(
    ("takes", "expected"),
    [
        ("a, b, c, d, e, f, g, h", []),
        ("a, b, c, d, e, f, g, h, i", ["Some: 9"]),
        ("a, b, c, d, *, e, f, g, h, i=1", ["Some: 9"]),
        ("*args", ["Some: 0"]),
    ],
)
def test_what_counts(takes: str, expected: list[str]) -> None:
    assert too_many(f"class Some:\n    def __init__(self, {takes}):\n        pass\n") == expected
