"""`python -m setpoint`: parses the command line and starts a command. Each imports what it needs, so `crds` needs no cluster."""

from __future__ import annotations

import os
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from setpoint.api.reasons import Problem
from setpoint.cli import parser as cli

if TYPE_CHECKING:
    from setpoint.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; give its exit code (`cli.parser.EXIT_CODES`)."""
    options = cli.parser().parse_args(arguments)
    try:
        return COMMANDS[options.command](options)
    except Problem as problem:
        sys.stderr.write(f"error: {problem}\n")
        return cli.FAILED
    except BrokenPipeError:
        # Whoever read our output has gone (`setpoint crds | head`); Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return cli.FAILED


def _run(options: Namespace) -> int:
    from setpoint import settings  # noqa: PLC0415

    chosen = {"SETPOINT_ALLOW_FILE_URLS": "true"} if options.allow_file_urls else {}
    try:
        parsed = settings.from_environ({**os.environ, **chosen})
    except Problem as problem:
        sys.stderr.write(f"error: {problem}\n")
        return cli.USAGE
    from setpoint.manager import kopf_watch  # noqa: PLC0415

    if not parsed.worker_socket and _unfenced(parsed):
        return cli.FAILED
    return kopf_watch.main(parsed, options.kubeconfig or os.environ.get("KUBECONFIG") or None)


def _worker(options: Namespace) -> int:
    from setpoint import settings  # noqa: PLC0415
    from setpoint.worker import process  # noqa: PLC0415

    try:
        parsed = settings.from_environ(os.environ)
    except Problem as problem:
        sys.stderr.write(f"error: {problem}\n")
        return cli.USAGE
    if options.listen is None:
        return process.main(parsed, options.socket)
    return cli.FAILED if _unfenced(parsed) else process.main(parsed, Path(options.listen))


def _unfenced(parsed: Settings) -> bool:
    """Return whether children could not be fenced as the settings ask for, which is said then."""
    from setpoint.worker.fences import fences  # noqa: PLC0415

    refusal = fences(parsed).refusal()
    if refusal:
        sys.stderr.write(f"error: {refusal}\n")
    return bool(refusal)


def _render(options: Namespace) -> int:
    from setpoint.cli import render  # noqa: PLC0415

    return render.run(options.folder, options.sync, options.output)


def _health(options: Namespace) -> int:
    from setpoint.cli import health  # noqa: PLC0415

    return health.run(sys.stdin, sys.stdout, options.output)


def _crds(options: Namespace) -> int:
    from setpoint.codegen import crds  # noqa: PLC0415

    sys.stdout.write(crds.to_yaml())
    return cli.OK


COMMANDS: dict[str, Callable[[Namespace], int]] = {
    "run": _run,
    "worker": _worker,
    "render": _render,
    "health": _health,
    "crds": _crds,
}

if __name__ == "__main__":
    sys.exit(main())
