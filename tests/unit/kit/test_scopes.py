"""What tests stay together by."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.kit.scopes import SHARED, scope

TESTS = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("tests/e2e/test_sync.py::test_a", "tests/e2e/test_sync.py::test_b[x::y]", True),
        ("tests/e2e/test_sync.py::test_a", "tests/e2e/test_quiet.py::test_a", False),
        ("tests/faults/test_git.py::test_a", "tests/faults/test_cache.py::test_a", True),
        ("tests/pod/test_pod.py::test_a", "tests/kit/cluster/test_node.py::test_a", True),
        ("tests/kit/cluster/test_cluster.py::test_a", "tests/kit/cluster/test_node.py::test_a", False),
    ],
)
def test_files_that_share_a_cluster_stay_together(one: str, other: str, together: bool) -> None:
    assert (scope(one) == scope(other)) is together


@pytest.mark.parametrize("start", SHARED)
def test_what_is_named_is_there(start: str) -> None:
    assert (TESTS.parent / start).exists()
