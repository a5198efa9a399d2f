"""`python -m tests.bench --scenario fleet --n 100`: measure, print a table, write JSON. See docs/performance.md."""

from __future__ import annotations

import argparse
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import uvloop
from tests.bench import machine, plot, report
from tests.bench.scenarios import SCENARIOS, Options
from tests.kit.cluster.processes import interrupt_on_sigterm

RESULTS = machine.ROOT / "docs" / "benchmarks"


def main() -> None:
    """Run what was asked for."""
    arguments = _arguments()
    if arguments.plot:
        print(plot.draw(RESULTS))
        return
    interrupt_on_sigterm()
    began = time.monotonic()

    def say(text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - began:7.1f} s  {text}\n")

    scenario = SCENARIOS[arguments.scenario]
    count = arguments.n or scenario.n
    values = uvloop.run(scenario.run(Options(count, arguments.idle, arguments.profile, say)))
    _tell(arguments, count, values)


def _arguments() -> argparse.Namespace:
    shown = "; ".join(f"{name}: {s.title} (N={s.n})" for name, s in SCENARIOS.items())
    parser = argparse.ArgumentParser(prog="tests.bench", description=__doc__, epilog=shown)
    parser.add_argument("--scenario", choices=SCENARIOS, default="fleet", help="what to measure (fleet)")
    parser.add_argument("--n", type=int, help="how many, instead of the scenario's own")
    parser.add_argument("--idle", type=float, default=60, help="seconds of the idle window (60)")
    parser.add_argument("--compare", type=Path, help="a result of another run: show what changed")
    parser.add_argument(
        "--profile", type=Path, help="a folder for profiles of the operator (fleet); nothing is recorded"
    )
    parser.add_argument("--plot", action="store_true", help="only draw the recorded fleets")
    return parser.parse_args()


def _tell(arguments: argparse.Namespace, count: int, values: report.Figures) -> None:
    scenario, name = arguments.scenario, f"{arguments.scenario}-{count}"
    figures = SCENARIOS[scenario].figures(count)
    old = json.loads(arguments.compare.read_text()) if arguments.compare else None
    print("\n".join([f"\n### {name}\n", *report.table(figures, values)]))
    if old:
        lines = report.comparison(figures, old["figures"], values)
        print("\n".join([f"\n### since {old['commit']}\n", *lines]))
    if arguments.profile is None:
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        made = report.document(scenario, count, machine.commit(), at, machine.machine(), values)
        RESULTS.mkdir(parents=True, exist_ok=True)
        (RESULTS / f"{name}.json").write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
