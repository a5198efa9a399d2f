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
