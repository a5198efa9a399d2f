"""Reads what a Source logs in with (shell)."""

from __future__ import annotations

import base64

from setpoint.api.reasons import Problem, Reason
from setpoint.api.resources import Source
from setpoint.git.credentials import NO_CREDENTIALS, Credentials, credentials_from_secret
from setpoint.git.remotes import Remote
from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError
from setpoint.objects.identity import SyncKey


async def read_credentials(cluster: Cluster, key: SyncKey, source: Source, remote: Remote) -> Credentials:
    """Return the credentials that a Source's Secret holds. Raises Problem."""
    ref = source.spec.secret_ref
    if ref is None:
        return NO_CREDENTIALS
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
    return credentials_from_secret(remote, values)
