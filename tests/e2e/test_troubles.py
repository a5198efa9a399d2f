"""What users of such tools reported: the folders of reported troubles as they are, each with a Sync of its own.

All begin together; then each test pushes the further commits of its folder. `expected.md` of a folder says what is right.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.conftest import World, config
from tests.e2e.test_in_use import at, kept, runs
from tests.e2e.test_sync import ready_at
from tests.e2e.test_unions import anew
from tests.git.test_optional import SHALLOW, sha256
from tests.kit.api import Api, Json, condition, is_ready, says
from tests.kit.cluster.base import Cluster
from tests.kit.cluster.fixtures import as_node
from tests.kit.cluster.processes import until
from tests.kit.pods import UnderTest
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.githttp import GitHttp

TROUBLES = Path(__file__).parents[3] / "shared" / "data" / "troubles"

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not TROUBLES.exists(), reason="the reported troubles are not on this machine"),
]

FOLDERS = {
    "01": "01-strategy-recreate",
    "02": "02-aggregated-clusterrole",
    "04": "04-pvc-waits-for-consumer",
    "05": "05-generated-config-and-rollout",
    "07": "07-adopt-then-remove",
    "08": "08-ignored-by-index",
    "09": "09-conversion-webhook-down",
    "11a": "11-lfs-pointers/a-manifest",
    "11b": "11-lfs-pointers/b-generated",
    "14": "14-immutable-in-other-words",
    "16": "16-secret-spellings",
    "17": "17-status-without-subresource",
    "19": "19-crd-loses-stored-version",
    "22": "22-prune-held-by-finalizer",
    "24": "24-wanted-object-that-cannot-go",
}
"""Those with commits. 12 and 18 are about servers, 27 has two Syncs: they are made by their tests."""
GROUP = "bugs.example.org"


class Trouble(World):
    """A World whose repository has the commits of one folder."""

    def __init__(self, cluster: Cluster, api: Api, git: GitHttp, folder: str) -> None:
        super().__init__(cluster, api, git)
        self.folder = TROUBLES / folder
        self.shas: dict[int, str] = {}
        self._paths: set[str] = set()

    def texts(self, stage: str) -> dict[str, str]:
        """Return the files of a stage by their paths."""
        root = self.folder / stage
        return {str(p.relative_to(root)): p.read_text() for p in root.rglob("*") if p.is_file()}

    def push(self, number: int) -> str:
        """Commit the files of one stage, and no others."""
        files = self.texts(f"commit-{number}")
        gone = dict.fromkeys(self._paths - files.keys())
        self.shas[number] = sha = self.repo.commit({**gone, **files}, f"Commit {number}")
        self._paths = {*files}
        if number > 1:
            self.ask("Source", "src", sha)
        return sha

    def begin(self) -> None:
        """Make what was there before, and a Sync of the first commit."""
        for text in self.texts("before").values():
            self.cluster.kubectl("apply", "-n", self.target, "-f", "-", input=text)
        rules = self.folder / "sync.yaml"
        self.push(1)
        self.source(interval="1h")
        self.sync(interval="1h", **(yaml.safe_load(rules.read_text()) if rules.exists() else {}))

    def applied(self, number: int) -> Json:
        """Wait until a commit is applied, healthy or not."""
        return self.until("Sync", "app", at(self.shas[number]))

    def ready(self, number: int) -> Json:
        return self.until("Sync", "app", ready_at(self.shas[number]))

    def checked(self, value: str = "again") -> Json:
        """Return the Sync after one more check of everything."""
        self.ask("Sync", "app", value)
        return self.until("Sync", "app", lambda o: o and o["status"].get("requested") == value)

    def release(self) -> None:
        """Take all finalizers from what this module holds by them."""
        for name in ("goes", "held"):
            if self.seek("ConfigMap", name):
                body = {"metadata": {"finalizers": None}}
                self.api.merge("ConfigMap", self.target, name, body, manager="its-controller")

    def live(self, *what: str) -> Any:
        """Return an object of any kind, by kind and name."""
        return json.loads(self.cluster.kubectl("get", *what, "-n", self.target, "-o", "json"))

    def patch(self, *what: str, manager: str, operations: list[Json]) -> None:
        """Change an object as another program does."""
        words = ("--type=json", f"--field-manager={manager}", f"--patch={json.dumps(operations)}")
        self.cluster.kubectl("patch", *what, "-n", self.target, *words)


Troubles = Mapping[str, Trouble]


@pytest.fixture(scope="module")
def troubles(installed: Cluster, api: Api, git: GitHttp, operator: UnderTest) -> Iterator[Troubles]:
    """All folders at their first commit."""
    del operator
    made = {key: Trouble(installed, api, git, folder) for key, folder in FOLDERS.items()}
    for each in made.values():
        each.begin()
    yield made
    for each in made.values():
        each.release()
        each.remove()
    for plural in ("gadgets", "pumps", "switches"):
        installed.kubectl("delete", "crd", f"{plural}.{GROUP}", "--ignore-not-found", "--wait=false")


def undrifted(sync: Json) -> None:
    """Check that nothing was taken for drift."""
    assert sync["status"]["summary"]["corrected"] == 0
    assert not sync["status"].get("driftLog")


def named(sync: Json, name: str) -> str:
    """Return what the status says of an object."""
    found = sync["status"].get("differences") or []
    return next((d["message"] for d in found if d["name"] == name), "")


def test_01_a_strategy_changes_where_a_default_stands_beside_it(troubles: Troubles) -> None:
    it = troubles["01"]
    it.applied(1)
    it.push(2)
    sync = it.applied(2)
    assert it.live("deployment", "ledger")["spec"]["strategy"] == {"type": "Recreate"}
    assert it.live("statefulset", "journal")["spec"]["updateStrategy"] == {"type": "OnDelete"}
    # The API server takes a DaemonSet with both, so that the default beside it may stay.
    assert it.live("daemonset", "agent")["spec"]["updateStrategy"]["type"] == "OnDelete"
    undrifted(sync)


def test_02_an_aggregated_role_is_filled_and_stays_so(troubles: Troubles, proxy: ApiProxy) -> None:
    it, wanted = troubles["02"], [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]
    it.ready(1)
    it.api.until("ClusterRole", None, "bugs-inspect", lambda o: o and o.get("rules") == wanted)
    sync = it.checked()
    assert is_ready(sync)
    assert it.api.get("ClusterRole", None, "bugs-inspect")["rules"] == wanted
    undrifted(sync)
    assert not it.events("Drift")
    assert len([r for r in proxy.writes if r.path.endswith("/clusterroles/bugs-inspect")]) == 1


def test_04_the_consumer_of_a_claim_is_made(troubles: Troubles) -> None:
    it = troubles["04"]
    it.until("Deployment", "reader", lambda o: o is not None)
    it.applied(1)


@pytest.mark.skipif(as_node(), reason="the pods are played by the test, and a kubelet would say otherwise")
def test_05_the_config_of_pods_that_run_is_there_until_the_rollout_is_complete(troubles: Troubles) -> None:
    def configs() -> set[str]:
        found = {o["metadata"]["name"] for o in it.api.list("ConfigMap", it.target)}
        return {name for name in found if name.startswith("web-config-")}

    it = troubles["05"]
    it.applied(1)
    runs(it, "web")
    runs(it, "web")
    it.ready(1)
    (old,) = configs()
    it.push(2)
    sync = it.applied(2)
    (new,) = configs() - {old}
    assert set(kept(sync)) == {old}
    assert f"ConfigMap/{it.target}/{old} is no longer in Git and stays while " in condition(sync)["message"]
    assert {old, new} == configs()
    runs(it, "web")
    # One of two is new, and a pod of the former revision runs: it may be started again at any time.
    it.checked("half")
    assert {old, new} == configs()
    runs(it, "web")
    it.until("ConfigMap", old, lambda o: o is None)
    it.ready(2)
    assert configs() == {new}


def test_07_what_git_drops_of_an_adopted_object_goes(troubles: Troubles) -> None:
    it = troubles["07"]
    it.applied(1)
    for number in (2, 3):
        it.push(number)
        sync = it.applied(number)
        wanted = anew(it, it.texts(f"commit-{number}")["app.yaml"])
        assert {"portal": it.get("Deployment", "portal")["spec"]} == wanted
    undrifted(sync)


def test_08_no_container_gets_the_image_of_another(troubles: Troubles) -> None:
    def images() -> Json:
        spec = it.get("Deployment", "shopfront")["spec"]["template"]["spec"]
        return {c["name"]: c["image"].removeprefix("registry.example.org/") for c in spec["containers"]}

    it = troubles["08"]
    it.applied(1)
    path, value = "/spec/template/spec/containers/0/image", "registry.example.org/app:2"
    it.patch(
        "deployment",
        "shopfront",
        manager="updater",
        operations=[{"op": "replace", "path": path, "value": value}],
    )
    it.checked()
    assert images() == {"app": "app:2"}
    it.push(2)
    it.applied(2)
    assert images() in ({"proxy": "proxy:5", "app": "app:1"}, {"proxy": "proxy:5", "app": "app:2"})


def test_09_a_conversion_webhook_that_nobody_serves(troubles: Troubles) -> None:
    it, other = troubles["09"], troubles["24"]
    it.applied(1)
    it.push(2)
    sync = it.until("Sync", "app", says("WebhookFailed"))
    for words in ("Gadget/", "one", f"conversion webhook of gadgets.{GROUP} could not be called"):
        assert words in condition(sync)["message"]
    assert not it.events("ApiUnavailable")
    other.ready(1)
    assert is_ready(other.checked("beside"))


def test_11_a_pointer_of_git_lfs_is_named_and_nothing_is_made_of_it(troubles: Troubles) -> None:
    for key, file in (("11a", "big.yaml"), ("11b", "rules.bin")):
        it = troubles[key]
        sync = it.until("Sync", "app", says("RenderFailed", f"{file} is a Git LFS pointer"))
        assert not sync["status"].get("applied")
    assert [o for o in it.api.list("ConfigMap", it.target) if o["metadata"]["name"].startswith("rules")] == []


def test_14_a_field_that_may_not_change_is_called_so(troubles: Troubles) -> None:
    it = troubles["14"]
    it.ready(1)
    it.push(2)
    sync = it.until("Sync", "app", says("Immutable"))
    assert "StorageClass/bugs-fast: parameters: " in condition(sync)["message"]
    assert "stays enforced" in condition(sync)["message"]
    assert it.live("storageclass", "bugs-fast")["parameters"] == {"tier": "gold"}


def test_16_spellings_of_secrets(troubles: Troubles, proxy: ApiProxy) -> None:
    it, prefix = troubles["16"], troubles["16"].api.path("Secret", troubles["16"].target)
    it.ready(1)
    token = it.until("Secret", "sa-token", lambda o: (o.get("data") or {}).get("token"))["data"]["token"]
    sync = it.checked()
    assert is_ready(sync)
    undrifted(sync)
    written = sorted(r.path.removeprefix(f"{prefix}/") for r in proxy.writes if r.path.startswith(prefix))
    assert written == ["both", "empty", "sa-token", "wrapped"]
    assert base64.b64decode(it.get("Secret", "both")["data"]["key"]) == b"new"
    whole = base64.b64decode(it.get("Secret", "wrapped")["data"]["token"])
    assert whole == b"this is a rather long token that base64 breaks into two lines"
    assert it.get("Secret", "sa-token")["data"]["token"] == token


def test_17_a_status_that_is_a_field_like_any_other(troubles: Troubles) -> None:
    def corrected(count: int) -> Any:
        return lambda o: is_ready(o) and o["status"]["summary"]["corrected"] == count

    it, what = troubles["17"], (f"switches.{GROUP}", "hall")
    it.ready(1)
    path = "/status/wanted"
    for value, count in (("off", 1), ("dimmed", 2)):
        it.patch(*what, manager="kubectl-edit", operations=[{"op": "replace", "path": path, "value": value}])
        sync = it.until("Sync", "app", corrected(count))
        assert it.live(*what)["status"] == {"wanted": "on"}
    assert [e["patch"][0]["path"] for e in sync["status"]["driftLog"]] == [path] * 2
    text = it.texts("commit-1")["switch.yaml"].replace('"on"', '"off"')
    sha = it.repo.commit({"switch.yaml": text}, "Off")
    it.ask("Source", "src", sha)
    it.until("Sync", "app", ready_at(sha))
    assert it.live(*what)["status"] == {"wanted": "off"}


def test_19_a_crd_drops_a_version_in_which_objects_are_stored(troubles: Troubles) -> None:
    it = troubles["19"]
    it.ready(1)
    it.push(2)
    sync = it.until("Sync", "app", says("Invalid", "status.storedVersions"))
    message = condition(sync)["message"]
    assert f"CustomResourceDefinition/pumps.{GROUP}" in message
    assert '"v1alpha1"' in message
    assert "stays enforced" in message
    crd = it.api.get("CustomResourceDefinition", None, f"pumps.{GROUP}")
    assert [v["name"] for v in crd["spec"]["versions"]] == ["v1alpha1"]


def test_22_what_left_git_cannot_go(troubles: Troubles) -> None:
    it = troubles["22"]
    it.ready(1)
    for number in (2, 3):
        it.push(number)
        it.until("ConfigMap", "stays", lambda o, n=number: o["data"] == {"step": str(n)})
        sync = it.until("Sync", "app", says("PruneWaiting", "example.org/slow"))
        assert f"ConfigMap/{it.target}/goes" in condition(sync)["message"]
    it.release()
    it.ready(3)
    assert it.seek("ConfigMap", "goes") is None


def test_24_what_git_wants_is_being_deleted_and_held(troubles: Troubles) -> None:
    it = troubles["24"]
    it.ready(1)
    finalizers = {"metadata": {"finalizers": ["example.org/held"]}}
    it.api.merge("ConfigMap", it.target, "held", finalizers, manager="its-controller")
    it.api.delete("ConfigMap", it.target, "held")
    sync = it.until("Sync", "app", lambda o: "example.org/held" in condition(o).get("message", ""))
    assert f"ConfigMap/{it.target}/held" in condition(sync)["message"]
    it.push(2)
    it.until("ConfigMap", "other", lambda o: o["data"] == {"step": "2"})
    sync = it.until("Sync", "app", lambda o: "example.org/held" in named(o, "held"))
    assert not is_ready(sync)
    it.release()
    it.ready(2)
    assert it.get("ConfigMap", "held")["data"] == {"step": "1"}


def test_12_a_repository_in_sha256_format(world: World) -> None:
    path, url = world.git.root / f"{world.namespace}-new.git", world.git.url(f"{world.namespace}-new")
    sha256(path, empty=True)
    world.source(url=url)
    world.sync()
    world.until("Source", "src", says("RepositoryEmpty"))
    sha256(path)
    world.ask("Source", "src", "pushed")
    source = world.until("Source", "src", says("RepositoryUnsupported"))
    assert url in condition(source)["message"]
    for words in ("SHA-256", "convert it to SHA-1", "another remote"):
        assert words in condition(source)["message"]
    assert condition(source, "Stalled")["status"] == "True"
    # It is not asked again by itself, however often others are.
    before = world.git.ref_listings(f"{world.namespace}-new")
    world.repo.commit({"a.yaml": config("a")}, "First")
    world.source("other")
    until(lambda: world.git.ref_listings(world.namespace) > 3, "the interval of another Source", 60)
    assert world.git.ref_listings(f"{world.namespace}-new") == before
    # The remedy: another remote.
    world.source(url=world.git.url(world.namespace))
    world.until("Sync", "app", is_ready)


def test_18_a_server_without_shallow(world: World) -> None:
    world.git.rules(world.namespace).lacks = SHALLOW
    for n in range(3):
        world.repo.commit({"a.yaml": config("a", n=str(n))}, f"Commit {n}")
    world.source()
    world.sync()
    world.until("Sync", "app", is_ready)
    sha = world.repo.commit({"a.yaml": config("a", n="new")}, "One more")
    world.until("Sync", "app", ready_at(sha))
    assert world.get("ConfigMap", "a")["data"] == {"n": "new"}


@pytest.fixture
def stranger(installed: Cluster, api: Api, git: GitHttp, operator: UnderTest) -> Iterator[World]:
    """Another team, with a repository of its own."""
    del operator
    made = World(installed, api, git)
    yield made
    git.rules(made.namespace).status = None
    made.remove()


@pytest.mark.parametrize("end", ["a", "b"])
def test_27_a_stranger_whose_git_server_is_away(
    installed: Cluster, api: Api, git: GitHttp, operator: UnderTest, stranger: World, end: str
) -> None:
    it = Trouble(installed, api, git, "27-stranger-whose-git-server-is-away")
    it.begin()
    stranger.repo.commit({**it.texts("stranger")}, "First")
    stranger.source()
    stranger.sync()
    it.ready(1)
    stranger.until("Sync", "app", is_ready)
    operator.stop()
    operator.forget_cache()
    git.rules(stranger.namespace).status = 503
    operator.start()
    if end == "a":
        it.push(2)
        it.ready(2)
        assert it.seek("ConfigMap", "c") is None
        it.remove()
    else:
        it.api.delete("Sync", it.namespace, "app")
        it.until("Sync", "app", lambda o: o is None)
        assert (it.seek("ConfigMap", "a"), it.seek("ConfigMap", "c")) == (None, None)
        for name in (it.target, it.namespace):
            it.api.delete("Namespace", None, name)
            it.api.until("Namespace", None, name, lambda o: o is None)
    assert stranger.get("ConfigMap", "a")
