"""Time, requests and memory against the number of Syncs, as an SVG drawn from the recorded fleets (pure but for `draw`)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

Json = dict[str, Any]
WIDTH, HEIGHT, LEFT, TOP, GAP = 250, 170, 52, 44, 78
COLOURS = ("#1f6feb", "#9a6700", "#8250df")
NAME = "fleet.svg"


@dataclass(frozen=True)
class Line:
    """One line of a panel: what it is, and the figure that it shows."""

    title: str
    key: str


@dataclass(frozen=True)
class Panel:
    """One panel; `unit` is of its y axis, which begins at 0."""

    title: str
    unit: str
    lines: tuple[Line, ...]


PANELS = (
    Panel("Install of N Syncs", "s", (Line("Setpoint", "install_s"), Line("floor", "floor_s"))),
    Panel(
        "Requests",
        "",
        (
            Line("to install a Sync", "install_requests"),
            Line("for a commit that touches 1 of N", "commit_requests"),
        ),
    ),
    Panel(
        "Memory of all N (PSS)", "MiB", (Line("idle", "memory_steady_mib"), Line("peak", "memory_peak_mib"))
    ),
)


def draw(folder: Path) -> Path:
    """Draw what is recorded in a folder into a file of it; returns the file."""
    made = folder / NAME
    made.write_text(svg([json.loads(file.read_text()) for file in folder.glob("fleet-*.json")]))
    return made


def svg(documents: Sequence[Json]) -> str:
    """Return the drawing of some fleets."""
    fleets = {int(d["n"]): d["figures"] for d in sorted(documents, key=lambda d: int(d["n"]))}
    width = len(PANELS) * (WIDTH + GAP)
    parts = [_panel(panel, fleets, LEFT + number * (WIDTH + GAP)) for number, panel in enumerate(PANELS)]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {TOP + HEIGHT + 84}"'
    style = 'font-family="sans-serif" font-size="12" fill="#57606a">'
    back = '<rect width="100%" height="100%" fill="#ffffff"/>'
    return "\n".join([f"{head} {style}", back, *parts, "</svg>", ""])


def _panel(panel: Panel, fleets: Mapping[int, Mapping[str, float]], left: float) -> str:
    top = _round_up(max(f[line.key] for f in fleets.values() for line in panel.lines))
    most = max(fleets)
    parts = [
        f'<text x="{left}" y="{TOP - 22}" font-weight="bold" fill="#1f2328">{escape(panel.title)}</text>'
    ]
    parts += _grid(panel.unit, top, fleets, most, left)
    for number, line in enumerate(panel.lines):
        colour = COLOURS[number]
        points = [(_x(n, most, left), _y(figures[line.key], top)) for n, figures in fleets.items()]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        row = TOP + HEIGHT + 42 + 18 * number
        parts.append(f'<rect x="{left}" y="{row - 9}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{left + 16}" y="{row}">{escape(line.title)}</text>')
    return "\n".join(parts)


def _grid(unit: str, top: float, sizes: Mapping[int, Any], most: int, left: float) -> list[str]:
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = _y(top * share, top)
        parts.append(f'<path d="M{left} {y:.1f}h{WIDTH}" stroke="#d0d7de"/>')
        label = f"{top * share:g} {unit}".strip()
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    for size in sizes:
        x = _x(size, most, left)
        parts.append(f'<text x="{x:.1f}" y="{TOP + HEIGHT + 18}" text-anchor="middle">{size}</text>')
    return parts


def _x(size: int, most: int, left: float) -> float:
    return left + WIDTH * size / most


def _y(value: float, top: float) -> float:
    return TOP + HEIGHT * (1 - value / top)


def _round_up(value: float) -> float:
    """Return the next of 1, 2, 5, 10, 20, 50, ..."""
    step = 1.0
    while True:
        for factor in (1, 2, 5):
            if step * factor >= value:
                return step * factor
        step *= 10
