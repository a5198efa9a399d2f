"""Reads what a Source logs in with (shell)."""

from __future__ import annotations

import base64
from dataclasses import asdict

from setpoint.api.reasons import Problem, Reason
from setpoint.api.resources import Source
from setpoint.git.credentials import credentials_from_secret
from setpoint.git.remotes import parse_url
from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError
from setpoint.objects.identity import SyncKey
from setpoint.wall.messages import Login


async def read_login(cluster: Cluster, key: SyncKey, source: Source, *, allow_file: bool) -> Login:
    """Return what a Source's Secret holds, if it has one. Raises Problem, also for a URL that cannot be used.

    `allow_file`: whether the URL may be that of a local folder.
    """
    remote = parse_url(source.spec.url, allow_file=allow_file)
    ref = source.spec.secret_ref
    if ref is None:
        return Login()
    kind = cluster.kind("v1", "Secret")
    if kind is None:
        raise Problem(Reason.ApiUnavailable, "the API server does not serve Secrets")
    try:
        secret = await cluster.get(kind, key.namespace, ref.name)
    except ApiError as error:
        if error.status != 403:
            raise Problem(
                Reason.ApiUnavailable, f"Secret {ref.name} cannot be read now", retry=True
            ) from None
        raise Problem(Reason.SecretNotFound, f"Secret {ref.name} may not be read by Setpoint") from None
    if secret is None:
        raise Problem(Reason.SecretNotFound, f"Secret {ref.name} does not exist in namespace {key.namespace}")
    values = {k: base64.b64decode(v) for k, v in (secret.get("data") or {}).items()}
    return Login(**asdict(credentials_from_secret(remote, values)))
