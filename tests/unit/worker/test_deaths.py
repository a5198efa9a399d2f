"""What the death of a reader means for whom it worked."""

from __future__ import annotations

import signal

import pytest

from setpoint.api.reasons import Reason
from setpoint.fences.allowances import Excess, Kind
from setpoint.fences.launching import Exit, cause
from setpoint.worker.deaths import Death, problem_of
from setpoint.worker.reader.limits import NO_MEMORY

MEMORY = 96 * 2**20


def death(status: int, peak: int = 0, over: Kind | None = None) -> Death:
    excess = None if over is None else Excess(over, 31.0 * 2**20, 30.0 * 2**20)
    return Death(Exit(status, peak), excess, MEMORY)


@pytest.mark.parametrize(
    "died",
    [
        death(NO_MEMORY),
        death(-signal.SIGSEGV, peak=MEMORY * 9 // 10),
        death(-signal.SIGABRT, peak=MEMORY * 2),
        death(-signal.SIGKILL, over=Kind.MEMORY),
        death(-signal.SIGKILL, over=Kind.TOGETHER),
    ],
    ids=["says so", "crashes in C", "crashes in Rust", "was ended for it", "was ended for the sum"],
)
def test_without_memory_it_is_too_large_and_not_tried_again(died: Death) -> None:
    found = problem_of(died)
    assert died.own
    assert (found.reason, found.transient) == (Reason.TooLarge, False)
    assert found.message.startswith(
        "to read this takes more than the 96 MiB of memory of settings.readerMemory"
    )


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Kind.THREADS, "more than 3.14573e+07 threads"),
        (Kind.SCRATCH, "more than 30 MiB of files"),
        (Kind.PROCESSOR, "more than 3.14573e+07 s of processor time"),
        (Kind.TIME, "more than 3.14573e+07 s"),
    ],
)
def test_what_else_it_was_ended_for_is_told(kind: Kind, words: str) -> None:
    died = death(-signal.SIGKILL, over=kind)
    found = problem_of(died)
    assert died.own
    assert (found.reason, found.transient) == (Reason.TooLarge, False)
    assert found.message == f"to read this takes {words}; make several Syncs of it"


@pytest.mark.parametrize(
    "died",
    [
        death(-signal.SIGSEGV, peak=MEMORY // 2),
        death(-signal.SIGKILL, peak=MEMORY),
        death(0),
        death(1, peak=MEMORY),
    ],
    ids=["crashed with memory left", "killed by somebody", "ended", "failed"],
)
def test_any_other_death_is_tried_again_later(died: Death) -> None:
    found = problem_of(died)
    assert not died.own
    assert (found.reason, found.transient) == (Reason.RenderCrashed, True)
    assert found.message == (
        f"the process that reads this died twice ({cause(died.exit.status)}); it is tried again later"
    )


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "exit status 0"),
        (1, "exit status 1"),
        (-signal.SIGKILL, "SIGKILL"),
        (-signal.SIGSYS, "SIGSYS"),
        (-199, "signal 199"),
    ],
)
def test_a_status_in_words(status: int, words: str) -> None:
    assert cause(status) == words
