"""Starts the operator as often as asked, by forks of a process that has imported it: `python -m tests.crash.forkserver run ...`.

Importing takes ten times longer than starting, and a test that kills hundreds of operators pays it once. What runs is
the program itself: each fork calls its `main` in a process of its own. Protocol, in lines: in `start`; out `pid N`, and
`ended STATUS` (as of waitpid) when that one is gone.
"""

from __future__ import annotations

import gc
import os
import sys

from tests.kit.cluster.processes import die_with

import setpoint.manager.kopf_watch  # noqa: F401 - what a start would import
from setpoint.__main__ import main


def serve(arguments: list[str]) -> None:
    """Fork for each line on standard input; the forks die with this process, and it dies with the test."""
    die_with(os.getppid())
    gc.freeze()
    for _ in sys.stdin:
        owner = os.getpid()
        if (pid := os.fork()) == 0:
            die_with(owner)
            _become(arguments)
        _say(f"pid {pid}")
        _say(f"ended {os.waitpid(pid, 0)[1]}")


def _become(arguments: list[str]) -> None:
    """Be the operator: the pipes of the protocol are not its own."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    code = 1
    try:
        code = main(arguments)
    finally:
        os._exit(code)


def _say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


if __name__ == "__main__":
    serve(sys.argv[1:])
