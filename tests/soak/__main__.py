"""`python -m tests.soak --minutes 60 --seed 1`: prints every figure; 1 if memory grew, something leaked or was not right."""

from __future__ import annotations

import argparse
import secrets
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path
from random import Random

from tests.kit.cluster.processes import interrupt_on_sigterm
from tests.soak.figures import judge, table
from tests.soak.soak import Soak
from tests.soak.stage import staged


def main() -> int:
    """Run the soak, and judge."""
    options = _options()
    interrupt_on_sigterm()
    folder = Path(tempfile.mkdtemp(prefix="setpoint-soak-"))
    _say(f"seed {options.seed}, {options.minutes:g} minutes, files in {folder}")
    with staged(folder) as stage:
        soak = Soak(stage, Random(options.seed), _say)
        failed = False
        try:
            soak.run(options.minutes, options.round)
            soak.end()
        except Exception:  # noqa: BLE001 - the figures so far are wanted too
            traceback.print_exc()
            failed = True
    rows = judge(soak.samples)
    _say(f"{len(soak.samples)} rests in {soak.minutes:.1f} minutes; {soak.counts}\n{table(rows)}")
    if failed or any(row.bad for row in rows):
        _say(f"failed; seed {options.seed}, log {folder / 'operator.log'}")
        return 1
    shutil.rmtree(folder)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", default=secrets.token_hex(4), help="repeats the same choices")
    parser.add_argument("--round", type=float, default=45.0, help="seconds between two rests")
    return parser.parse_args()


def _say(text: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
