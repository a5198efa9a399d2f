"""Reads a kubeconfig or the pod's account: the endpoint, its TLS, and a token that is kept fresh.

This is the only importer of `kubernetes.aio`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from kubernetes.aio import config as kubeconfig
from kubernetes.aio.client import Configuration, rest

from setpoint.kube.errors import ApiError
from setpoint.kube.transport import TOKEN_SECONDS, Authorization, Endpoint
from setpoint.runtime.proxies import proxy_for

log = logging.getLogger(__name__)


async def endpoint_of(path: str | None) -> Endpoint:
    """Read a kubeconfig, or without one what `Cluster.connect` says; ApiError (status 0) if it is of no use."""
    load = _loader(path)
    try:
        configuration = await load()
        client = rest.RESTClientObject(configuration)
    except (kubeconfig.ConfigException, OSError, ValueError, TypeError) as error:
        raise ApiError(0, "NotConfigured", f"no usable configuration for a cluster: {error}") from error
    except yaml.YAMLError:  # its words quote the file, which may hold a token
        raise ApiError(0, "NotConfigured", "no usable configuration for a cluster: not YAML") from None

    async def token() -> str | None:
        try:
            value: str | None = (await load()).api_key.get("BearerToken")
        except (kubeconfig.ConfigException, OSError, ValueError, TypeError, yaml.YAMLError):
            log.warning("cannot read the credentials for the API server; using the last known ones")
            return None
        return value

    authorization = Authorization(token, configuration.api_key.get("BearerToken"))
    proxy = configuration.proxy or proxy_for(configuration.host, os.environ)

    async def login() -> dict[str, Any]:
        # Whoever asks has none yet, or was refused with those of before.
        scheme, _, token = (await authorization(True) or "").partition(" ")
        return {
            "server": configuration.host.rstrip("/"),
            "ca_path": configuration.ssl_ca_cert,
            "insecure": not configuration.verify_ssl,
            "certificate_path": configuration.cert_file,
            "private_key_path": configuration.key_file,
            "scheme": scheme or None,
            "token": token or None,
            "proxy_url": proxy,
            "expiration": datetime.now(UTC) + timedelta(seconds=TOKEN_SECONDS * 10) if token else None,
        }

    return Endpoint(
        configuration.host.rstrip("/"),
        authorization,
        login,
        client.ssl_context if configuration.host.startswith("https") else None,
        configuration.tls_server_name,
        proxy,
    )


def _loader(path: str | None) -> Callable[[], Awaitable[Configuration]]:
    path = path or os.environ.get("KUBECONFIG")
    if path is None and "KUBERNETES_SERVICE_HOST" not in os.environ:
        path = str(Path.home() / ".kube" / "config")

    if path is not None and not any(Path(p).expanduser().exists() for p in path.split(os.pathsep)):
        raise ApiError(0, "NotConfigured", f"there is no kubeconfig at {path}")

    async def load() -> Configuration:
        configuration = Configuration()
        if path is None:
            kubeconfig.load_incluster_config(configuration, try_refresh_token=False)  # type: ignore[no-untyped-call]
        else:
            await kubeconfig.load_kube_config(  # type: ignore[no-untyped-call]
                path, client_configuration=configuration, persist_config=False
            )
        return configuration

    return load
