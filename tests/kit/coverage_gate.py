"""The coverage gate: pure modules are covered by the unit tests, line by line, or the check fails."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

LEAST = 90.0
PURE = (
    "api",
    "health",
    "objects",
    "plan",
    "status",
    "tree",
    "wall",
    # Of packages that act, the modules that decide.
    "apply/placing",
    "codegen/crds",
    "fences/allowances",
    "fences/clock",
    "fences/landlock",
    "fences/memory",
    "fences/seccomp",
    "git/links",
    "kube/errors",
    "render/contents",
    "render/encrypted",
    "render/kustomize/keys",
    "render/kustomize/types",
    "runtime/fairness",
    "runtime/pool",
    "sources/changes",
    "sources/check",
    "sources/demands",
    "sources/memory",
    "sources/status",
    "store/claims",
    "store/dependencies",
    "store/loans",
    "store/prune_barrier",
    "store/wants",
    "syncs/memory",
    "syncs/notes",
    "syncs/run",
    "syncs/steps/object_states",
    "watch/pod_states",
    "worker/deaths",
    "worker/reader/read_sets",
    "worker/shares",
)
"""Packages that decide, and modules: all that is in them is under the gate."""


def pure(files: dict[str, Any]) -> dict[str, Any]:
    """Return the entries of the modules under the gate, by their path below the package; each name of PURE has some."""
    below = {re.sub(r"^.*?setpoint/", "", path): entry for path, entry in files.items()}
    empty = [name for name in PURE if not any(_within(path, name) for path in below)]
    if empty:
        raise SystemExit(f"coverage gate: nothing is named {', '.join(empty)}")
    return {path: entry for path, entry in below.items() if any(_within(path, name) for name in PURE)}


def _within(path: str, name: str) -> bool:
    return path == f"{name}.py" or path.startswith(f"{name}/")


def main() -> int:
    """Print the coverage of each pure module; 1 if one is below the gate."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "coverage.json"
        command = [sys.executable, "-m", "coverage", "json", "-q", "-o", str(report)]
        subprocess.run(command, check=True)
        files = json.loads(report.read_text())["files"]
    found = pure(files)
    low = 0
    for name in sorted(found):
        percent = found[name]["summary"]["percent_covered"]
        if percent < LEAST:
            low += 1
            sys.stderr.write(f"{name}: {percent:.1f} % covered, the gate is {LEAST} %\n")
    sys.stdout.write(
        f"coverage gate: {len(found) - low} of {len(found)} pure modules at {LEAST:.0f} % or more\n"
    )
    return 1 if low else 0


if __name__ == "__main__":
    raise SystemExit(main())
