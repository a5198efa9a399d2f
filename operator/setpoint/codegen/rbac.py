"""The rights of the operator's own account: one table for the chart's rules and their docs (pure).

The account has no right to write a managed object: for that it impersonates the ServiceAccount of the Sync. So a
Sync can do what its ServiceAccount can. Granted in the whole cluster, impersonation makes the account as powerful as
the most powerful ServiceAccount; `rbac.impersonate: namespaced` leaves that to the owners of the namespaces.
"""

from __future__ import annotations

from dataclasses import dataclass

from setpoint.api import names

Words = tuple[str, ...]
READ: Words = ("get", "list", "watch")
WRITE: Words = ("patch",)


@dataclass(frozen=True)
class Rule:
    """A PolicyRule of RBAC, and why it is needed. `only` restricts it to objects of these names."""

    groups: Words
    resources: Words
    verbs: Words
    why: str
    only: Words = ()


@dataclass(frozen=True)
class Role:
    """Rules that are granted together. `name` is what the chart's templates call them."""

    name: str
    where: str
    rules: tuple[Rule, ...]


CLUSTER = Role(
    "cluster",
    "in the whole cluster, always",
    (
        Rule(
            ("",),
            ("namespaces",),
            READ,
            "The uid of kube-system identifies the cluster; it also distinguishes a missing or terminating namespace from other errors.",
        ),
        Rule(
            ("apiextensions.k8s.io",),
            ("customresourcedefinitions",),
            READ,
            "A new kind is waited for until it is established; a Sync whose own CRD is going away is orphaned, never pruned.",
        ),
        Rule(
            ("storage.k8s.io",),
            ("storageclasses",),
            ("list", "watch"),
            "Whether a claim is bound only when a Pod mounts it: then no wave waits for it. Watched while a claim is not bound.",
        ),
        Rule(
            ("authentication.k8s.io",),
            (f"userextras/{names.OPERATOR_EXTRA}",),
            ("impersonate",),
            "Proves to the attribution policy, and to readers of audit logs, that a request is Setpoint's. It grants nothing else. Give it to nobody else.",
        ),
    ),
)

OWN = Role(
    "own",
    "in the whole cluster, or in `rbac.namespaces` alone",
    (
        Rule(
            (names.GROUP,),
            ("sources", "syncs"),
            (*READ, *WRITE),
            "What the operator works for; it writes their finalizer only.",
        ),
        Rule(
            (names.GROUP,), ("sources/status", "syncs/status"), WRITE, "The record of desired versus actual."
        ),
        Rule(("",), ("events",), ("create", "patch"), "Events on Sources and Syncs."),
        Rule(("",), ("secrets",), ("get",), "Credentials that a Source names in `secretRef`."),
        Rule(
            ("",),
            ("serviceaccounts",),
            ("get",),
            "Distinguishes a ServiceAccount that does not exist from one without rights.",
        ),
    ),
)

WATCH = Role(
    "watch",
    "where the role above is granted, unless `rbac.watch` narrows it",
    (
        Rule(
            ("*",),
            ("*",),
            ("list", "watch"),
            "Drift is seen by watching objects with our label. It lets the operator's account read every object, Secrets too: RBAC cannot tell labels apart.",
        ),
    ),
)

IMPERSONATE = Role(
    "impersonate",
    "in the whole cluster, or with `rbac.impersonate: namespaced` in namespaces alone",
    (
        Rule(
            ("",),
            ("serviceaccounts",),
            ("impersonate",),
            "Every write, and every read of a managed object, is done as the ServiceAccount of the Sync.",
        ),
    ),
)

# The names are those that the chart gives; the templates know them by these words.
LEASE, KEY_SECRET, ADMIN = "setpoint.fullname", "setpoint.redactionKeyName", "setpoint.adminName"

RELEASE = Role(
    "release",
    "in the release namespace",
    (
        Rule(
            ("coordination.k8s.io",),
            ("leases",),
            ("create",),
            "Leader election; RBAC cannot restrict the creation to a name.",
        ),
        Rule(
            ("coordination.k8s.io",),
            ("leases",),
            ("get", "watch", *WRITE),
            "Leader election: waiting processes watch the lease, so that a released one passes on at once.",
            (LEASE,),
        ),
        Rule(
            ("",), ("secrets",), ("get",), "The key that turns values of Secrets into hashes.", (KEY_SECRET,)
        ),
        Rule(
            ("",),
            ("serviceaccounts",),
            ("get", "impersonate"),
            "Syncs without `serviceAccountName` in the admin namespaces act as this account.",
            (ADMIN,),
        ),
    ),
)

ROLES = (CLUSTER, OWN, WATCH, IMPERSONATE, RELEASE)


def template(role: Role) -> str:
    """Return the rules of a role as a named Helm template `setpoint.rules.<name>`, each with its reason."""
    rules = "".join(_rule(rule) for rule in role.rules)
    return f'{{{{- define "setpoint.rules.{role.name}" -}}}}\n{rules}{{{{- end }}}}\n'


def _rule(rule: Rule) -> str:
    lines = [
        f"# {rule.why}",
        f"- apiGroups: {_list(rule.groups)}",
        f"  resources: {_list(rule.resources)}",
        *([f"  resourceNames: [{', '.join(map(_include, rule.only))}]"] if rule.only else []),
        f"  verbs: {_list(rule.verbs)}",
    ]
    return "\n".join(lines) + "\n"


def _list(words: Words) -> str:
    return "[" + ", ".join(f'"{word}"' for word in words) + "]"


def _include(name: str) -> str:
    return f'{{{{ include "{name}" . | quote }}}}'
