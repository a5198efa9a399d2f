"""What runs only where `CI=true`, as it takes minutes, and what may not be skipped there; the Makefile leaves out whole folders."""

from __future__ import annotations

import os
from typing import Final

import pytest

CI: Final = os.environ.get("CI") == "true"
ROOT_IN_CI: Final = CI and os.geteuid() == 0
"""Whether all that root can do has to work."""
ONLY_IN_CI = pytest.mark.skipif(not CI, reason="takes minutes: runs where CI=true")
