"""What the audience sees: headlines, commands as they are typed, their output as it is.

In: shell lines. Out: text on stdout; `DemoError` for a command that fails.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

WIDTH = 100
LIMIT_SECONDS = 330
LOOK_SECONDS = 1


class DemoError(RuntimeError):
    """Something did not go as told; the message is for a person."""


class Screen:
    """Runs commands in `folder` with `environment`; `check` is asked while one of them waits."""

    def __init__(self) -> None:
        self.environment: dict[str, str] = dict(os.environ)
        self.folder = Path.cwd()
        self.check: Callable[[], None] = lambda: None
        self._bold = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def headline(self, text: str) -> None:
        """A title with air above."""
        self.say("\n" + self._loud(f"== {text} ".ljust(WIDTH, "=")))

    def say(self, text: str) -> None:
        """A line for the reader."""
        print(text, flush=True)

    def failure(self, text: str) -> None:
        """What went wrong."""
        self.say("\n" + self._loud(f"FAILED: {text}"))

    def run(self, line: str) -> str:
        """Show the command, run it, show what it writes; its output."""
        self.command(line)
        output = self.quiet(line).rstrip("\n")
        if output:
            self.say(output)
        return output

    def command(self, line: str) -> None:
        """Show a command."""
        self.say(self._loud(f"$ {line}"))

    def describe(self, what: str, *headings: str) -> str:
        """Show those parts of the status in `kubectl describe`; their text."""
        line = f"kubectl describe {what}"
        self.command(f"{line}   # cut to {', '.join(headings)}")
        text = "\n".join(sections(self.quiet(line), headings))
        self.say(text)
        return text

    def json(self, line: str) -> Any:
        """What a kubectl command gives as JSON; nothing is shown."""
        return json.loads(self.quiet(f"{line} -o json"))

    def quiet(self, line: str) -> str:
        """Run a shell line; stdout, and on success stderr too. Raises DemoError if it fails or never ends."""
        with subprocess.Popen(
            ["sh", "-c", line],
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,  # Ctrl-C is for the demo, which ends the shell and what it runs
        ) as process:
            try:
                output = self._follow(process, line)
            except BaseException:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                raise
        if process.returncode:
            raise DemoError(f"{line}\n{output.strip()}")
        return output

    def tail(self, log: Path, lines: int) -> None:
        """Show the end of a log."""
        self.say(self._loud(f"\nThe last lines of {log}:"))
        text = log.read_text(errors="replace") if log.exists() else "(there is none)"
        self.say("\n".join(text.splitlines()[-lines:]))

    def _follow(self, process: subprocess.Popen[str], line: str) -> str:
        for _ in range(0, LIMIT_SECONDS, LOOK_SECONDS):
            try:
                return process.communicate(timeout=LOOK_SECONDS)[0]
            except subprocess.TimeoutExpired:
                self.check()
        raise DemoError(f"a command did not end within {LIMIT_SECONDS} s: {line}")

    def _loud(self, text: str) -> str:
        return f"\033[1m{text}\033[0m" if self._bold else text


def sections(description: str, headings: Iterable[str]) -> list[str]:
    """The lines of `kubectl describe` below those headings of `Status:`, headings included."""
    wanted = {f"  {heading}:" for heading in headings}
    found, within, taking = [], False, False
    for line in description.splitlines():
        indent = len(line) - len(line.lstrip())
        if indent == 0:
            within, taking = line.startswith("Status:"), False
        elif indent == 2:
            taking = within and any(line.startswith(heading) for heading in wanted)
        if taking:
            found.append(line)
    return found
