"""Two tenants of one operator: what one's repository says never shows it the operator's files, nor the other's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.e2e.conftest import config
from tests.e2e.test_bad_input import opened
from tests.kit.api import Api, condition, is_ready, says
from tests.kit.cluster.base import Cluster
from tests.kit.pods import UnderTest
from tests.kit.servers.githttp import GitHttp

pytestmark = pytest.mark.cluster

TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"
COMPONENT = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
ATTACKS = {
    "twins": "configMapGenerator: [{name: stolen, Files: [../ok.txt], files: [k=%s]}]\n",
    "long-s": "configMapGenerator: [{name: honest, files: [../ok.txt]}, {name: stolen, file\u017f: [k=%s]}]\n",
    "deep": "configMapGenerator: [{name: stolen, files: [../ok.txt], FILES: [k=%s]}]\n",
    "component": f"{COMPONENT}configMapGenerator: [{{name: stolen, Files: [../ok.txt], files: [k=%s]}}]\n",
}


def others_file(operator: UnderTest) -> str:
    """A file of the operator that only it should read: of the other's mirror, where the operator is no pod."""
    found = sorted((operator.log.parent / "cache").glob("mirrors/*/config"))
    return str(found[0]) if found else TOKEN


def test_a_hostile_tenant_reads_nothing_and_the_other_goes_on(
    installed: Cluster, api: Api, git: GitHttp, operator: UnderTest
) -> None:
    assert operator.running
    with opened(installed, api, git) as victim, opened(installed, api, git) as hostile:
        victim.repo.commit({"base.conf": "k=v", "app/a.yaml": config("mine", k="1")}, "Mine")
        victim.repo.commit(
            {
                "app/kustomization.yaml": "resources: [a.yaml]\nconfigMapGenerator: [{name: c, files: [../base.conf]}]\n"
            },
            "Build",
        )
        victim.source()
        victim.sync(path="app")
        victim.until("Sync", "app", is_ready)
        target = others_file(operator)
        files = {f"{name}/kustomization.yaml": text % target for name, text in ATTACKS.items()}
        files |= {"ok.txt": "K=v", "above/kustomization.yaml": "resources: [../deep]\n"}
        files["good/kustomization.yaml"] = "configMapGenerator: [{name: good, files: [../ok.txt]}]\n"
        hostile.repo.commit({**files}, "Hostile")
        hostile.source()
        paths = {"twins": "twins", "long-s": "long-s", "deep": "above"}
        for name, path in paths.items():
            hostile.sync(name, path=path)
        hostile.sync("component", path="good", kustomize={"components": ["../component"]})
        for name in ATTACKS:
            sync = hostile.until("Sync", name, says("RenderFailed", f"{name}/kustomization.yaml:"))
            assert "kustomize" in condition(sync)["message"]
            _shows_nothing(target, json.dumps(sync))
        built = [
            o for o in api.list("ConfigMap", hostile.target) if o["metadata"]["name"] != "kube-root-ca.crt"
        ]
        assert built == [], "something of a refused kustomization was applied"
        victim.repo.commit({"app/a.yaml": config("mine", k="2")}, "Goes on")
        victim.until("ConfigMap", "mine", lambda o: o is not None and o["data"] == {"k": "2"})
        victim.until("Sync", "app", is_ready)


def _shows_nothing(path: str, text: str) -> None:
    content = Path(path).read_text() if Path(path).exists() else ""
    for line in (line.strip() for line in content.splitlines()):
        assert len(line) < 8 or json.dumps(line)[1:-1] not in text
