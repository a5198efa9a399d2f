"""Generates the map of the packages in docs/architecture.md from their docstrings."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- packages: begin (generated) -->\n", "<!-- packages: end -->"
FLOORS = (
    ("manager", "codegen"),
    ("cli", "syncs", "syncs.steps"),
    ("sources",),
    ("apply", "store"),
    ("watch", "render", "render.kustomize", "git", "git.worker"),
    ("kube",),
    ("runtime",),
    ("status",),
    ("plan", "plan.ignore"),
    ("tree",),
    ("objects",),
    ("api", "health"),
)
"""From the top down, as in the layers contract of pyproject.toml; what is not named here comes last."""


def page(text: str) -> str:
    """Return the page with the map between its markers; a text without markers gets them at its end."""
    if BEGIN not in text:
        text = f"{text.rstrip()}\n\n{BEGIN}{END}\n" if text.strip() else f"# Architecture\n\n{BEGIN}{END}\n"
    before, rest = text.split(BEGIN, 1)
    return before + BEGIN + "\n".join(_package(name) for name in packages()) + END + rest.split(END, 1)[1]


def packages(root: Path = ROOT) -> list[str]:
    """Return the dotted names of all packages below setpoint, from the top floor down."""
    found = {
        ".".join(p.parent.relative_to(root).parts) for p in root.rglob("__init__.py") if p.parent != root
    }
    order = [name for floor in FLOORS for name in floor]
    return [name for name in order if name in found] + sorted(found - set(order))


def _package(name: str) -> str:
    folder = ROOT.joinpath(*name.split("."))
    text = " ".join(_docstring(folder / "__init__.py").split())
    rows = "".join(f"| `{module}` | {line} |\n" for module, line in _modules(folder))
    return f"### {name}\n\n{text}\n\n| module | |\n| --- | --- |\n{rows}"


def _modules(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.glob("*.py")):
        if path.name != "__init__.py":
            yield path.stem, _docstring(path).splitlines()[0].replace("|", "\\|")


def _docstring(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
