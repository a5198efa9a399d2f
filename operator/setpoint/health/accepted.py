"""What holds no wave until it is healthy, only until the API server has accepted it (data, and the rule that reads it).

Such objects wait for what uses them or serves them, which may well stand in a later wave: to wait for them first would
be to wait in a circle. No workload needs them to be healthy before it can start.
"""

from __future__ import annotations

from setpoint.health.verdict import Health, Verdict

_KINDS = {
    # The address of a load balancer; all other Services are healthy as soon as they exist.
    "": "Service",
    # Autoscalers and budgets look for the workload that they are about.
    "autoscaling": "HorizontalPodAutoscaler",
    "autoscaling.k8s.io": "VerticalPodAutoscaler",
    "keda.sh": "ScaledObject",
    "policy": "PodDisruptionBudget",
    # Ways in are programmed by a controller, and look for the Services behind them.
    "networking.k8s.io": "Ingress",
    "extensions": "Ingress",
    "route.openshift.io": "Route",
    "projectcontour.io": "HTTPProxy",
    "networking.istio.io": "Gateway VirtualService",
    "gateway.solo.io": "Gateway VirtualService RouteTable",
    "traefik.io": "IngressRoute IngressRouteTCP IngressRouteUDP",
}
_GROUPS = frozenset({"gateway.networking.k8s.io", "gateway.networking.x-k8s.io"})
"""Groups that are made of Gateways, routes and policies for them."""

ACCEPTED = frozenset((group, kind) for group, kinds in _KINDS.items() for kind in kinds.split())


def accepted_is_enough(group: str, kind: str) -> bool:
    """Return whether objects of a kind hold no wave once the API server has accepted them."""
    return (group, kind) in ACCEPTED or group in _GROUPS


def holds(group: str, kind: str, verdict: Verdict, *, deleting: bool, late: bool | None = False) -> bool:
    """Return whether an object that is there holds the waves after its own.

    `late`: whether it is a claim that is bound at its first consumer; None if nobody knows, and then it holds nothing
    either: the scheduler itself starts no Pod before its claims are bound, so nothing is lost, and no circle is made.
    """
    if verdict.health in (Health.Healthy, Health.Suspended):
        return False
    if deleting:
        return True
    return not accepted_is_enough(group, kind) and late is False
