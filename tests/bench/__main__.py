"""`python -m tests.bench [fleet|...] --n 100`: measure, print a table, write JSON. See docs/performance.md."""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import uvloop
from tests.bench import fleet, machine, report
from tests.cluster.processes import interrupt_on_sigterm

RESULTS = machine.ROOT / "docs" / "benchmarks"


def main() -> None:
    """Run what was asked for."""
    arguments = _arguments()
    interrupt_on_sigterm()
    began = time.monotonic()

    def say(text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - began:7.1f} s  {text}\n")

    values = uvloop.run(
        fleet.run(arguments.n, idle_seconds=arguments.idle, profile=arguments.profile, say=say)
    )
    _tell(arguments, f"fleet-{arguments.n}", values)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.bench", description=__doc__)
    parser.add_argument("--n", type=int, default=100, help="how many Syncs (100)")
    parser.add_argument("--idle", type=float, default=60, help="seconds of the idle window (60)")
    parser.add_argument("--compare", type=Path, help="a result of another run: show what changed")
    parser.add_argument(
        "--profile", type=Path, help="a folder for profiles of the operator; nothing is recorded"
    )
    return parser.parse_args()


def _tell(arguments: argparse.Namespace, name: str, values: report.Figures) -> None:
    old = json.loads(arguments.compare.read_text()) if arguments.compare else None
    print("\n".join([f"\n### {name}\n", *report.table(report.FLEET, values)]))
    if old:
        lines = report.comparison(report.FLEET, old["figures"], values)
        print("\n".join([f"\n### since {old['commit']}\n", *lines]))
    if arguments.profile is None:
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        made = report.document("fleet", arguments.n, machine.commit(), at, machine.machine(), values)
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
