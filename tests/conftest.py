"""Fixtures that every test may use."""

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.cluster.fixtures", "tests.servers.fixtures", "tests.container.fixtures"]

# A busy machine is no finding: no test fails for what its clock says.
settings.register_profile("setpoint", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("setpoint")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with slow tests first, so that no worker has one of them left when the others are done."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
