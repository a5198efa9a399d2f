"""Fixtures that every test may use."""

from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.cluster.fixtures", "tests.servers.fixtures", "tests.container.fixtures"]

# A busy machine is no finding: no test fails for what its clock says.
settings.register_profile("setpoint", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("setpoint")
