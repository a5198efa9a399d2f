"""The folders of one broker's readers, below the machine's folder of temporary files (shell).

    <tmp>/setpoint-readers-<random>/alive    flock: exclusive for as long as its broker lives
    <tmp>/setpoint-readers-<random>/<name>/  a reader's own; it sees nothing beside it

They are removed in a thread that no reader, Sync or connection waits for: who wrote there may have left very many files.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final

from setpoint.runtime.disk import ALIVE, cache_problem, claimed, remove, remove_abandoned, temporary

log = logging.getLogger(__name__)
PREFIX: Final = "setpoint-readers-"


class Remover:
    """Removes in one thread, in order. `finish` it at the end of the process."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "remover")

    def later(self, work: Callable[[], object]) -> None:
        """Have something done when what came before it is."""
        self._thread.submit(work).add_done_callback(_told)

    def finish(self) -> None:
        """Wait until all is done; nothing is done after it."""
        self._thread.shutdown()


class Scratch:
    """Makes and removes the folders; `close` it at the end. What brokers left that were killed is removed at the start."""

    def __init__(self, parent: Path, remover: Remover) -> None:
        """`parent`: the folder of temporary files."""
        self.parent, self._remover = parent, remover
        self._root, self._alive = parent, -1
        remover.later(self._sweep)

    def make(self, name: str) -> Path:
        """Make the folder of a reader. Raises Problem, which names the folder of temporary files."""
        try:
            if self._alive < 0 or not (self._root / ALIVE).exists():  # somebody may wipe /tmp
                self._close()
                self._root = self.parent / f"{PREFIX}{secrets.token_hex(8)}"
                self._alive = claimed(self._root)
            folder = self._root / name
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise cache_problem(error, what=temporary(self.parent)) from None
        return folder

    def discard(self, folder: Path) -> None:
        """Have the folder of a reader that ended removed; its name is not used again."""
        self._remover.later(lambda: remove(folder))

    def close(self) -> None:
        """Have everything removed."""
        root, alive = self._root, self._alive
        if alive < 0:
            return
        self._alive = -1

        def gone() -> None:
            remove(root)
            os.close(alive)

        self._remover.later(gone)

    def _close(self) -> None:
        if self._alive >= 0:
            os.close(self._alive)
            self._alive = -1

    def _sweep(self) -> None:
        for folder in self.parent.glob(f"{PREFIX}*"):
            remove_abandoned(folder)


def _told(done: Future[object]) -> None:
    if (error := done.exception()) is not None:
        log.error("what readers left could not be removed", exc_info=error)
