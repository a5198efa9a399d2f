"""docs/security.md names the tests that prove its fences: each of them exists, and no threat is without one."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/security.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
THREATS = PAGE.partition("## Threats\n")[2].partition("\n## ")[0]
ROWS = [row for row in THREATS.splitlines() if row.startswith("| ") and not row.startswith(("| threat", "| ---", "| **"))]  # fmt: skip


@cache
def functions_of(path: str) -> frozenset[str]:
    """Return the names of the test functions of a file; none if there is no such file."""
    file = ROOT / path
    nodes = ast.parse(file.read_text(encoding="utf-8")).body if file.exists() else []
    functions = (each for each in nodes if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))
    return frozenset(each.name for each in functions if each.name.startswith("test_"))


@pytest.mark.parametrize(("path", "name"), sorted(set(NAMED.findall(PAGE))))
def test_what_the_page_names_is_a_test(path: str, name: str) -> None:
    assert name in functions_of(path)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_each_threat_has_a_fence_and_a_test(row: str) -> None:
    _, threat, fence, tests, _ = row.split("|")
    assert threat.strip()
    assert fence.strip()
    assert NAMED.findall(tests)
    assert NAMED.sub("", tests).strip(" ,") == "", "whatever else stands there is no test"


def test_there_is_something_to_look_for() -> None:
    assert len(ROWS) >= 20
    assert len(set(NAMED.findall(PAGE))) >= 50


def test_what_is_not_there_is_not_found() -> None:
    here = Path(__file__).relative_to(ROOT).as_posix()
    assert "test_what_is_not_there_is_not_found" in functions_of(here)
    assert "test_nothing" not in functions_of(here)
    assert "functions_of" not in functions_of(here)
    assert functions_of("tests/unit/test_gone.py") == frozenset()
