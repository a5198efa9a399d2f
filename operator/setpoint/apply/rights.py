"""Asks the API server which objects an identity may write: in general, and by a dry run of each (shell)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Final

from setpoint.api.reasons import Problem, Reason
from setpoint.kube.client import Cluster
from setpoint.kube.errors import ApiError, classify
from setpoint.kube.explain import problem_of
from setpoint.objects.identity import ObjectId
from setpoint.objects.kinds import Kind
from setpoint.plan.desired import Ref

API: Final = "authorization.k8s.io/v1"
REVIEW: Final = "SelfSubjectAccessReview"
RULES: Final = "SelfSubjectRulesReview"
AT_ONCE: Final = 8
VERB: Final = "patch"
ANY_NAMESPACE: Final = "default"
"""Rules are asked for in a namespace; those of the whole cluster are among the answers for any."""


async def writable(cluster: Cluster, user: str, objects: Iterable[ObjectId]) -> frozenset[ObjectId]:
    """Return the objects that `user` may write, and those for which the API server gives no answer.

    Asked as that user, which everybody may: once for all objects of a kind in a namespace. Where that is refused, a
    role may still name single objects: the rules are asked for once in a namespace, and then those alone that they
    name; all only where the API server does not know all rules, as another authorizer decides, too.
    """
    return await _Questions(cluster, user).answer(objects)


async def forbidden(cluster: Cluster, user: str, refs: Iterable[Ref]) -> Mapping[ObjectId, Problem | None]:
    """Return of objects that exist which `user` may not patch, and of which nobody says (ApiUnavailable); None for the others.

    Each is asked for by the dry run of a patch without operations: it depends on no manifest, and tells of no object.
    """
    limit = asyncio.Semaphore(AT_ONCE)

    async def tried(ref: Ref) -> Problem | None:
        # Any version will do, and one that is not served must not pass for a right.
        kind = cluster.kind(ref.api_version, ref.id.kind) or cluster.kind_of_group(ref.id.group, ref.id.kind)
        if kind is None:
            return None
        async with limit:
            try:
                await cluster.patch(kind, ref.id.namespace, ref.id.name, (), user=user, dry_run=True)
            except ApiError as error:
                if classify(error) in (Reason.Forbidden, Reason.ApiUnavailable):
                    problem = problem_of(error, ref.id, "apply")
                    return Problem(problem.reason, f"{ref.where}: {problem.message}", problem.retry)
        return None

    asked = list(refs)
    said = await asyncio.gather(*map(tried, asked))
    return {ref.id: problem for ref, problem in zip(asked, said, strict=True)}


class _Questions:
    """What is asked about one user, a few questions at once."""

    def __init__(self, cluster: Cluster, user: str) -> None:
        self._cluster, self._user = cluster, user
        self._limit = asyncio.Semaphore(AT_ONCE)

    async def answer(self, objects: Iterable[ObjectId]) -> frozenset[ObjectId]:
        places: dict[tuple[Kind, str], list[ObjectId]] = {}
        found: set[ObjectId] = set()
        for oid in objects:
            if kind := self._cluster.kind_of_group(oid.group, oid.kind):
                places.setdefault((kind, oid.namespace), []).append(oid)
            else:
                found.add(oid)
        whole = await asyncio.gather(*(self._may(kind, namespace, "") for kind, namespace in places))
        refused = [place for place, may in zip(places, whole, strict=True) if not may]
        found.update(o for place, may in zip(places, whole, strict=True) if may for o in places[place])
        spaces = list(dict.fromkeys(namespace for _, namespace in refused))
        rules = dict(zip(spaces, await asyncio.gather(*map(self._rules, spaces)), strict=True))
        single = [(k, o) for k, ns in refused for o in places[k, ns] if _named(rules[ns], k, o.name)]
        allowed = await asyncio.gather(*(self._may(kind, o.namespace, o.name) for kind, o in single))
        found.update(oid for (_, oid), may in zip(single, allowed, strict=True) if may)
        return frozenset(found)

    async def _may(self, kind: Kind, namespace: str, name: str) -> bool:
        """Return whether an object, or without a name any of its kind, may be written; also if nobody says."""
        attributes = {"group": kind.group, "resource": kind.plural, "verb": VERB}
        attributes |= {"namespace": namespace} if namespace else {}
        attributes |= {"name": name} if name else {}
        said = await self._ask(REVIEW, {"resourceAttributes": attributes})
        return said is None or bool(said.get("allowed") or said.get("evaluationError"))

    async def _rules(self, namespace: str) -> list[Mapping[str, Any]] | None:
        """Return all rules of the user in a namespace; None if not all are known."""
        said = await self._ask(RULES, {"namespace": namespace or ANY_NAMESPACE})
        if said is None or said.get("incomplete") or said.get("evaluationError"):
            return None
        return said.get("resourceRules") or []

    async def _ask(self, review: str, spec: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Return what the API server answers the user; None if it does not."""
        if (kind := self._cluster.kind(API, review)) is None:
            return None
        question = {"apiVersion": API, "kind": review, "metadata": {}, "spec": spec}
        async with self._limit:
            try:
                answer = await self._cluster.create(kind, question, user=self._user)
            except ApiError:
                return None
        return answer.get("status") or {}


def _named(rules: list[Mapping[str, Any]] | None, kind: Kind, name: str) -> bool:
    """Return whether a rule may let this one object be written by its name."""
    return rules is None or any(
        name in (rule.get("resourceNames") or ())
        and _holds(rule.get("verbs"), VERB)
        and _holds(rule.get("apiGroups"), kind.group)
        and _holds(rule.get("resources"), kind.plural)
        for rule in rules
    )


def _holds(words: Iterable[str] | None, word: str) -> bool:
    return not {"*", word}.isdisjoint(words or ())
