"""The identity that a Sync acts as (pure)."""

from __future__ import annotations

from setpoint.api.reasons import Problem, Reason
from setpoint.api.resources import Sync
from setpoint.objects.identity import SyncKey
from setpoint.settings import Settings


def user_of(key: SyncKey, sync: Sync, settings: Settings) -> str:
    """Return the user name of the ServiceAccount that a Sync acts as. Raises Problem if it has none."""
    name = sync.spec.service_account_name
    if name:
        return f"system:serviceaccount:{key.namespace}:{name}"
    if key.namespace in settings.admin_namespaces:
        return f"system:serviceaccount:{settings.namespace}:{settings.admin_service_account}"
    text = f"set spec.serviceAccountName: namespace {key.namespace} is not an admin namespace"
    raise Problem(Reason.ServiceAccountRequired, text)
