"""`python -m tests.fuzz --minutes 10 --seed 1`: one round of each target after the other; 1 if anything is read differently."""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from random import Random

from tests.fuzz.run import Found, Session, session
from tests.fuzz.targets import TARGETS

TOLD_SECONDS = 15


def main() -> int:
    """Run for a time, and tell what was found."""
    options = _options()
    say(f"seed {options.seed}, {options.minutes:g} minutes: {', '.join(options.targets)}")
    with tempfile.TemporaryDirectory(prefix="setpoint-fuzz-") as folder, ExitStack() as stack:
        sessions = [stack.enter_context(session(TARGETS[name], Path(folder))) for name in options.targets]
        found = _run(sessions, Random(options.seed), time.monotonic() + 60 * options.minutes, options.found)
    for each in sessions:
        say(told(each))
    say(f"{len(found)} differences; seed {options.seed}")
    return 1 if found else 0


def _run(sessions: list[Session], rng: Random, end: float, folder: Path) -> list[Found]:
    found: dict[str, Found] = {}
    for each in sessions:
        _tell(each.replay(), found, folder)
    told_at = time.monotonic()
    while time.monotonic() < end:
        for each in sessions:
            if difference := each.round(f"{rng.getrandbits(64):x}"):
                _tell([difference], found, folder)
            if time.monotonic() > told_at + TOLD_SECONDS:
                told_at = time.monotonic()
                total = ", ".join(f"{each.target.name} {each.counts.total():,}" for each in sessions)
                say(f"{total}; {len(found)} differences, {max(0, end - told_at) / 60:.1f} minutes left")
    return list(found.values())


def _tell(new: Iterable[Found], found: dict[str, Found], folder: Path) -> None:
    """Tell of what was not found before."""
    for each in new:
        if each.kind not in found:
            say(each.told(folder))
        found[each.kind] = each


def told(each: Session) -> str:
    """Return how many cases there were, by what came of them."""
    rows = "".join(f"\n  {count:9,} {label}" for label, count in each.counts.most_common())
    return f"{each.target.name}: {each.counts.total():,} cases{rows}"


def say(text: str) -> None:
    """Tell the person."""
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", default=secrets.token_hex(4), help="repeats the same cases")
    parser.add_argument("--found", type=Path, default=Path("dist/fuzz"), help="where inputs go that differ")
    parser.add_argument("targets", nargs="*", default=list(TARGETS), help="some of them only")
    options = parser.parse_args()
    if unknown := [name for name in options.targets if name not in TARGETS]:
        parser.error(f"there is no target {unknown[0]!r}; there are {', '.join(TARGETS)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
