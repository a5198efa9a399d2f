"""What is remembered of a Sync between runs is set by one module for each field, and by no other."""

from __future__ import annotations

import ast
import dataclasses
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.syncs.test_values import breaches

import setpoint
from setpoint.syncs.memory import Memory

PACKAGE = Path(setpoint.__file__).parent
OWNERS = {
    "built": "syncs.builder",
    "seen_commit": "syncs.dispatcher",
    "standing": "syncs.reconciler",
    "inventory_known": "syncs.steps.registrar",
    "full_check_at": "syncs.steps.convergence",
    "answers": "syncs.steps.wanting",
    "loans": "syncs.steps.lending",
    "account": "syncs.steps.drift_log",
    "occasion": "syncs.steps.object_writer",
    "telling": "syncs.steps.reporter",
}
CHANGES = {
    *("add", "append", "appendleft", "clear", "difference_update", "discard", "extend", "insert"),
    *("intersection_update", "pop", "popitem", "popleft", "remove", "setdefault", "sort", "update"),
}
"""Methods that change what they are called on."""
SETTERS = {"setattr", "delattr", "__setattr__", "__delattr__"}


def writes(source: str) -> Iterator[tuple[str, int]]:
    """The fields of Memory that a module sets or changes, each with the line; "?" where the name is made up at run time."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name in SETTERS:
                yield from ((f, node.lineno) for f in _named(node))
            elif name in CHANGES and isinstance(called, ast.Attribute):
                yield from ((f, node.lineno) for f in _fields(called.value))
        elif isinstance(node, (ast.Attribute, ast.Subscript)) and not isinstance(node.ctx, ast.Load):
            yield from ((f, node.lineno) for f in _fields(node))


def _fields(node: ast.expr) -> Iterator[str]:
    """The fields of Memory that an expression leads through: `memory.account.failed[oid]` is `account`."""
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        if isinstance(node, ast.Attribute) and node.attr in OWNERS:
            yield node.attr
        node = node.value


def _named(call: ast.Call) -> Iterator[str]:
    names = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
    yield from (n for n in names if n in OWNERS)
    if not names:
        yield "?"


def strangers(root: Path) -> list[str]:
    """Who sets a field that is another's."""
    found = []
    for file in sorted(root.rglob("*.py")):
        module = ".".join(file.relative_to(root).with_suffix("").parts)
        found += [
            f"{module}:{line} sets {name}"
            for name, line in writes(file.read_text())
            if OWNERS.get(name) != module
        ]
    return found


def test_each_field_is_set_by_its_owner_alone() -> None:
    assert strangers(PACKAGE) == []


def test_each_owner_sets_its_field() -> None:
    for name, module in OWNERS.items():
        source = PACKAGE.joinpath(*module.split(".")).with_suffix(".py").read_text()
        assert name in {field for field, _ in writes(source)}, f"{module} does not set {name}"


def test_each_field_has_an_owner_and_names_it() -> None:
    assert {f.name for f in dataclasses.fields(Memory)} == OWNERS.keys()
    text = (PACKAGE / "syncs" / "memory.py").read_text()
    assert all(f"Owner: {module}." in text for module in OWNERS.values())


def test_what_is_remembered_is_frozen_so_that_only_a_field_can_be_set() -> None:
    hints = typing.get_type_hints(Memory)
    assert [b for name in OWNERS for b in breaches(hints[name], name, set())] == []


@pytest.mark.parametrize(
    "line",
    [
        "memory.account = account",
        "memory.account.failed[oid] = failure",
        "memory.account.failed.clear()",
        "memory.account.baselines |= found",
        "del memory.account.failed[oid]",
        "self._memory[key].account = account",
        "memory.telling, memory.account = telling, account",
        "for memory.account in accounts: pass",
        "with taken() as memory.account: pass",
        'setattr(memory, "account", account)',
        'object.__setattr__(memory, "account", account)',
    ],
)
def test_the_walk_finds_a_planted_breach(line: str, tmp_path: Path) -> None:
    for folder in ("syncs", "syncs/steps"):
        (tmp_path / folder).mkdir()
    for module in ("syncs/dispatcher.py", "syncs/steps/drift_log.py", "syncs/steps/reporter.py"):
        (tmp_path / module).write_text("memory.account.failed.get(oid)\nx = memory.account\n")
    assert strangers(tmp_path) == [], "who reads sets nothing"
    (tmp_path / "syncs/steps/reporter.py").write_text(f"{line}\n")
    assert strangers(tmp_path) == ["syncs.steps.reporter:1 sets account"]


@pytest.mark.parametrize("line", ["setattr(memory, name, value)", "object.__setattr__(memory, name, value)"])
def test_a_name_that_is_made_up_at_run_time_is_a_breach(line: str) -> None:
    assert list(writes(line)) == [("?", 1)]
