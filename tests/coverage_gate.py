"""The coverage gate: pure modules are covered by the unit tests, line by line, or the check fails."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

LEAST = 90.0
PURE = (
    "adoption",
    "announce",
    "api",
    "api_base",
    "api_source",
    "api_sync",
    "api_sync_status",
    "apply_result",
    "barrier",
    "change",
    "choosing",
    "claims",
    "conditions",
    "contents",
    "crds",
    "dependencies",
    "desired",
    "diff",
    "differences",
    "documents",
    "elapsed",
    "encrypted",
    "fields",
    "footprint",
    "gitignore",
    "goals",
    "health",
    "history",
    "ignoring",
    "inventory",
    "kustomize_keys",
    "kustomize_types",
    "marks",
    "memory",
    "nested",
    "objects",
    "order",
    "outcome",
    "pacing",
    "phrase",
    "placing",
    "plan",
    "pointers",
    "prune",
    "reasons",
    "redact",
    "revisions",
    "rules",
    "run",
    "source_answer",
    "source_memory",
    "source_status",
    "states",
    "status",
    "stuck",
    "wildmatch",
)


def main() -> int:
    """Print the coverage of each pure module; 1 if one is below the gate."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "coverage.json"
        command = [sys.executable, "-m", "coverage", "json", "-q", "-o", str(report)]
        subprocess.run(command, check=True)
        files = json.loads(report.read_text())["files"]
    low = 0
    for name in PURE:
        found = [v for k, v in files.items() if k.endswith(f"setpoint/{name}.py")]
        percent = found[0]["summary"]["percent_covered"] if found else 0.0
        if percent < LEAST:
            low += 1
            sys.stderr.write(f"{name}: {percent:.1f} % covered, the gate is {LEAST} %\n")
    sys.stdout.write(
        f"coverage gate: {len(PURE) - low} of {len(PURE)} pure modules at {LEAST:.0f} % or more\n"
    )
    return 1 if low else 0


if __name__ == "__main__":
    raise SystemExit(main())
