"""`make compat`: take every kind through the operator, and write what came of it.

python -m tests.compat             the whole sweep: writes data/recorded.json and the table of docs/compatibility.md
python -m tests.compat --check     the same, but only compares
python -m tests.compat --table     no sweep: the table of what was recorded last
python -m tests.compat KIND...     some kinds (`Deployment.apps`, `Pod`), for a look: writes nothing, but with
                                   --record their rows of the record

Exit codes: 0 all went as it should, 1 something did not, or the record differs.
"""

from __future__ import annotations

import argparse
import sys

from tests.compat import catalog, report
from tests.compat.stage import sweep_of, to_stderr
from tests.compat.sweep import Finding


def main(arguments: list[str]) -> int:
    """Run the sweep; progress goes to stderr, what went wrong to stdout."""
    parser = argparse.ArgumentParser(prog="python -m tests.compat", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the record differs")
    parser.add_argument("--table", action="store_true", help="write the table of what was recorded last")
    parser.add_argument("--record", action="store_true", help="with kinds: write their rows")
    parser.add_argument("kinds", nargs="*", metavar="KIND")
    chosen = parser.parse_args(arguments)
    if chosen.table:
        return _write_page()
    known = {str(kind): kind for kind in catalog.objects()}
    with sweep_of([known[name] for name in chosen.kinds or known], to_stderr) as sweep:
        findings, found = sweep.run(whole=not chosen.kinds), report.record(sweep.version, sweep.figures)
    _tell(findings)
    if chosen.kinds and chosen.record:
        report.RECORD.write_text(report.text(report.merged(report.read(), found)))
        _write_page()
    elif chosen.kinds:
        sys.stdout.write(report.table(found))
    elif chosen.check:
        return int(bool(findings) or found != report.read())
    else:
        report.RECORD.write_text(report.text(found))
        _write_page()
    return int(bool(findings))


def _write_page() -> int:
    report.PAGE.write_text(report.page(report.PAGE.read_text(), report.read()))
    return 0


def _tell(findings: list[Finding]) -> None:
    for each in findings:
        sys.stdout.write(f"{each.kind}, {each.stage}: {each.words}\n")
    sys.stdout.write(f"{len(findings)} findings\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
