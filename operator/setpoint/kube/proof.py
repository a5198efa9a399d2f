"""Proves whose requests they are: an extra of the user whom we impersonate (shell: reads a clock, logs).

Anybody may name our field manager. The right to impersonate this extra is the operator's alone.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from urllib.parse import quote

from setpoint.api import names
from setpoint.kube.errors import ApiError

log = logging.getLogger(__name__)

USER = "Impersonate-User"
EXTRA = f"Impersonate-Extra-{quote(names.OPERATOR_EXTRA, safe='')}"
# From its beginning: what tenants write may stand in any other refusal, such as that of a role with this very right.
_REFUSAL = re.compile(
    r'(?:userextras\.\S+ "[^"]*" is forbidden: )?User "[^"]+" cannot impersonate resource '
    rf'"userextras/{re.escape(names.OPERATOR_EXTRA)}" in API group "authentication\.k8s\.io"'
)
WITHOUT_SECONDS = 300.0
"""After a refusal: so long no proof is sent, and no request is refused for it."""


class Proof:
    """The headers of impersonation. Without the right to prove anything we go on as before there was a proof."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._without_until = clock, 0.0
        self._told = False

    def headers(self, user: str | None) -> dict[str, str]:
        """Return the headers of a request that is sent as `user`, or as ourselves."""
        if not user:
            return {}
        proves = self._clock() >= self._without_until
        return {USER: user, **({EXTRA: names.FIELD_MANAGER} if proves else {})}

    def is_refused(self, error: ApiError) -> bool:
        """Return whether a request was refused for its proof alone, and may be sent again without; remembers that."""
        if error.status != 403 or not _REFUSAL.match(error.message):
            return False
        self._without_until = self._clock() + WITHOUT_SECONDS
        if not self._told:
            self._told = True
            log.warning(
                "the operator may not impersonate userextras/%s; writing without this proof, so the attribution policy "
                "notes the ServiceAccounts of Syncs as the writers",
                names.OPERATOR_EXTRA,
            )
        return True
