"""Ends a reader that has no memory left, wherever Python finds that out (shell).

A MemoryError that is raised while another is handled, or while a thread hands over what it made, is told to nobody: whoever waits for that would
wait for ever. So the process ends with the first that is seen.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NoReturn, ParamSpec, TypeVar

from setpoint.worker.reader.limits import NO_MEMORY

P = ParamSpec("P")
T = TypeVar("T")


def end() -> NoReturn:
    """End this process as one that has no memory left."""
    os._exit(NO_MEMORY)


class Threads(ThreadPoolExecutor):
    """Threads that end the process where one of them finds no memory. All are started at once: later there may be none for a stack."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        all_there = threading.Barrier(count)
        for _ in range(count):
            super().submit(all_there.wait)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a function called in a thread."""
        return super().submit(lambda: _or_end(fn, *args, **kwargs))


class _Listener(logging.Handler):
    """Hears of what somebody else caught and only logs."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            _look(record.exc_info[1])


def listen(loop: asyncio.AbstractEventLoop) -> None:
    """End the process with the first MemoryError that anything of Python's hears of: the event loop, a thread, a log."""
    loop.set_exception_handler(lambda _, context: _look(context.get("exception")))
    threading.excepthook = lambda found: _look(found.exc_value)
    sys.unraisablehook = lambda found: _look(found.exc_value)
    logging.getLogger().addHandler(_Listener())


def _look(error: BaseException | None) -> None:
    while error is not None:
        if isinstance(error, MemoryError):
            end()
        error = error.__context__


def _or_end(fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    try:
        return fn(*args, **kwargs)
    except MemoryError:
        end()
