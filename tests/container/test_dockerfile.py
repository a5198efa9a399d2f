"""The Dockerfile cannot be run where no engine is, so it is held to the table that the archive is made of."""

from __future__ import annotations

import json
import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from image import bases, layout
from image.layout import ImageError
from tests.kit.cluster import binaries

from setpoint.settings import Settings

TEXT = (layout.ROOT / "image/Dockerfile").read_text()
IGNORED = (layout.ROOT / "image/Dockerfile.dockerignore").read_text()


@dataclass(frozen=True)
class Stage:
    """One stage: its base, and its instructions as (word, rest)."""

    base: str
    instructions: tuple[tuple[str, str], ...]

    def all(self, word: str) -> list[str]:
        return [rest for each, rest in self.instructions if each == word]

    def one(self, word: str) -> str:
        (found,) = self.all(word)
        return found


def stages() -> dict[str, Stage]:
    """Read the stages by name; the last has none, and what stands before the first is `bases`."""
    lines = [line for line in TEXT.splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    split = [tuple(line.split(None, 1)) for line in joined.splitlines() if line.strip()]
    found = {"bases": Stage("", ())}
    for word, rest in split:
        if word == "FROM":
            base, _, name = re.sub(r"--platform=\S+ ", "", rest).partition(" AS ")
            found[name] = Stage(base, ())
        else:
            last = list(found)[-1]
            found[last] = Stage(found[last].base, (*found[last].instructions, (word, rest)))
    return found


STAGES = stages()
FINAL = STAGES[""]


def test_the_user_is_that_of_the_chart() -> None:
    chart = yaml.safe_load((layout.ROOT / "charts/setpoint/values.yaml").read_text())
    security = chart["podSecurityContext"]
    assert FINAL.one("USER") == layout.config()["User"] == f"{layout.USER}:{layout.USER}"
    assert (security["runAsUser"], security["runAsGroup"]) == (layout.USER, layout.USER)


def test_what_runs_is_the_same() -> None:
    config = layout.config()
    assert json.loads(FINAL.one("ENTRYPOINT")) == config["Entrypoint"]
    assert json.loads(FINAL.one("CMD")) == config["Cmd"]
    assert FINAL.one("WORKDIR") == config["WorkingDir"]
    assert shlex.split(FINAL.one("ENV")) == config["Env"]
    assert {port: {} for port in FINAL.one("EXPOSE").split()} == config["ExposedPorts"]


def test_labels_are_the_same() -> None:
    pairs = [each.partition("=")[::2] for each in shlex.split(FINAL.one("LABEL"))]
    assert dict(pairs) == layout.config()["Labels"]


def test_it_holds_what_the_archive_holds_and_nothing_else() -> None:
    assert FINAL.base == "scratch"
    assert FINAL.all("COPY") == [
        "--from=root /out/base /",
        "--from=tools /out /",
        "--from=root /out/dependencies /",
        "--from=root /out/application /",
    ]
    assert FINAL.all("RUN") == []


def test_it_begins_with_nothing_but_images_by_digest() -> None:
    """The bases are arguments without a default, and what gives them refuses a tag alone."""
    assert STAGES["bases"].all("ARG") == list(layout.BASES)
    begun = [stage.base for name, stage in STAGES.items() if name not in ("bases", "")]
    assert begun == [f"${{{argument}}}" for argument in layout.BASES]
    digests = {name: f"sha256:{number:064x}" for number, name in enumerate(layout.BASES.values())}
    told = bases.arguments(digests)
    assert told == [f"--build-arg={key}={name}@{digests[name]}" for key, name in layout.BASES.items()]
    name = layout.BASES["DEBIAN_IMAGE"]
    for bad in ("", "latest", "sha256:12", f"sha256:{'A' * 64}"):
        with pytest.raises(ImageError, match=f"no digest for {name}: run `make bases`"):
            bases.arguments({**digests, name: bad})
    assert set(bases.locked()) <= set(layout.BASES.values())


def test_the_digests_are_those_that_the_registry_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for Docker's command, which cannot ask a registry here: what is asked, and what is made of its answer."""
    digest = f"sha256:{7:064x}"
    docker, log = tmp_path / "docker", tmp_path / "log"
    monkeypatch.setattr(bases, "LOCK", tmp_path / "bases.json")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for answer, code in (("unauthorized", 1), ("a page", 0)):
        docker.write_text(f"#!/bin/sh\necho {answer}\nexit {code}\n")
        docker.chmod(0o755)
        with pytest.raises(ImageError, match=f"golang:.*: {answer}"):
            bases.refresh()
    assert not bases.LOCK.exists()
    docker.write_text(f'#!/bin/sh\necho "$@" >>{log}\necho {digest}\n')
    bases.refresh()
    asked = [f"{' '.join(bases.INSPECT[1:])} {name}" for name in layout.BASES.values()]
    assert log.read_text().splitlines() == asked
    assert bases.locked() == dict.fromkeys(layout.BASES.values(), digest)


def test_only_what_the_operator_starts_is_in_it() -> None:
    assert (Settings().kustomize,) == layout.TOOLS


def test_python_comes_from_the_same_debian() -> None:
    assert layout.BASES["DEBIAN_IMAGE"] == f"debian:{layout.SUITE}-slim"
    assert STAGES["root"].all("RUN")[-1].endswith("python3 -m image root /out")


@pytest.mark.parametrize("name", layout.TOOLS)
def test_a_tool_is_built_of_the_pinned_module_with_the_same_flags(name: str) -> None:
    tool, stage = binaries.TOOL[name], STAGES["tools"]
    source = f"tests/kit/cluster/tools/{tool.family}"
    assert f"{source} /src/{tool.family}" in stage.all("COPY")
    (command,) = [rest for rest in stage.all("RUN") if rest.endswith(f" {tool.package}")]
    words = shlex.split(re.sub(r"--mount=\S+ ", "", command))
    assert words[:4] == ["GOOS=$TARGETOS", "GOARCH=$TARGETARCH", "go", "build"]
    assert words[4:] == [*binaries.flags(), "-o", f"/out/{layout.PROGRAMS}/{name}", tool.package]
    assert shlex.split(stage.one("ENV")) == ["CGO_ENABLED=0", "GOWORK=off", "GOFLAGS="]


def test_go_is_new_enough_and_builds_for_the_machine_that_is_asked_for() -> None:
    version = re.fullmatch(rf"golang:(\d+)\.(\d+)-{layout.SUITE}", layout.BASES["GO_IMAGE"])
    assert version
    assert (int(version[1]), int(version[2])) >= binaries.OLDEST_GO
    assert "FROM --platform=$BUILDPLATFORM ${GO_IMAGE} AS tools" in TEXT
    assert STAGES["tools"].all("ARG") == ["TARGETOS", "TARGETARCH"]


def test_the_builder_gets_all_that_is_copied() -> None:
    copied = [
        word for name in ("tools", "root") for rest in STAGES[name].all("COPY") for word in rest.split()[:-1]
    ]
    allowed = [line.removeprefix("!") for line in IGNORED.splitlines() if line.startswith("!")]
    assert [path for path in copied if not any(f"{path}/".startswith(f"{each}/") for each in allowed)] == []
    assert all((layout.ROOT / path).exists() for path in copied)
