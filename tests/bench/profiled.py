"""The operator under cProfile: `python -m tests.bench.profiled FOLDER run ...`; for a look inside, never for figures.

CPU time, not time by the clock: one profile of the main loop, one of kopf's thread.
"""

from __future__ import annotations

import cProfile
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from setpoint.__main__ import main
from setpoint.manager import kopf_watch


def profiled(folder: Path, name: str, work: Callable[..., Any], *args: Any) -> Any:
    """Call, and leave a profile in the folder."""
    profiler = cProfile.Profile(time.thread_time)
    try:
        return profiler.runcall(work, *args)
    finally:
        profiler.dump_stats(folder / f"{len(list(folder.iterdir()))}-{name}.prof")


if __name__ == "__main__":
    place, watch = Path(sys.argv[1]), kopf_watch._watch
    place.mkdir(parents=True, exist_ok=True)
    kopf_watch._watch = lambda *args: profiled(place, "kopf", watch, *args)
    sys.exit(profiled(place, "main", main, sys.argv[2:]))
