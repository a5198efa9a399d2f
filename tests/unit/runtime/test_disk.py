"""A cache that cannot be used is said in words, whoever meets it."""

from __future__ import annotations

import errno

import pytest

from setpoint.api.reasons import Reason
from setpoint.runtime.disk import cache_problem


@pytest.mark.parametrize(
    "number",
    [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST],
)
def test_a_volume_that_cannot_be_written(number: int) -> None:
    problem = cache_problem(OSError(number, "No space left on device"), Reason.RenderFailed)
    assert (problem.reason, problem.transient) == (Reason.CacheFull, True)
    assert problem.message == "the cache volume cannot be written: no space left on device"


def test_any_other_failure_is_what_the_caller_was_about() -> None:
    problem = cache_problem(OSError(errno.EIO, "Input/output error"), Reason.RenderFailed)
    assert (problem.reason, problem.transient) == (Reason.RenderFailed, True)
    assert cache_problem(OSError(errno.EIO, "x")).reason is Reason.GitFailed
