"""Pytest fixtures around servers; `tests/conftest.py` registers them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kit.cluster.base import Cluster
from tests.kit.cluster.pki import Authority
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.githttp import GitHttp
from tests.kit.servers.gitssh import GitSsh
from tests.kit.servers.proxy import HttpProxy


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A private CA; nothing trusts it unless told to."""
    return Authority(tmp_path / "pki")


@pytest.fixture
def git_http(tmp_path: Path) -> Iterator[GitHttp]:
    """Git over plain HTTP."""
    with GitHttp(tmp_path / "http") as server:
        yield server


@pytest.fixture
def git_https(tmp_path: Path, authority: Authority) -> Iterator[GitHttp]:
    """Git over HTTPS, by a certificate of `authority`."""
    with GitHttp(tmp_path / "https", tls=authority.server("git")) as server:
        yield server


@pytest.fixture
def git_ssh(tmp_path: Path) -> Iterator[GitSsh]:
    """Git over SSH; its `identity` may log in."""
    with GitSsh(tmp_path / "ssh", tmp_path / "ssh-keys") as server:
        yield server


@pytest.fixture
def http_proxy() -> Iterator[HttpProxy]:
    """An HTTP proxy that asks for no password."""
    with HttpProxy() as server:
        yield server


@pytest.fixture
def api_proxy(cluster: Cluster) -> Iterator[ApiProxy]:
    """A recording, fault-injecting proxy in front of the shared cluster's API server."""
    with ApiProxy(cluster) as proxy:
        yield proxy
