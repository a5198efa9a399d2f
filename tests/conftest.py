"""Fixtures that every test may use."""

import os
import signal

import pytest
from hypothesis import HealthCheck, settings
from tests.kit import scopes
from xdist.remote import Producer  # type: ignore[import-untyped]

pytest_plugins = ["tests.kit.cluster.fixtures", "tests.kit.servers.fixtures", "tests.kit.image"]

# The servers and tools of the tests are Go programs that live for minutes: a tenth of their CPU against some memory. Not
# so the operator, whose environment is its own, and not so in the demo and the benchmarks.
os.environ.setdefault("GOGC", "400")

# A shell has what it starts in the background ignore Ctrl-C, and so would every child of the tests that is sent it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no finding: no test fails for what its clock says.
settings.register_profile("setpoint", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("setpoint")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what has slow tests first, so that no worker has one of them left when the others are done."""
    slow = {scopes.scope(item.nodeid) for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: scopes.scope(item.nodeid) not in slow)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> scopes.ByCluster | None:
    """Have files that share a cluster stay with one worker."""
    return scopes.scheduler(config, log)
