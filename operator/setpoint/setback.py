"""What becomes of a run that ended before its status could be written, for a reason that may go by itself (shell)."""

from __future__ import annotations

import logging
from typing import Final

from setpoint.cluster_errors import ApiError, Fenced
from setpoint.objects import SyncKey
from setpoint.queue import Result
from setpoint.reasons import Problem
from setpoint.status_writer import Moved

log = logging.getLogger(__name__)

SETBACKS: Final = (Moved, Fenced, ApiError, Problem)


def retried(kind: str, key: SyncKey, error: Exception) -> Result:
    """Say by log why a run of a Sync or Source ended, and ask for another; nothing is said of what is no trouble."""
    about = {"object": f"{kind}/{key}", "error": str(error)}
    if isinstance(error, Fenced):
        log.info("a run of a %s was given up: another process may lead by now", kind, extra=about)
    elif not isinstance(error, Moved):
        log.warning("what came of a %s cannot be told now", kind, extra=about)
    return Result(retry=True)
