"""Explains why the cache volume cannot be used (no I/O)."""

from __future__ import annotations

import errno

from setpoint.api.reasons import Problem, Reason

_FULL = frozenset(
    {
        *(errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM),
        *(errno.ENOTDIR, errno.EEXIST),  # something else is where a folder should be
    }
)


def cache_problem(error: OSError, otherwise: Reason = Reason.GitFailed) -> Problem:
    """Return why the cache cannot be used; `otherwise`: the reason if it is neither full nor read-only."""
    why = (error.strerror or "unknown error").lower()
    if error.errno in _FULL:
        return Problem(Reason.CacheFull, f"the cache volume cannot be written: {why}")
    return Problem(otherwise, f"the cache volume failed: {why}", retry=True)
