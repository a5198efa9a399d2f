"""The id of the cache: made with it, and gone with it (shell)."""

from __future__ import annotations

import logging
import os
import secrets
from contextlib import suppress
from pathlib import Path

log = logging.getLogger(__name__)
DIGITS = 32


def cache_id(cache: Path) -> str:
    """Return the id of a cache, which is made if it has none; nothing where it cannot be kept."""
    path = cache / "id"
    try:
        with suppress(FileNotFoundError):
            found = path.read_text(errors="replace")
            if len(found) == DIGITS:
                return found
        cache.mkdir(parents=True, exist_ok=True)
        made = cache / f"id-{secrets.token_hex(8)}"
        made.write_text(secrets.token_hex(DIGITS // 2))
        os.replace(made, path)
        return path.read_text()
    except OSError:
        log.warning("cannot keep the id of the cache; going on without one")
        return ""
