"""`make demo` as a person meets it: what it says, its exit code, and that nothing is left of it, however it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.demo.screen import sections
from tests.demo.stage import ROOT
from tests.kit.cluster.fixtures import require_node
from tests.kit.cluster.processes import lives, until
from tests.kit.image import require_image

from setpoint.api import resources as api

GONE_SECONDS = 60
PROCESS = ("--process",)
DESCRIPTION = """\
Name:         shop
Spec:
  Path:  ./deploy
Status:
  Applied:
    Short:  main@1a2b3c4
  Drift Log:
    Kind:  Deployment
    Patch:
      Op:  replace
  Summary:
    Objects:  1
Events:
  Drift Log:  no heading of the status
"""


def test_parts_of_the_status_are_cut_out_of_a_description() -> None:
    assert sections(DESCRIPTION, ["Drift Log", "Path"]) == [
        "  Drift Log:",
        "    Kind:  Deployment",
        "    Patch:",
        "      Op:  replace",
    ]


def test_the_models_take_the_objects_of_the_shop() -> None:
    models = {"Source": api.Source, "Sync": api.Sync}
    text = (ROOT / "examples/shop/setpoint/sync.yaml").read_text()
    found = [models[d["kind"]].model_validate(d) for d in yaml.safe_load_all(text)]
    assert [type(model) for model in found] == [api.Source, api.Sync]


class Demo:
    """`python -m tests.demo` in a process of its own, read line by line."""

    def __init__(self, *arguments: str) -> None:
        self.text = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.demo", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,  # as in a terminal, where Ctrl-C reaches the whole group
        )

    def until(self, pattern: str) -> re.Match[str]:
        """Read until a line fits."""
        assert self.process.stdout
        for line in self.process.stdout:
            self.text += line
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"the demo ended without {pattern!r}:\n{self.text}")

    def end(self) -> int:
        """Read the rest; the exit code."""
        self.text += self.process.communicate()[0]
        return self.process.returncode

    @property
    def folder(self) -> Path:
        found = re.search(r"log (\S+)/operator\.log", self.text)
        assert found, self.text
        return Path(found[1])

    def assert_gone(self) -> None:
        """No folder, and no process that has it, or the operator's, on its command line."""
        until(lambda: not self.left(), "end of everything", GONE_SECONDS)

    def left(self) -> list[str]:
        """What there is of it: processes by their command line, and the folder."""
        family = [" ".join(words) for words in _children(self.process.pid) + _users(self.folder)]
        return [*family, *([str(self.folder)] if self.folder.exists() else [])]


def _children(pid: int) -> list[list[str]]:
    return [words for parent, _, words in _processes() if parent == pid]


def _users(folder: Path) -> list[list[str]]:
    return [words for _, environment, words in _processes() if str(folder) in " ".join([environment, *words])]


def _processes() -> Iterator[tuple[int, str, list[str]]]:
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            environment = (path / "environ").read_text(errors="replace")
            words = (path / "cmdline").read_text(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it ended meanwhile, or is somebody else's
        if lives(int(path.name)):
            yield parent, environment, words


@pytest.fixture
def demo(request: pytest.FixtureRequest) -> Iterator[Demo]:
    arguments = getattr(request, "param", PROCESS)
    if not set(PROCESS) <= set(arguments):
        require_node()
        require_image()
    started = Demo(*arguments)
    yield started
    if started.process.poll() is None:
        os.killpg(started.process.pid, signal.SIGKILL)
    if not started.process.stdout.closed:  # type: ignore[union-attr]
        started.end()


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.node
@pytest.mark.parametrize("demo", [("--keep",)], indirect=True)
def test_the_story_of_a_pod_is_told_and_stays_until_it_is_ended(demo: Demo) -> None:
    _told(demo, "123456789")
    assert re.search(r"^setpoint-\S+ +2/2 +Running +0 ", demo.text, re.MULTILINE)
    degraded = r"sync.setpoint.dev/shop +False +1 of 7 degraded: Deployment/storefront \(container nginx: \w*Image\w* "
    assert re.search(degraded + r"nginxinc/nginx-unprivileged:1\.92-alpine", demo.text)


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize("demo", [("--keep", *PROCESS)], indirect=True)
def test_the_story_of_a_process_is_told_and_stays_until_it_is_ended(demo: Demo) -> None:
    _told(demo, "12345678")


def _told(demo: Demo, steps: str) -> None:
    """See that it was told to the end, that what it left works, and that it can be ended."""
    assert demo.end() == 0, demo.text
    name = re.search(r"tests\.demo --down (\d+)", demo.text)
    assert name, demo.text
    try:
        assert re.findall(r"^    (\d)\. ", demo.text, re.MULTILINE) == list(steps), demo.text
        assert "storefront has 3 replicas" in demo.text
        assert "by alice@example.org with kubectl-patch, in the ledger" in demo.text
        assert re.search(r"User: +alice@example\.org", demo.text)
        assert re.search(r"sync.setpoint.dev/shop +False +render failed: base/storefront\.yaml", demo.text)
        assert lives(int(name[1]))
        found = re.search(r"export KUBECONFIG=(\S+)", demo.text)
        assert found
        for words in ("apply -f setpoint/", "wait --for=condition=Ready sync/shop --timeout=300s"):
            subprocess.run(
                [str(demo.folder / "bin/kubectl"), *words.split()],
                cwd=demo.folder / "shop",
                env={**os.environ, "KUBECONFIG": found[1]},
                capture_output=True,
                check=True,
            )
        assert demo.left()
    finally:
        ended = subprocess.run(
            [sys.executable, "-m", "tests.demo", "--down", name[1]],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert (ended.returncode, ended.stdout) == (0, f"demo {name[1]}: removed\n")
    demo.assert_gone()


@pytest.mark.cluster
def test_ctrl_c_removes_everything(demo: Demo) -> None:
    demo.until(r"^operator: process \d+")
    assert demo.left()
    os.killpg(demo.process.pid, signal.SIGINT)
    assert demo.end() == 130, demo.text
    demo.assert_gone()


@pytest.mark.cluster
def test_a_killed_demo_leaves_nothing(demo: Demo) -> None:
    demo.until(r"^operator: process \d+")
    assert demo.left()
    demo.process.kill()
    demo.end()
    demo.assert_gone()


@pytest.mark.cluster
def test_an_operator_that_ends_fails_the_demo_with_its_log(demo: Demo) -> None:
    operator = int(demo.until(r"^operator: process (\d+)")[1])
    os.kill(operator, signal.SIGKILL)
    assert demo.end() == 1, demo.text
    assert "FAILED: " in demo.text
    assert f"The last lines of {demo.folder}/operator.log:" in demo.text
    demo.assert_gone()
