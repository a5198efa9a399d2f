"""What people install for real becomes ready, is quiet, and goes without a trace.

Gatekeeper, cert-manager, podinfo, Knative Eventing, Cluster API and Istio are installed at the same time, in three clusters,
so that they wait together. Pods are played by kwok, and so the programs inside never run: what they would write, these
tests write for them (`realplays` says what).
"""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests.e2e.conftest import OperatorProcess, World
from tests.e2e.realcontent import CLUSTERS, AbsentError, Content
from tests.e2e.realplays import nothing
from tests.e2e.test_quiet import is_lease, told
from tests.e2e.test_sync import ready_at
from tests.kit.api import Api, Json, condition, is_ready, says
from tests.kit.chart import install
from tests.kit.cluster.local import LocalCluster
from tests.kit.cluster.operator import SYSTEM
from tests.kit.cluster.processes import interrupt_on_sigterm
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.apirules import Request
from tests.kit.servers.githttp import GitHttp

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

RENEWALS = 4
SECONDS = 180.0
NOT_READY = """
- target: {kind: Deployment}
  patch: |
    - op: add
      path: /spec/template/metadata/annotations
      value: {tests.setpoint.dev/fate: pending}
"""


class Site:
    """One cluster, one operator, and what is installed there."""

    def __init__(self, folder: Path, contents: Sequence[Content], stack: ExitStack) -> None:
        self.cluster = stack.enter_context(LocalCluster(kwok=True))
        install(self.cluster)
        git = stack.enter_context(GitHttp(folder / "git"))
        self.proxy = stack.enter_context(ApiProxy(self.cluster))
        self.api = Api(self.cluster)
        token = self.cluster.service_account_token(SYSTEM, "setpoint")
        self.operator = OperatorProcess(self.proxy.kubeconfig(token), folder)
        self.places = [Place(each, World(self.cluster, self.api, git)) for each in contents]
        self.operator.start()
        stack.callback(lambda: self.operator.process and self.operator.stop(signal.SIGKILL))

    def renewed(self) -> datetime:
        """Return the time that the operator wrote into its lease."""
        args = ("get", "lease", "setpoint", "-n", SYSTEM, "-o", "jsonpath={.spec.renewTime}")
        return datetime.fromisoformat(self.cluster.kubectl(*args))

    def objects(self) -> list[str]:
        """Return what exists under our label, of any kind that is served."""
        kinds = self.cluster.kubectl("api-resources", "--verbs=list", "-o", "name").split()
        args = ("get", ",".join(kinds), "-A", "-l", "setpoint.dev/sync", "-o", "name")
        return self.cluster.kubectl(*args).split()


class Place:
    """One content and its Sync."""

    def __init__(self, content: Content, world: World) -> None:
        self.content, self.world = content, world
        for obj in content.before:
            world.api.create(obj["kind"], None, obj)

    def commit(self, **more: str | None) -> str:
        """Commit the content with more files (or fewer) beside it."""
        return self.world.repo.commit({**self.content.files(), **more}, "Content")

    def sync(self) -> None:
        """Make the Source and the Sync; harmless when they are there."""
        self.world.source(interval="1h")
        spec: Json = {"source": {"name": "src"}, "serviceAccountName": "deployer"}
        spec["ignore"] = list(self.content.ignore)
        if self.content.namespace:
            spec |= {"targetNamespace": self.content.namespace, "createNamespace": True}
        body = {"apiVersion": "setpoint.dev/v1alpha1", "kind": "Sync", "metadata": {"name": "app"}}
        self.world.apply({**body, "spec": spec})

    def bundles(self) -> list[str]:
        """Return the bundle of each of its webhooks; empty where there is none."""
        names = self.content.webhooks
        made = json.loads(self.world.cluster.kubectl("get", *names, "-o", "json"))
        found = made["items"] if made["kind"] == "List" else [made]
        return [hook["clientConfig"].get("caBundle", "") for each in found for hook in each["webhooks"]]

    def webhooks(self) -> int:
        """Return how many of its webhooks exist."""
        names = self.content.webhooks
        found = names and self.world.cluster.kubectl("get", *names, "--ignore-not-found", "-o", "name")
        return len(found.split()) if found else 0


def installed(places: Sequence[Place]) -> list[Json]:
    """Bring all contents to Ready, if they are not, with what is played for them; returns the Syncs."""
    shas = [place.world.repo.find("refs/heads/main") or place.commit() for place in places]
    for place, sha in zip(places, shas, strict=True):
        place.sync()
        place.world.ask("Source", "src", sha)
    for place in places:
        place.content.play(place.world)
    for place, sha in zip(places, shas, strict=True):
        place.world.until("Sync", "app", ready_at(sha), seconds=SECONDS)
        place.world.ask("Sync", "app", f"seen-{sha}")  # a run that came after what was played
    checked = [
        lambda o, sha=sha: o and o["status"].get("requested") == f"seen-{sha}" and is_ready(o) for sha in shas
    ]
    return [p.world.until("Sync", "app", fits) for p, fits in zip(places, checked, strict=True)]


