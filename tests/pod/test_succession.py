"""Pods that come and go: a leader that is killed, an upgrade while commits arrive, an uninstall. Nothing is lost."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from tests.e2e.conftest import World, config
from tests.e2e.test_sync import ready_at
from tests.kit import pods
from tests.kit.api import Json, is_ready
from tests.kit.ci import ONLY_IN_CI
from tests.kit.cluster.operator import SYSTEM
from tests.pod.conftest import TAKEOVER, Site, web

pytestmark = [pytest.mark.cluster, pytest.mark.node, ONLY_IN_CI]
NAMES = [f"c{number}" for number in range(6)]
WAIT = "--timeout=120s"
MORE = 4  # commits after an upgrade
SECONDS = 120


class Committer:
    """Commits to one ConfigMap after another, each as soon as the one before is in the cluster."""

    def __init__(self, world: World) -> None:
        self._world, self._stop = world, threading.Event()
        self.count = 0
        self.expected = dict.fromkeys(NAMES, "0")
        self.sha = ""

    def commit(self) -> None:
        """Commit the next change, and wait for it."""
        name = NAMES[self.count % len(NAMES)]
        self.count += 1
        value = self.expected[name] = str(self.count)
        self.sha = self._world.repo.commit({f"{name}.yaml": config(name, k=value)}, f"Number {value}")
        self._world.until("ConfigMap", name, lambda o: o and o["data"] == {"k": value}, seconds=SECONDS)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Commit in a thread until the block ends, and MORE times after that."""
        with ThreadPoolExecutor(1, "committer") as thread:
            work = thread.submit(self._run)
            try:
                yield
            finally:
                self._stop.set()
                work.result()
        for _ in range(MORE):
            self.commit()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.commit()


@pytest.fixture
def busy(world: World) -> World:
    """A World whose Sync holds some ConfigMaps, once an operator runs."""
    files = {f"{name}.yaml": config(name, k="0") for name in NAMES}
    world.repo.commit(files, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", is_ready, seconds=TAKEOVER)
    return world


def uids(world: World) -> dict[str, str]:
    return {name: world.get("ConfigMap", name)["metadata"]["uid"] for name in NAMES}


def values(world: World) -> dict[str, str]:
    return {name: world.get("ConfigMap", name)["data"]["k"] for name in NAMES}


def lease(site: Site) -> Json:
    found = json.loads(site.cluster.kubectl("get", "lease", "setpoint", "-n", SYSTEM, "-o", "json"))
    spec: Json = found["spec"]
    return spec


def leads(pod: Json, site: Site) -> bool:
    return str(lease(site)["holderIdentity"]).startswith(f"{pod['metadata']['name']}-")


def goes(pod: Json | None) -> bool:
    return pod is None or "deletionTimestamp" in pod["metadata"]


def waits(pod: Json | None) -> str:
    """Return why the container of a pod waits."""
    reason: str = (pods.status(pod).get("state") or {}).get("waiting", {}).get("reason", "")
    return reason


@pytest.fixture(scope="module", autouse=True)
def two(site: Site) -> None:
    """Two operators: one works, one waits."""
    site.install("--set=replicaCount=2", "--wait", WAIT)


def test_another_takes_over_from_a_leader_that_was_killed(site: Site, busy: World) -> None:
    first = uids(busy)
    (leader,) = [p for p in pods.operators(site.api) if leads(p, site)]
    before = lease(site)
    pods.send(site.cluster, leader, signal.SIGKILL)
    sha = busy.repo.commit({"c0.yaml": config("c0", k="1"), "new.yaml": config("new", k="1")}, "Meanwhile")
    busy.api.delete("ConfigMap", busy.target, "c1")
    busy.until("Sync", "app", ready_at(sha), seconds=TAKEOVER)
    busy.until("ConfigMap", "c1", lambda o: o and o["data"] == {"k": "0"})
    # The standby, or the killed one: the kubelet starts that again at once, and nothing prefers the other.
    after = lease(site)
    assert after["holderIdentity"] != before["holderIdentity"]
    assert after["leaseTransitions"] == before["leaseTransitions"] + 1
    assert busy.get("ConfigMap", "new")["data"] == {"k": "1"}
    second = uids(busy)
    assert [name for name in NAMES if first[name] != second[name]] == ["c1"]
    again = site.api.until(
        "Pod",
        SYSTEM,
        leader["metadata"]["name"],
        lambda o: bool(o and pods.status(o)["ready"] and pods.restarts([o]) != [0]),
    )
    assert pods.restarts([again]) == [1]
    assert lease(site)["holderIdentity"] == after["holderIdentity"]


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [1, 2])
def test_an_upgrade_while_commits_arrive_loses_nothing(site: Site, busy: World, replicas: int) -> None:
    count, tags = f"--set=replicaCount={replicas}", ("0.1.0", "next")
    site.cluster.node.ctr("images", "tag", "--force", *(f"docker.io/library/setpoint:{tag}" for tag in tags))
    site.install(count, "--wait", WAIT)
    pods.rolled_out(site.cluster)
    first, old = uids(busy), {p["metadata"]["name"] for p in pods.operators(site.api)}
    load = Committer(busy)
    with load.working():
        site.install(count, "--set=image.tag=next,logLevel=debug", "--wait", WAIT)
    print(f"\n{load.count} commits, {MORE} of them after the upgrade")
    busy.until("Sync", "app", ready_at(load.sha))
    assert values(busy) == load.expected
    assert uids(busy) == first
    status = busy.status()
    assert status["summary"]["corrected"] == 0, status.get("driftLog")
    pods.rolled_out(site.cluster)
    now = pods.operators(site.api)
    assert {p["spec"]["containers"][0]["image"] for p in now} == {"setpoint:next"}
    assert old.isdisjoint(p["metadata"]["name"] for p in now)
    assert pods.restarts(now) == [0] * replicas


