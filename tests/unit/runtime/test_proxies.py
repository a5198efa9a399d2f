"""NO_PROXY as Go programs read it."""

from __future__ import annotations

import pytest

from setpoint.runtime.proxies import proxy_for

PROXY = "http://proxy.example.org:3128"


@pytest.mark.parametrize(
    ("server", "exempt", "direct"),
    [
        ("https://api.example.org:6443", "", False),
        ("https://api.example.org:6443", "example.org", True),
        ("https://api.example.org:6443", ".example.org", True),
        ("https://api.example.org:6443", "*.example.org", True),
        ("https://example.org:6443", ".example.org", False),
        ("https://example.org:6443", "example.org", True),
        ("https://myexample.org:6443", "example.org", False),
        ("https://api.example.org:6443", "other.org, api.example.org:6443", True),
        ("https://api.example.org:6443", "api.example.org:443", False),
        ("https://API.example.org", "api.EXAMPLE.org", True),
        ("https://api.example.org", "*", True),
        ("https://10.96.0.1:443", "10.0.0.0/8", True),
        ("https://10.96.0.1:443", "192.168.0.0/16,not/a/network", False),
        ("https://10.96.0.1:443", "10.96.0.1", True),
        ("https://[fd00::1]:443", "fd00::/8", True),
        ("https://127.0.0.1:6443", "", True),
        ("https://localhost:6443", "", True),
    ],
)
def test_who_is_exempt(server: str, exempt: str, direct: bool) -> None:
    environ = {"HTTPS_PROXY": PROXY, "NO_PROXY": exempt}
    assert proxy_for(server, environ) == (None if direct else PROXY)


def test_the_scheme_chooses_the_variable() -> None:
    assert proxy_for("http://api.example.org", {"HTTPS_PROXY": PROXY}) is None
    assert proxy_for("http://api.example.org", {"http_proxy": "proxy:1"}) == "http://proxy:1"
