"""The record of the sweep, and its table in docs/compatibility.md (pure, but for reading and writing the two files)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.compat import catalog
from tests.compat.catalog import DATA, Excepted, Json, Kind
from tests.compat.sweep import Figures

from setpoint.codegen.generate import between

RECORD = DATA / "recorded.json"
PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"
PART = "kinds"


def record(version: str, figures: Mapping[Kind, Figures]) -> Json:
    """Return the figures of a sweep as JSON: counts, and by name what was not tried."""
    rows = {}
    for kind, f in figures.items():
        rows[str(kind)] = {
            "apiVersion": kind.api_version,
            "objects": f.objects,
            "fields": f.fields,
            "set": len(f.given),
            "changed": len(f.changed),
            "refused": len(f.refused),
            "tied": sorted(f.tied),
            "drifted": len(f.drifted),
            "removed": f.removed,
            "unset": len(f.unset),
        }
    return {"version": version, "kinds": dict(sorted(rows.items()))}


def merged(before: Json, found: Json) -> Json:
    """Return a record in which some kinds are newer."""
    return {**found, "kinds": dict(sorted({**before["kinds"], **found["kinds"]}.items()))}


def text(found: Json) -> str:
    """Return the file of a record."""
    return json.dumps(found, indent=1) + "\n"


def read() -> Json:
    """Return what was recorded last."""
    found: Json = json.loads(RECORD.read_text())
    return found


def page(present: str, found: Json) -> str:
    """Return the page with the table of a record between its markers."""
    return between(present, table(found), PART)


def table(found: Json) -> str:
    """Return the table of kinds, and the exceptions."""
    rows = found["kinds"]
    lines = [
        f"Recorded against Kubernetes {found['version']}: {len(rows)} kinds.",
        "",
        "| kind | API version | objects | fields set | changed | immutable | not alone | put back | removed |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *(_row(name, row) for name, row in rows.items()),
        _sum(rows.values()),
        *_missing(set(rows)),
        "",
        "Kinds that are not tried, as nothing of them is stored:",
        "",
        *(f"- {name}: {reason}" for name, reason in catalog.exceptions().kinds.items()),
        "",
        "Fields that no object sets (`*` stands for anything):",
        "",
        *(_exception(row) for row in catalog.exceptions().unset),
        "",
        "Fields that are set, and that the API server drops:",
        "",
        *(_exception(row) for row in catalog.exceptions().dropped),
    ]
    return "\n".join(lines) + "\n"


def _missing(recorded: set[str]) -> list[str]:
    missing = sorted(str(kind) for kind in catalog.objects() if str(kind) not in recorded)
    return (
        ["", f"Objects are there, and no whole sweep is recorded yet: {', '.join(missing)}."]
        if missing
        else []
    )


def _row(name: str, row: Mapping[str, Any]) -> str:
    counts = (row["changed"], row["refused"], len(row["tied"]), row["drifted"], row["removed"])
    kind = name.partition(".")[0]
    cells = (kind, f"`{row['apiVersion']}`", row["objects"], f"{row['set']} of {row['fields']}", *counts)
    return f"| {' | '.join(map(str, cells))} |"


def _sum(rows: Iterable[Mapping[str, Any]]) -> str:
    each = [*rows]
    total = {
        key: sum(r[key] for r in each)
        for key in ("objects", "fields", "set", "changed", "refused", "drifted", "removed")
    }
    tied = sum(len(r["tied"]) for r in each)
    cells = (
        "**all**",
        "",
        total["objects"],
        f"{total['set']} of {total['fields']}",
        total["changed"],
        total["refused"],
        tied,
        total["drifted"],
        total["removed"],
    )
    return f"| {' | '.join(map(str, cells))} |"


def _exception(row: Excepted) -> str:
    return f"- {', '.join(f'`{field}`' for field in row.fields)}: {row.reason}"
