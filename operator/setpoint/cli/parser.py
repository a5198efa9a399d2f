"""The parser of the command line: used by `__main__`, and shown in docs/reference/cli.md (pure).

`EXIT_CODES` lists the exit codes of each command. All commands have 0 (done), 1 (failed) and 64 (wrong usage: EX_USAGE
of sysexits.h, because argparse's own 2 means something else for `health`).
"""

from __future__ import annotations

import argparse
from typing import NoReturn

from setpoint import __version__

OK, FAILED, USAGE = 0, 1, 64

EXIT_CODES = {
    "run": {
        OK: "stopped by SIGTERM or SIGINT",
        FAILED: "it could not start, or lost its lease; a restart repairs",
        USAGE: "a wrong argument or setting",
    },
    "worker": {
        OK: "the operator's end of the socket was closed; with --listen after SIGTERM too",
        FAILED: "it cannot listen, or the kernel lacks what keeps its children apart",
        USAGE: "a wrong argument or setting",
    },
    "render": {
        OK: "the manifests were printed",
        FAILED: "the folder cannot be rendered; stderr says where",
        USAGE: "a wrong argument, or a file that is not a Sync",
    },
    "health": {
        OK: "every object is Healthy or Suspended",
        FAILED: "some are Progressing, Unknown or Missing, none is Degraded",
        2: "some object is Degraded",
        USAGE: "a wrong argument, or input that is not YAML or JSON objects",
    },
    "crds": {OK: "the CRDs were printed", USAGE: "a wrong argument"},
}


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors end with 64."""

    def error(self, message: str) -> NoReturn:
        """Print the error and the usage on stderr; exit with 64."""
        self.exit(USAGE, f"{self.format_usage()}error: {message}\n")


def parser() -> Parser:
    """Return the parser of the whole command line."""
    root = Parser(
        prog="python -m setpoint",
        description="Setpoint holds a Kubernetes cluster to a Git commit.",
        allow_abbrev=False,
    )
    root.add_argument("--version", action="version", version=f"setpoint {__version__}")
    commands = root.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _run(_command(commands, "run", "Run the operator until SIGTERM. Settings come from the environment."))
    _worker(
        _command(
            commands, "worker", "Read repositories and render, for an operator that starts this or dials it."
        )
    )
    _render(_command(commands, "render", "Print what the operator would make of a local folder."))
    _health(_command(commands, "health", "Read objects on standard input, and print how each of them is."))
    _command(commands, "crds", "Print the CustomResourceDefinitions.")
    return root


def _command(
    commands: argparse._SubParsersAction[Parser],
    name: str,
    text: str,
) -> Parser:
    codes = "; ".join(f"{code}: {meaning}" for code, meaning in EXIT_CODES[name].items())
    return commands.add_parser(
        name, help=text, description=text, epilog=f"Exit codes: {codes}.", allow_abbrev=False
    )


def _run(command: Parser) -> None:
    command.add_argument(
        "--kubeconfig",
        metavar="PATH",
        help="the kubeconfig of the cluster; without it $KUBECONFIG, else the cluster that Setpoint runs in",
    )
    command.add_argument(
        "--allow-file-urls",
        action="store_true",
        help="let a Source have a file:// URL, for tests and demos on one machine",
    )


def _worker(command: Parser) -> None:
    where = command.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--socket",
        type=int,
        metavar="FD",
        help="the file descriptor of the socket at whose other end the operator is; the worker ends with it",
    )
    where.add_argument(
        "--listen",
        metavar="DIR",
        help="the folder of the socket that the operator dials, as the container of a pod does; SIGTERM ends the worker, but not before the operator",
    )


def _render(command: Parser) -> None:
    command.add_argument("folder", metavar="DIR", help="a folder of manifests, or with a kustomization")
    command.add_argument(
        "--sync",
        metavar="FILE",
        help="a Sync whose path (below DIR, the root of the repository), targetNamespace, exclude and kustomize count",
    )
    _output(command, ("yaml", "json"))


def _health(command: Parser) -> None:
    _output(command, ("text", "json"))


def _output(command: Parser, formats: tuple[str, str]) -> None:
    command.add_argument(
        "-o", "--output", choices=formats, default=formats[0], help=f"the format ({formats[0]})"
    )
