"""The operator under cProfile: `python -m tests.bench.profiled FOLDER run ...`; for a look inside, never for figures."""

from __future__ import annotations

import cProfile
import sys
from pathlib import Path

from setpoint.__main__ import main

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    profiler = cProfile.Profile()
    try:
        code = profiler.runcall(main, sys.argv[2:])
    finally:
        profiler.dump_stats(folder / f"{len(list(folder.iterdir()))}.prof")
    sys.exit(code)
