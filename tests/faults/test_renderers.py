"""Builds that hang, eat memory or print without end: they are stopped, it is said, and what was applied stays."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.e2e.conftest import World, config
from tests.e2e.test_sync import ready_at
from tests.faults.steps import enforced
from tests.kit.api import condition, says
from tests.kit.cluster.binaries import ensure
from tests.kit.fenced import PYTHON

pytestmark = pytest.mark.cluster

# What a build is told to do stands in a file of the commit.
PROGRAM = """#!{python} -IS
import os, sys, time
folder = sys.argv[2]
deed = next((open(os.path.join(r, "deed")).read() for r, _, n in os.walk(".") if "deed" in n), "")
if deed == "hang":
    time.sleep(3600)
if deed == "eat":
    hoard = b"x" * (400 << 20)
    time.sleep(3600)
if deed == "print":
    for _ in range(100):
        os.write(1, b"#" * (1 << 20))
os.execv({kustomize!r}, sys.argv)
"""
DEEDS = {
    "hang": ("RenderFailed", "did not end within the 4 s of settings.renderTimeout"),
    "eat": ("TooLarge", "more than the 128 MiB of memory of settings.renderMemory"),
    "print": ("TooLarge", "more than the 33,554,432 of settings.maxRenderSize"),
}


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    program: Path = tmp_path_factory.mktemp("bin") / "kustomize"
    program.write_text(PROGRAM.format(python=sys.executable, kustomize=str(ensure("kustomize")["kustomize"])))
    program.chmod(0o755)
    return {
        "SETPOINT_KUSTOMIZE": str(program),
        "SETPOINT_RENDER_LIBRARIES": " ".join((*PYTHON, str(ensure("kustomize")["kustomize"]))),
        "SETPOINT_RENDER_TIMEOUT": "4s",
        "SETPOINT_RENDER_MEMORY": "128Mi",
    }


@pytest.mark.parametrize("deed", DEEDS)
def test_a_build_that_misbehaves(world: World, deed: str) -> None:
    files = {
        "kustomization.yaml": "resources: [a.yaml]\nconfigMapGenerator: []\n",
        "a.yaml": config("a", k="1"),
    }
    sha = world.repo.commit(files, "First")
    world.source()
    world.sync()
    world.until("Sync", "app", ready_at(sha))
    generator = (
        "generatorOptions: {disableNameSuffixHash: true}\nconfigMapGenerator: [{name: g, files: [deed]}]\n"
    )
    files = {"kustomization.yaml": f"resources: [a.yaml]\n{generator}", "deed": deed}
    world.repo.commit(files, "Misbehaves")
    sync = world.until("Sync", "app", says(*DEEDS[deed]))
    assert "stays enforced" in condition(sync)["message"]
    enforced(world)
    sha = world.repo.commit({"deed": "nothing"}, "Behaves")
    world.until("Sync", "app", ready_at(sha))
    assert world.get("ConfigMap", "g")["data"] == {"deed": "nothing"}
