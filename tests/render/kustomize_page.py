"""Writes "Kustomize fields" in docs/compatibility.md from the cases: `python -m tests.render.kustomize_page`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from tests.render.kustomize_cases import LEFT_OUT, WITHOUT_EFFECT

from setpoint.render.kustomize.types import KUSTOMIZATION, Many, Shape, Struct

PAGE: Final = Path(__file__).resolve().parents[2] / "docs/compatibility.md"
BEGIN, END = "<!-- kustomize: begin (generated) -->\n", "<!-- kustomize: end -->\n"


def page(text: str) -> str:
    """Return the page with the tables between their markers."""
    before, rest = text.split(BEGIN, 1)
    return before + BEGIN + _tables() + END + rest.split(END, 1)[1]


def _tables() -> str:
    left = {field for each in LEFT_OUT for field in each.fields}
    fields = [
        f"| `{name}` | {', '.join(f'`{each}`' for each in _below(shape)) or '-'} |"
        for name, shape in sorted(KUSTOMIZATION.fields.items())
        if name not in left
    ]
    idle = [f"| `{field}` | {reason} |" for field, reason in WITHOUT_EFFECT.items()]
    out = [f"| {each.what} | {_code(each.words)} | {each.reason} |" for each in LEFT_OUT]
    return "\n".join((
        "| field | with |", "| --- | --- |", *fields, "",
        "Taken, as kustomize takes them, and without effect there either:", "",
        "| field | why |", "| --- | --- |", *idle, "",
        "Left out:", "",
        "| what | what the Sync says, for the file `k/kustomization.yaml` | why |", "| --- | --- | --- |", *out, "",
    ))  # fmt: skip


def _below(shape: Shape, at: str = "") -> list[str]:
    struct = shape.of if isinstance(shape, Many) else shape
    if not isinstance(struct, Struct):
        return []
    return [
        path
        for name, each in struct.fields.items()
        for path in (_below(each, f"{at}{name}.") or [f"{at}{name}"])
    ]


def _code(text: str) -> str:
    return "`" + re.sub(r"\|", r"\\|", text) + "`"


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
