"""`setpoint health`: prints the health of objects on standard input, for pipelines: `kubectl get -o yaml ... | setpoint health`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TextIO

from setpoint.api.reasons import Problem, Reason
from setpoint.health import evaluate as health
from setpoint.health import verdict
from setpoint.health.verdict import mapping, one_line, text
from setpoint.objects import documents

OK: Final = 0
"""Every object is Healthy or Suspended."""
UNFINISHED: Final = 1
"""Some object is Progressing, Unknown or Missing, and none Degraded."""
DEGRADED: Final = 2
"""Some object is Degraded."""
USAGE: Final = 64
"""The input is not what it should be (EX_USAGE of sysexits.h); nothing was printed but the error."""

INPUT: Final = "standard input"
_HEADER = ("KIND", "NAME", "HEALTH", "REASON", "MESSAGE")
_LIST_DEPTH = 8


def run(stdin: TextIO | bytes, stdout: TextIO, output: str, stderr: TextIO | None = None) -> int:
    """Print the verdict of each object on `stdin` (YAML or JSON, any number of documents, Lists expanded).

    `output` is `text` (aligned columns) or `json` (a list of apiVersion, kind, namespace, name, health, reason,
    message). Returns the exit code: OK, UNFINISHED, DEGRADED or USAGE.
    """
    errors = stderr or sys.stderr
    if output not in ("text", "json"):
        errors.write(f"error: --output is {output!r}; use text or json\n")
        return USAGE
    try:
        rows = [_row(obj) for obj in objects(_bytes(stdin))]
    except Problem as problem:
        errors.write(f"error: {problem}\n")
        return USAGE
    stdout.write(_table(rows) if output == "text" else json.dumps(rows, indent=2, ensure_ascii=False) + "\n")
    return exit_code(row["health"] for row in rows)


def exit_code(healths: Iterable[str]) -> int:
    """Return the exit code for objects of these healths."""
    found = set(healths)
    if verdict.Health.Degraded in found:
        return DEGRADED
    return OK if found <= {verdict.Health.Healthy, verdict.Health.Suspended} else UNFINISHED


def objects(data: bytes) -> Iterator[Mapping[str, Any]]:
    """Return the objects in `data`; they may lack a name, since live parts of objects are welcome too.

    Raises Problem that names the line: text that is neither YAML nor JSON, no object, or nothing at all
    (an upstream command that failed must not look healthy; an empty List is fine).
    """
    empty = True
    for parsed in documents.parse(data, INPUT):
        if parsed.value is None:
            continue
        empty = False
        yield from _expand(parsed.value, parsed.line, parsed.lines, 0)
    if empty:
        raise Problem(
            Reason.RenderFailed, f"{INPUT}:1: there is no object; pipe objects as YAML or JSON into it"
        )


def _expand(value: Any, line: int, lines: Mapping[int, int], depth: int) -> Iterator[Mapping[str, Any]]:
    line = lines.get(id(value), line)
    if not isinstance(value, dict) or not text(value, "apiVersion") or not text(value, "kind"):
        raise Problem(Reason.RenderFailed, f"{INPUT}:{line}: this is not an object with apiVersion and kind")
    kind, inside = value["kind"], value.get("items")
    if not kind.endswith("List") or text(mapping(value, "metadata"), "name") or not isinstance(inside, list):
        yield value
        return
    if depth >= _LIST_DEPTH:
        raise Problem(Reason.RenderFailed, f"{INPUT}:{line}: Lists are nested more than {_LIST_DEPTH} levels")
    for item in inside:
        # The API server leaves apiVersion and kind out in the items of a typed list.
        own = {"apiVersion": value["apiVersion"], "kind": kind.removesuffix("List")} if kind != "List" else {}
        typed = {**own, **item} if isinstance(item, dict) else item
        yield from _expand(typed, lines.get(id(item), line), lines, depth + 1)


def _bytes(stdin: TextIO | bytes) -> bytes:
    if isinstance(stdin, bytes):
        return stdin
    binary = getattr(stdin, "buffer", None)
    # The bytes below a text stream tell where they are not UTF-8; decoding by the locale would raise without a line.
    return binary.read() if binary else stdin.read().encode("utf-8", "surrogateescape")


def _row(obj: Mapping[str, Any]) -> dict[str, str]:
    verdict = health.evaluate(obj)
    meta = mapping(obj, "metadata")
    return {
        "apiVersion": text(obj, "apiVersion"),
        "kind": text(obj, "kind"),
        "namespace": text(meta, "namespace"),
        "name": text(meta, "name"),
        "health": verdict.health.value,
        "reason": verdict.reason,
        "message": verdict.message,
    }


def _table(rows: list[dict[str, str]]) -> str:
    """Align the columns by the longest word of each; the last is not padded."""
    if not rows:
        return "No objects.\n"
    lines = [_HEADER, *(_cells(row) for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return "".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() + "\n"
        for line in lines
    )


def _cells(row: dict[str, str]) -> tuple[str, ...]:
    name = one_line(f"{row['namespace']}/{row['name']}" if row["namespace"] else row["name"]) or "-"
    return (one_line(row["kind"]), name, row["health"], row["reason"], row["message"])
