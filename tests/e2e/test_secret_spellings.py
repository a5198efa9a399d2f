"""Spellings of Secrets that the API server stores as something else: applied once, and no drift."""

from __future__ import annotations

import base64
import json

import pytest
from tests.e2e.conftest import World, config
from tests.e2e.test_sync import ready_at
from tests.kit.servers.apiproxy import ApiProxy

pytestmark = pytest.mark.cluster

SECRETS = """
apiVersion: v1
kind: Secret
metadata: {name: wrapped}
data:
  token: |
    YSB0b2tlbiB0aGF0IGlzIHdyYXBwZWQgYnkgdGhlIHByb2dyYW0gdGhh
    dCBlbmNvZGVkIGl0
  quoted: "YSB0b2\\r\\ntlbg==\\n"
---
apiVersion: v1
kind: Secret
metadata: {name: both}
data: {key: b2xk, kept: a2VwdA==}
stringData: {key: new, text: "plain\\n", blank: ""}
---
apiVersion: v1
kind: Secret
metadata: {name: empty}
data: {blank: "", nothing: null}
stringData: {}
---
apiVersion: v1
kind: Secret
metadata: {name: none}
data: null
---
apiVersion: v1
kind: Secret
metadata: {name: sealed}
immutable: true
type: example.org/own
stringData: {key: value}
---
apiVersion: v1
kind: Secret
metadata: {name: registry}
type: kubernetes.io/dockerconfigjson
stringData: {.dockerconfigjson: '{"auths": {"registry.example.org": {"auth": "YTpi"}}}'}
---
apiVersion: v1
kind: Secret
metadata: {name: login}
type: kubernetes.io/basic-auth
stringData: {username: me}
data: {password: aHVudGVyMg==}
---
apiVersion: v1
kind: Secret
metadata: {name: robot, annotations: {kubernetes.io/service-account.name: robot}}
type: kubernetes.io/service-account-token
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: robot}
"""


def plain(world: World, name: str) -> dict[str, str]:
    found = world.get("Secret", name).get("data") or {}
    return {key: base64.b64decode(value).decode() for key, value in found.items()}


def test_each_spelling_is_applied_once_and_does_not_drift(world: World, proxy: ApiProxy) -> None:
    sha = world.repo.commit({"secrets.yaml": SECRETS}, "Spellings")
    world.source()
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    token = world.until("Secret", "robot", lambda o: (o.get("data") or {}).get("token"))["data"]["token"]
    # Two runs that surely came after all of this: a commit, and a check of everything.
    sha = world.repo.commit({"a.yaml": config("a")}, "Another")
    world.until("Sync", "app", ready_at(sha))
    world.ask("Sync", "app", "again")
    sync = world.until("Sync", "app", lambda o: ready_at(sha)(o) and o["status"].get("requested") == "again")
    assert sync["status"]["summary"]["corrected"] == 0
    assert not sync["status"].get("driftLog")
    prefix = world.api.path("Secret", world.target)
    written = [r.path.removeprefix(f"{prefix}/") for r in proxy.writes if r.path.startswith(prefix)]
    assert sorted(written) == sorted(
        {"wrapped", "both", "empty", "none", "sealed", "registry", "login", "robot"}
    )
    assert plain(world, "both") == {"key": "new", "kept": "kept", "text": "plain\n", "blank": ""}
    assert plain(world, "wrapped")["token"] == "a token that is wrapped by the program that encoded it"
    assert plain(world, "wrapped")["quoted"] == "a token"
    assert plain(world, "empty") == {"blank": "", "nothing": ""}  # as the API server reads a null
    assert plain(world, "none") == {}
    assert plain(world, "sealed") == {"key": "value"}
    assert plain(world, "login") == {"username": "me", "password": "hunter2"}
    assert "registry.example.org" in json.loads(plain(world, "registry")[".dockerconfigjson"])["auths"]
    assert world.get("Secret", "robot")["data"]["token"] == token
