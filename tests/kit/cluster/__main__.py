"""Clusters for the command line.

python -m tests.kit.cluster up   [--name NAME] [--kwok] [--node]   start one, or find it again; last line: KUBECONFIG=<path>
python -m tests.kit.cluster load [--name NAME] --image FILE        give an image archive to its node
python -m tests.kit.cluster down [--name NAME]                     end it, or all of them
python -m tests.kit.cluster list                                   what there is
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.kit.cluster import named
from tests.kit.cluster.binaries import BuildError
from tests.kit.cluster.processes import ProcessError


def main(arguments: list[str]) -> int:
    """Run one command; progress and errors go to stderr."""
    parser = argparse.ArgumentParser(prog="python -m tests.kit.cluster", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("command", choices=tuple(COMMANDS))
    parser.add_argument("--name")
    parser.add_argument("--kwok", action="store_true", help="pods become Ready, whatever their image")
    parser.add_argument(
        "--node", action="store_true", help="a real node, on which containers run; needs root"
    )
    parser.add_argument("--image", type=Path, help="an OCI or Docker archive")
    chosen = parser.parse_args(arguments)
    try:
        COMMANDS[chosen.command](chosen)
    except (BuildError, ProcessError, named.NamedClusterError) as error:
        _say(str(error))
        return 1
    return 0


def _up(chosen: argparse.Namespace) -> None:
    name = chosen.name or "default"
    _say(f"cluster {name}: starting" if not named.state(name).running else f"cluster {name}: runs already")
    print(f"KUBECONFIG={named.up(name, kwok=chosen.kwok, node=chosen.node)}", flush=True)


def _down(chosen: argparse.Namespace) -> None:
    for name in [chosen.name] if chosen.name else named.names():
        _say(f"cluster {name}: {'removed' if named.down(name) else 'there is none'}")


def _load(chosen: argparse.Namespace) -> None:
    if chosen.image is None or not chosen.image.is_file():
        raise named.NamedClusterError("--image must name an archive that exists")
    named.load(chosen.name or "default", chosen.image)
    _say(f"cluster {chosen.name or 'default'}: its node has the image")


def _list(_chosen: argparse.Namespace) -> None:
    for name in named.names():
        state = named.state(name)
        print(f"{name}\t{'running' if state.running else 'ended'}\t{state.kubeconfig}")


def _supervise(chosen: argparse.Namespace) -> None:
    named.supervise(chosen.name, kwok=chosen.kwok, node=chosen.node)


def _say(text: str) -> None:
    print(f"[setpoint] {text}", file=sys.stderr, flush=True)


COMMANDS = {"up": _up, "load": _load, "down": _down, "list": _list, "supervise": _supervise}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