def test_an_upgrade_to_an_image_that_nobody_has_ends_nothing(site: Site, busy: World) -> None:
    old = {p["metadata"]["name"] for p in pods.operators(site.api)}
    leader = lease(site)["holderIdentity"]
    site.install("--set=replicaCount=2,image.repository=registry.invalid/setpoint")
    one = "--for=jsonpath={.status.unavailableReplicas}=1"
    site.cluster.kubectl("wait", one, "--timeout=60s", pods.DEPLOYMENT, "--namespace", SYSTEM)
    (new,) = {p["metadata"]["name"] for p in pods.operators(site.api)} - old
    site.api.until("Pod", SYSTEM, new, lambda o: "Image" in waits(o))
    sha = busy.repo.commit({"c0.yaml": config("c0", k="1")}, "Meanwhile")
    busy.until("Sync", "app", ready_at(sha))
    assert lease(site)["holderIdentity"] == leader
    site.helm.ok("rollback", "setpoint", "--namespace", SYSTEM, "--wait", WAIT)
    site.api.until("Pod", SYSTEM, new, lambda o: o is None)
    assert {p["metadata"]["name"] for p in pods.operators(site.api)} == old
    assert lease(site)["holderIdentity"] == leader


def test_an_uninstall_leaves_every_object_and_a_new_install_takes_over(site: Site, world: World) -> None:
    sha = world.repo.commit({"web.yaml": web("1"), "a.yaml": config("a", k="1")}, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    kinds = "deployments,configmaps,pods,syncs.setpoint.dev,sources.setpoint.dev"

    def there() -> list[str]:
        output = "--output=jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.uid}{'\\n'}{end}"
        found = [
            site.cluster.kubectl("get", kinds, "--namespace", n, output)
            for n in (world.namespace, world.target)
        ]
        return sorted("".join(found).splitlines())

    before, old = there(), pods.operators(site.api)
    assert {line.split()[0] for line in before} == {"Deployment", "ConfigMap", "Pod", "Sync", "Source"}
    site.helm.ok("uninstall", "setpoint", "--namespace", SYSTEM, "--wait", "--timeout=60s")
    for pod in old:  # Helm waits for the Deployment alone: its pods go after it
        site.api.until("Pod", SYSTEM, pod["metadata"]["name"], goes)
    assert pods.operators(site.api) == []
    assert there() == before
    site.install("--wait", WAIT)
    sha = world.repo.commit({"a.yaml": config("a", k="2")}, "After a while without an operator")
    world.until("Sync", "app", ready_at(sha), seconds=TAKEOVER)
    assert there() == before
