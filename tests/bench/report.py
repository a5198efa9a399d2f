"""Figures against budgets: a table for people, JSON for the repository, and what changed since another run (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """One figure: what it is, its unit, and the budget that it must not exceed, if it has one."""

    key: str
    title: str
    unit: str = ""
    budget: float | None = None


FLEET = (
    Figure("floor_s", "floor: a bare client, until all are healthy", "s"),
    Figure("install_s", "install, until all are Ready", "s"),
    Figure("install_ratio", "  as a ratio to the floor", "x", 2),
    Figure("install_requests", "  API requests for each Sync, Events included", "", 14),
    Figure("install_write", "    writes"),
    Figure("install_dry-run", "    dry runs"),
    Figure("install_get", "    reads"),
    Figure("install_list", "    lists"),
    Figure("install_event", "    Events"),
    Figure("install_cpu_ms", "  CPU of the operator for each Sync", "ms", 25),
    Figure("commit_requests", "a commit that touches 1 of N: requests, most of 5", "", 25),
    Figure("commit_cpu_ms", "  CPU, median", "ms"),
    Figure("commit_seen_s", "  from the revision seen to applied, slowest", "s", 1),
    Figure("commit_asked_s", "  from the request for a check to applied, median", "s"),
    Figure("idle_requests", "idle: requests a minute but lease and watches", "", 0),
    Figure("idle_cpu_percent", "  CPU, of one core", "%", 1),
    Figure("edit_p50_ms", "edit or deletion by hand until corrected, p50", "ms"),
    Figure("edit_p99_ms", "  p99", "ms", 500),
    Figure("edit_requests", "  requests for each"),
    Figure("restart_writes", "restart: writes", "", 0),
    Figure("restart_dry_runs", "  dry runs", "", 0),
    Figure("restart_requests", "  requests in all"),
    Figure("restart_quiet_s", "  until quiet", "s", 30),
    Figure("restart_cpu_ms", "  CPU for each Sync", "ms"),
    Figure("restart_memory_mib", "  memory afterwards", "MiB", 250),
    Figure("memory_steady_mib", "memory of the process tree (PSS), idle", "MiB", 250),
    Figure("memory_peak_mib", "  peak", "MiB", 350),
)


class Figures(dict[str, float]):
    """Measured values by key."""

    def put(self, key: str, value: float) -> None:
        """Note a value."""
        self[key] = round(float(value), 4)


def within(figure: Figure, value: float) -> bool | None:
    """Whether a value meets its budget; None where there is none."""
    return None if figure.budget is None else value <= figure.budget


def table(figures: Sequence[Figure], values: Mapping[str, float]) -> list[str]:
    """Lines of Markdown: title, value, budget, verdict."""
    lines = ["| figure | measured | budget | verdict |", "| --- | ---: | ---: | --- |"]
    for figure in figures:
        if figure.key in values:
            value = values[figure.key]
            title = figure.title.replace("  ", "&emsp;") if figure.title.startswith(" ") else figure.title
            lines.append(
                f"| {title} | {shown(value, figure.unit)} | {_budget(figure)} | {_verdict(figure, value)} |"
            )
    return lines


def shown(value: float, unit: str) -> str:
    """A value as people read it."""
    digits = 0 if value == int(value) or abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f} {unit}".strip()


def _budget(figure: Figure) -> str:
    return "" if figure.budget is None else f"<= {shown(figure.budget, figure.unit)}"


def _verdict(figure: Figure, value: float) -> str:
    met = within(figure, value)
    if met is None:
        return ""
    if met:
        return "met"
    over = f" by {100 * (value / figure.budget - 1):.0f} %" if figure.budget else ""
    return f"**over{over}**"


def comparison(figures: Iterable[Figure], old: Mapping[str, float], new: Mapping[str, float]) -> list[str]:
    """Lines of Markdown: what each figure was, is, and by how much it changed."""
    lines = ["| figure | before | now | change |", "| --- | ---: | ---: | ---: |"]
    for figure in figures:
        if figure.key in old and figure.key in new:
            before, now = old[figure.key], new[figure.key]
            change = f"{100 * (now / before - 1):+.0f} %" if before else ""
            cells = (figure.title.strip(), shown(before, figure.unit), shown(now, figure.unit), change)
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def document(
    scenario: str, count: int, commit: str, at: str, machine: Json, values: Mapping[str, float]
) -> Json:
    """What is kept of a run."""
    return {
        "scenario": scenario,
        "n": count,
        "commit": commit,
        "at": at,
        "machine": machine,
        "figures": dict(values),
    }
