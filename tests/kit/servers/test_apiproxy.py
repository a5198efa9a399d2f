"""The API server proxy passes everything on, counts it, and breaks what it is told to break."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.kit.cluster import binaries
from tests.kit.cluster.base import Cluster, KubectlError
from tests.kit.servers.apiproxy import ApiProxy
from tests.kit.servers.apirules import Hold, Reply, Request, alter, cut, delay, reply

pytestmark = pytest.mark.cluster
STATUS = {"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": 403, "reason": "Forbidden"}


class Client:
    """kubectl through the proxy."""

    def __init__(self, cluster: Cluster, proxy: ApiProxy, namespace: str) -> None:
        self._cluster, self._namespace = cluster, namespace
        self.kubeconfig: Path = proxy.kubeconfig()

    def __call__(self, *arguments: str) -> str:
        return self._cluster.kubectl(*arguments, f"--kubeconfig={self.kubeconfig}", f"-n{self._namespace}")

    def command(self, *arguments: str) -> list[str]:
        kubectl = str(binaries.kubectl())
        return [kubectl, f"--kubeconfig={self.kubeconfig}", f"-n{self._namespace}", *arguments]


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[ApiProxy]:
    with ApiProxy(cluster) as started:
        yield started


@pytest.fixture
def client(cluster: Cluster, proxy: ApiProxy, namespace: str) -> Client:
    made = Client(cluster, proxy, namespace)
    made("get", "configmaps")  # discovery is cached from now on
    proxy.clear()
    return made


def configmaps(request: Request) -> bool:
    """The requests that these tests are about."""
    return "/configmaps" in request.path


def test_reads_and_writes_are_counted_apart(client: Client, proxy: ApiProxy) -> None:
    client("create", "configmap", "one", "--from-literal=a=b")
    client("create", "configmap", "two", "--dry-run=server")
    assert json.loads(client("get", "configmap", "one", "--output=json"))["data"] == {"a": "b"}
    assert [(each.method, each.status) for each in proxy.writes] == [("POST", 201)]
    assert [each.path.rpartition("/")[2] for each in proxy.reads if configmaps(each)] == ["one"]
    assert len(proxy.select(lambda each: each.is_dry_run)) == 1
    assert all("kubectl" in each.user_agent for each in proxy.requests)
    proxy.wait_for(lambda each: each.ended, count=len(proxy.requests))
    client("patch", "configmap", "one", "--type=merge", '--patch={"data": {"c": "d"}}')
    assert proxy.writes[-1].content_type == "application/merge-patch+json"


def test_impersonation_passes_and_repeated_groups_too(client: Client, proxy: ApiProxy) -> None:
    who = client("auth", "whoami", "--as=someone", "--as-group=first", "--as-group=second", "--output=json")
    user = json.loads(who)["status"]["userInfo"]
    assert user["username"] == "someone"
    assert {"first", "second"} < set(user["groups"])
    assert {each.impersonate_user for each in proxy.requests} == {"someone"}


def test_a_token_that_is_none_is_refused_by_the_server(client: Client, proxy: ApiProxy) -> None:
    with pytest.raises(KubectlError, match=r"logged in|Unauthorized"):
        client("get", "configmaps", "--token=not-a-token")
    assert {each.status for each in proxy.requests} == {401}


def test_a_watch_delivers_at_once_and_can_be_cut(client: Client, proxy: ApiProxy) -> None:
    command = client.command("get", "configmaps", "--watch", "--output-watch-events", "--output=name")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watcher:
        assert watcher.stdout is not None
        proxy.wait_for(lambda each: each.is_watch and each.status == 200)
        client("create", "configmap", "seen")
        for line in watcher.stdout:  # ends with the test's time limit if events were held back
            if "configmap/seen" in line:
                break
        (watch,) = proxy.watches
        assert not watch.ended
        proxy.cut_open()
        proxy.wait_for(lambda each: each.is_watch and each.ended)
        watcher.terminate()


def test_a_client_that_leaves_ends_its_watch(client: Client, proxy: ApiProxy) -> None:
    with subprocess.Popen(client.command("get", "configmaps", "--watch"), stdout=subprocess.PIPE) as watcher:
        proxy.wait_for(lambda each: each.is_watch and each.status == 200)
        watcher.kill()
    proxy.wait_for(lambda each: each.is_watch and each.ended)


def test_a_reply_of_our_own_never_reaches_the_server(client: Client, proxy: ApiProxy) -> None:
    body = json.dumps({**STATUS, "message": "not today"}).encode()
    with proxy.on(lambda each: each.is_write, reply(403, body)) as rule:
        with pytest.raises(KubectlError, match="not today"):
            client("create", "configmap", "one")
        assert rule.hits == 1
    assert client("get", "configmap", "one", "--ignore-not-found") == ""
    client("create", "configmap", "one")


def test_a_rule_can_be_used_up(client: Client, proxy: ApiProxy) -> None:
    proxy.on(configmaps, reply(500, b"{}"), times=1)
    with pytest.raises(KubectlError):
        client("get", "configmaps")
    client("get", "configmaps")


@pytest.mark.parametrize("after", [False, True])
def test_a_cut_before_or_after_the_server_did_it(client: Client, proxy: ApiProxy, after: bool) -> None:
    with proxy.on(lambda each: each.is_write, cut(after=after)), pytest.raises(KubectlError):
        client("create", "configmap", "one")
    assert proxy.writes[0].status is None
    assert bool(client("get", "configmap", "one", "--ignore-not-found")) == after


def test_an_answer_can_be_altered(client: Client, proxy: ApiProxy) -> None:
    client("create", "configmap", "one", "--from-literal=a=true")

    def lie(answer: Reply) -> Reply:
        return Reply(answer.status, answer.body.replace(b'"true"', b'"false"'), answer.headers)

    with proxy.on(configmaps, alter(lie)):
        assert json.loads(client("get", "configmap", "one", "--output=json"))["data"] == {"a": "false"}


def test_a_held_request_is_not_done_before_its_release(client: Client, proxy: ApiProxy) -> None:
    hold = Hold()
    proxy.on(lambda each: each.is_write, hold)
    with subprocess.Popen(client.command("create", "configmap", "one"), stdout=subprocess.PIPE) as creator:
        assert hold.arrived.wait(30)
        assert client("get", "configmap", "one", "--ignore-not-found") == ""
        hold.release()
        creator.wait()
    assert creator.returncode == 0
    assert client("get", "configmap", "one", "--output=name") == "configmap/one\n"


def test_a_delayed_request_is_done_in_the_end(client: Client, proxy: ApiProxy) -> None:
    rule = proxy.on(lambda each: each.is_write, delay(0.05))
    client("create", "configmap", "one")
    assert rule.hits == 1


def test_what_never_comes_is_an_error_and_not_a_hang(proxy: ApiProxy) -> None:
    with pytest.raises(TimeoutError, match="1 matching requests expected"):
        proxy.wait_for(configmaps, seconds=0)
