"""Ciphertext and pointers reach no object: the commit before stays, and STATUS names the file."""

from __future__ import annotations

import json

import pytest
from tests.e2e.conftest import World, config
from tests.kit import sopsfiles
from tests.kit.api import condition, is_ready, says
from tests.kit.sopsfiles import LFS, PLAIN, manifest

pytestmark = pytest.mark.cluster

GENERATOR = "resources: [a.yaml]\n%sGenerator: [{name: g, files: [x.enc], options: {disableNameSuffixHash: true%s}}]\n"
KEEP = ", annotations: {setpoint.dev/encrypted: keep}"


@pytest.mark.parametrize(
    ("files", "reason", "words"),
    [
        (
            {"app/kustomization.yaml": GENERATOR % ("secret", ""), "app/x.enc": sopsfiles.YAML},
            "Encrypted",
            ("app/x.enc is encrypted by SOPS", "Secret/"),
        ),
        (
            {"app/b.yaml": manifest(name="g")},
            "Encrypted",
            ("app/b.yaml is encrypted by SOPS", "Secret/g"),
        ),
        (
            {"app/kustomization.yaml": GENERATOR % ("configMap", ""), "app/x.enc": LFS},
            "RenderFailed",
            ("app/x.enc is a Git LFS pointer", "does not fetch LFS content"),
        ),
        ({"app/b.yaml": LFS}, "RenderFailed", ("app/b.yaml is a Git LFS pointer",)),
    ],
)
def test_nothing_of_the_commit_is_applied(
    files: dict[str, str], reason: str, words: tuple[str, ...], world: World
) -> None:
    world.repo.commit({"app/a.yaml": config("a", k="1")}, "First")
    world.source()
    world.sync(path="app")
    world.until("Sync", "app", is_ready)
    version = world.get("ConfigMap", "a")["metadata"]["resourceVersion"]
    world.repo.commit({"app/a.yaml": config("a", k="2"), **files}, "Second")
    sync = world.until("Sync", "app", says(reason, words[0]))
    assert all(word in condition(sync)["message"] for word in words)
    assert "stays enforced" in condition(sync)["message"]
    assert world.get("ConfigMap", "a")["metadata"]["resourceVersion"] == version
    assert world.seek("Secret", "g") is None
    assert world.seek("ConfigMap", "g") is None
    told = json.dumps([sync, world.api.list("Event", world.namespace)])
    assert not any(value in told for value in (PLAIN, "ENC[", sopsfiles.RECIPIENT))


def test_what_git_says_to_keep_is_kept(world: World) -> None:
    world.repo.commit(
        {
            "app/kustomization.yaml": GENERATOR % ("configMap", KEEP),
            "app/a.yaml": config("a"),
            "app/x.enc": sopsfiles.YAML,
        },
        "Kept",
    )
    world.source()
    world.sync(path="app")
    world.until("Sync", "app", is_ready)
    assert world.get("ConfigMap", "g")["data"] == {"x.enc": sopsfiles.YAML}