def renewals(sites: Sequence[Site], count: int = RENEWALS) -> None:
    """Wait until every lease was renewed so many times from now on."""
    wanted = [len(site.proxy.select(_renews)) + count for site in sites]
    for site, number in zip(sites, wanted, strict=True):
        site.proxy.wait_for(_renews, number, SECONDS)


def versions(syncs: Sequence[Json]) -> list[str]:
    """Return what changes with every write of a Sync."""
    return [sync["metadata"]["resourceVersion"] for sync in syncs]


def _renews(request: Request) -> bool:
    return is_lease(request) and request.method in {"PUT", "PATCH"}


def _available(contents: Sequence[Content], absent: list[str]) -> list[Content]:
    found = []
    for content in contents:
        try:
            content.files()
        except AbsentError as error:
            absent.append(str(error))
        else:
            found.append(content)
    return found


@pytest.fixture(scope="module")
def absent() -> list[str]:
    """What could not be had, filled in by `sites`."""
    return []


@pytest.fixture(scope="module")
def sites(absent: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Site]]:
    groups = [found for contents in CLUSTERS if (found := _available(contents, absent))]
    if not groups:
        pytest.skip("; ".join(absent))
    interrupt_on_sigterm()
    folders = [tmp_path_factory.mktemp(group[0].name) for group in groups]
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        stacks = [stack.enter_context(ExitStack()) for _ in groups]
        yield list(pool.map(Site, folders, groups, stacks))


@pytest.fixture(scope="module")
def places(sites: list[Site]) -> list[Place]:
    return [place for site in sites for place in site.places]


def test_webhooks_wait_for_what_serves_them(places: list[Place]) -> None:
    with_webhooks = [place for place in places if place.content.webhooks]
    for place in with_webhooks:
        names = json.dumps([*place.content.files()])
        pending = place.commit(**{"kustomization.yaml": f"resources: {names}\npatches: {NOT_READY}"})
        place.sync()
        place.world.ask("Source", "src", pending)
    for place in with_webhooks:
        sync = place.world.until("Sync", "app", says("Waiting", "Deployment"), seconds=SECONDS)
        assert "WebhookConfiguration" in condition(sync)["message"]
        assert place.webhooks() == 0
        place.commit(**{"kustomization.yaml": None})
    installed(places)
    for place in with_webhooks:
        assert place.webhooks() == len(place.content.webhooks)


def test_they_become_ready_without_drift(places: list[Place]) -> None:
    for place, sync in zip(places, installed(places), strict=True):
        total = place.content.objects
        assert condition(sync)["message"] == f"{total}/{total} healthy", place.content.name
        expected = {"objects": total, "synced": total, "healthy": total, "drifted": 0, "corrected": 0}
        assert sync["status"]["summary"] == expected
        assert not sync["status"].get("differences")
        assert not sync["status"].get("driftLog")
        assert place.webhooks() == len(place.content.webhooks)
        if place.content.play is not nothing:
            assert all(place.bundles()), place.content.name


def test_idle_they_ask_for_nothing(sites: list[Site], places: list[Place]) -> None:
    before = installed(places)
    for place in places:
        place.world.announced("Applied")
    renewals(sites, 2)  # the first may have been due, and come before the last of the Events
    for site in sites:
        site.proxy.clear()
    began = [site.renewed() for site in sites]
    for site, start in zip(sites, began, strict=True):
        while site.renewed() - start < timedelta(minutes=1):
            renewals([site], 1)
    assert [told(site.proxy) for site in sites] == [[] for _ in sites]
    after = [place.world.until("Sync", "app", is_ready) for place in places]
    assert versions(after) == versions(before)


def test_a_restart_writes_nothing_but_the_lease(sites: list[Site], places: list[Place]) -> None:
    before = installed(places)
    for site in sites:
        site.operator.stop(signal.SIGTERM)
        site.proxy.clear()
        site.operator.start()
    for site in sites:
        site.proxy.wait_for(lambda r: r.is_watch and "/deployments" in r.path, 1, SECONDS)
    renewals(sites)
    sent = [
        (r.method, r.path, r.query)
        for site in sites
        for r in site.proxy.requests
        if r.method != "GET" and not is_lease(r)
    ]
    assert sent == []
    after = [place.world.until("Sync", "app", is_ready) for place in places]
    assert versions(after) == versions(before)


def test_they_go_completely_with_their_syncs(sites: list[Site], places: list[Place]) -> None:
    installed(places)
    assert all(site.objects() for site in sites)
    for place in places:
        place.world.api.delete("Sync", place.world.namespace, "app")
    for place in places:
        place.world.until("Sync", "app", lambda o: o is None, seconds=SECONDS)
    assert [site.objects() for site in sites] == [[] for _ in sites]


def test_everything_could_be_had(sites: list[Site], absent: list[str]) -> None:
    assert sites
    if absent:
        pytest.skip("; ".join(absent))
