"""`setpoint render`: what is printed, what is noted, and the exit codes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.kit import sopsfiles
from tests.kit.cluster import binaries
from tests.render.conftest import config

from setpoint.cli import parser as cli
from setpoint.cli import render
from setpoint.fences.policy import NO_LANDLOCK
from setpoint.objects import documents, yaml_dump

SYNC = """apiVersion: setpoint.dev/v1alpha1
kind: Sync
metadata: {name: app, namespace: team}
spec: {source: {name: repo}, %s}
"""
KUSTOMIZED = {"k/kustomization.yaml": "namePrefix: p-\nresources: [a.yaml]\n", "k/a.yaml": config("a")}
MIXED = {
    "app/role.yaml": "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: r}\n",
    "app/config.yaml": f"{config('a')}data: {{a: 'yes', b: '0o7', c: 'y', d: '1e3'}}\n",
    "app/own.yaml": "apiVersion: example.org/v1\nkind: Thing\nmetadata: {name: t}\n",
    "app/crd.yaml": "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: w}\n"
    "spec: {group: example.org, scope: Namespaced, names: {kind: Widget}}\n",
    "app/widget.yaml": "apiVersion: example.org/v1\nkind: Widget\nmetadata: {name: w}\n",
    "app/there.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d, namespace: there}\n",
    "app/package.json": "{}",
}


class Run:
    """One run of the command: exit code and what it wrote."""

    def __init__(
        self, folder: Path, sync: str | None = None, output: str = "yaml", kustomize: str | None = None
    ) -> None:
        file = folder / "sync.txt"
        if sync is not None:
            file.write_text(sync)
        out, err = io.StringIO(), io.StringIO()
        self.code = render.run(
            str(folder), str(file) if sync is not None else None, output, out, err, kustomize
        )
        self.out, self.err = out.getvalue(), err.getvalue()


def write(folder: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def test_plain_files_are_printed_with_their_places(tmp_path: Path) -> None:
    run = Run(write(tmp_path, {"a.yaml": f"{config('a')}data: {{x: 'yes'}}\n", "b.yaml": config("b")}))
    assert (run.code, run.err) == (0, "")
    assert run.out.startswith("---\n# a.yaml:1\napiVersion: v1\n")
    loaded = documents.load(run.out.encode(), "out")
    assert [each.manifest["metadata"]["name"] for each in loaded] == ["a", "b"]
    assert loaded[0].manifest["data"] == {"x": "yes"}


def test_json_is_a_list(tmp_path: Path) -> None:
    run = Run(write(tmp_path, {"a.yaml": config("a")}), output="json")
    assert json.loads(run.out) == {
        "apiVersion": "v1",
        "kind": "List",
        "items": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}],
    }


def test_the_path_of_a_sync_counts_from_the_folder(tmp_path: Path, kustomize: Path) -> None:
    write(tmp_path, {**KUSTOMIZED, **MIXED})
    run = Run(
        tmp_path, SYNC % "path: k, targetNamespace: prod, kustomize: {nameSuffix: -s}", "json", str(kustomize)
    )
    assert (run.code, run.err) == (0, "")
    assert json.loads(run.out)["items"][0]["metadata"] == {"name": "p-a-s", "namespace": "prod"}


def test_the_target_namespace_is_filled_in_where_the_kind_is_known(tmp_path: Path) -> None:
    run = Run(write(tmp_path, MIXED), SYNC % "path: app, targetNamespace: prod", "json")
    items = json.loads(run.out)["items"]
    assert {item["kind"]: item["metadata"].get("namespace") for item in items} == {
        "ConfigMap": "prod",
        "Deployment": "there",
        "Widget": "prod",
        "ClusterRole": None,
        "CustomResourceDefinition": None,
        "Thing": None,
    }
    assert run.err.splitlines() == [
        "note: 1 document without apiVersion and kind was skipped",
        "note: only the cluster knows whether these have a namespace, so none was filled in: Thing (example.org)",
    ]


def test_a_folder_that_cannot_be_rendered_is_1(tmp_path: Path) -> None:
    run = Run(write(tmp_path, {"a.yaml": "a: b: c\n"}))
    assert (run.code, run.out) == (1, "")
    assert run.err == "RenderFailed: a.yaml:1: mapping values are not allowed in this context\n"


def test_a_missing_kustomize_is_1_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETPOINT_KUSTOMIZE", str(tmp_path / "none"))
    run = Run(write(tmp_path, KUSTOMIZED), SYNC % "path: k")
    assert (run.code, run.err) == (
        1,
        "RenderFailed: the program none was not found; install it, or set SETPOINT_KUSTOMIZE to its path\n",
    )


@pytest.mark.parametrize(
    ("sync", "said"),
    [
        (config("a"), "holds 0 Syncs; it must hold one"),
        (f"{SYNC % 'path: a'}---\n{SYNC % 'path: b'}", "holds 2 Syncs; it must hold one"),
        (SYNC % "pathh: a", "sync.txt:1: spec.pathh: Extra inputs are not permitted"),
        (SYNC % "path: [", "sync.txt:4: "),
    ],
)
def test_a_sync_that_is_none_is_64(tmp_path: Path, sync: str, said: str) -> None:
    run = Run(tmp_path, sync)
    assert run.code == 64
    assert said in run.err


def test_a_folder_that_is_none_is_64(tmp_path: Path) -> None:
    run = Run(tmp_path / "none")
    assert (run.code, run.err) == (64, f"error: {tmp_path}/none is not a folder\n")


def test_the_command_line_renders(tmp_path: Path, kustomize: Path) -> None:
    write(tmp_path, KUSTOMIZED)
    command = [sys.executable, "-m", "setpoint", "render", str(tmp_path / "k"), "-o", "json"]
    done = subprocess.run(
        command, capture_output=True, check=False, env={"SETPOINT_KUSTOMIZE": str(kustomize)}
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["items"][0]["metadata"]["name"] == "p-a"


def test_a_kernel_without_landlock(tmp_path: Path, kustomize: Path) -> None:
    """A person's own machine may be one: there it renders. The operator does not start, unless it is told to."""
    write(tmp_path, KUSTOMIZED)
    environ = {
        "SETPOINT_KUSTOMIZE": str(kustomize),
        "PYTHONPATH": os.pathsep.join(sys.path),
        "HOME": str(tmp_path),
    }

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tests.kit.fenced", sys.executable, "-m", "setpoint", *arguments]
        return subprocess.run(command, capture_output=True, check=False, text=True, env=environ | more)

    done = run("render", str(tmp_path / "k"), "-o", "json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["items"][0]["metadata"]["name"] == "p-a"
    done = run("run", "--kubeconfig", str(tmp_path / "none"))
    assert (done.returncode, done.stderr) == (cli.FAILED, f"error: {NO_LANDLOCK}\n")
    done = run("run", "--kubeconfig", str(tmp_path / "none"), SETPOINT_LANDLOCK="best-effort")
    assert done.returncode != 0
    assert NO_LANDLOCK not in done.stderr
    # Where the worker is another container, that one says it: the operator starts no child.
    done = run("worker", "--listen", str(tmp_path))
    assert (done.returncode, done.stderr) == (cli.FAILED, f"error: {NO_LANDLOCK}\n")
    done = run("run", "--kubeconfig", str(tmp_path / "none"), SETPOINT_WORKER_SOCKET=str(tmp_path))
    assert done.returncode != 0
    assert NO_LANDLOCK not in done.stderr


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text() | st.sampled_from(["yes", "y", "0o7", "1e3", "1_0", ".inf", "1:20", "~", "<<", "=", "a\nb", " a", "a\n\n", "# x", "2020-01-01"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.sampled_from(["y", "1", "null"]), inner, max_size=3),
    max_leaves=10,
)  # fmt: skip


@given(values)
def test_what_is_printed_is_read_as_the_same_values(value: object) -> None:
    manifest = {"apiVersion": "v1", "kind": "A", "metadata": {"name": "a"}, "value": value}
    assert documents.load(yaml_dump.dump(manifest).encode(), "f")[0].manifest == manifest


def test_kubectl_reads_what_is_printed_as_the_same_values(tmp_path: Path) -> None:
    run = Run(
        write(
            tmp_path,
            {"a.yaml": f"{config('a')}data: {{a: 'yes', b: '0o7', c: 'y', d: '1e3', 'y': '1_0', e: '08'}}\n"},
        )
    )
    command = [str(binaries.kubectl()), "annotate", "--local", "-o", "json", "-f", "-", "seen=yes"]
    done = subprocess.run(command, input=run.out.encode(), capture_output=True, check=True)
    assert json.loads(done.stdout)["data"] == {
        "a": "yes",
        "b": "0o7",
        "c": "y",
        "d": "1e3",
        "y": "1_0",
        "e": "08",
    }


def test_an_encrypted_file_of_a_generator_is_an_error_and_nothing_is_printed(tmp_path: Path) -> None:
    kustomization = "secretGenerator: [{name: g, files: [x.env]}]\n"
    folder = write(tmp_path, {"x.env": sopsfiles.DOTENV, "kustomization.yaml": kustomization})
    run = Run(folder, kustomize=str(binaries.ensure("kustomize")["kustomize"]))
    assert (run.code, run.out) == (1, "")
    assert "x.env is encrypted by SOPS" in run.err
    assert sopsfiles.PLAIN not in run.err
