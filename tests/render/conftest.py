"""A repository, a spec and a renderer for each test."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.kit.cluster import binaries
from tests.kit.gitfolder import GitFolder

from setpoint.api.reasons import Problem, Reason
from setpoint.api.sync import SyncSpec
from setpoint.render.inputs import gather
from setpoint.render.program import Program
from setpoint.render.renderer import Rendered, Renderer
from setpoint.tree.protocol import Tree

TOKEN = "eyJhbGciOi-token-of-the-operator"
"""What a repository must not get at: it stands in a file of the machine, as a ServiceAccount's does in the pod."""
LONG_S, KELVIN = "\u017f", "\u212a"
CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\n"


def sync_spec(**fields: Any) -> SyncSpec:
    return SyncSpec.model_validate({"source": {"name": "s"}, **fields})


def config(name: str) -> str:
    """A ConfigMap as text."""
    return CONFIG % name


@pytest.fixture
def token(tmp_path: Path) -> Path:
    """A file of the machine with `TOKEN`, readable as a value and as a line of an env file."""
    file = tmp_path / "var/run/secrets/token"
    file.parent.mkdir(parents=True)
    file.write_text(f"TOKEN={TOKEN}")
    return file


def shows(made: Rendered) -> str:
    """All that was built, as text."""
    return json.dumps([each.manifest for each in made.objects])


async def refused(render: Render, tree: Tree, **fields: Any) -> str:
    """The words of the refusal; fails if anything is built, and shows what."""
    with pytest.raises(Problem) as raised:
        pytest.fail(f"it was built: {shows(await render(tree, **fields))[:400]}")
    assert raised.value.reason is Reason.RenderFailed
    assert TOKEN not in raised.value.message
    assert "render-" not in raised.value.message, "a path of this machine is said"
    return raised.value.message


@pytest.fixture(scope="session")
def kustomize() -> Path:
    return binaries.ensure("kustomize")["kustomize"]


@pytest.fixture
def repo(tmp_path: Path) -> GitFolder:
    return GitFolder(tmp_path / "repo")


@pytest_asyncio.fixture
async def renderer(kustomize: Path, tmp_path: Path) -> AsyncIterator[Renderer]:
    made = Renderer(Program(kustomize), tmp_path / "work")
    try:
        yield made
    finally:
        made.close()
    assert list((tmp_path / "work").glob("*")) == [], "an export was left behind"


Render = Callable[..., Any]


@pytest.fixture
def render(renderer: Renderer) -> Render:
    """`await render(tree, **spec)` -> Rendered."""

    async def of(tree: Tree, **fields: Any) -> Rendered:
        spec = sync_spec(**fields)
        return await renderer.render(tree, spec, gather(tree, spec))

    return of


@pytest.fixture
def placed(renderer: Renderer) -> Render:
    """`await placed(tree, **spec)` -> Rendered, each object with the file that it comes from."""

    async def of(tree: Tree, **fields: Any) -> Rendered:
        spec = sync_spec(**fields)
        return await renderer.placed(tree, spec, gather(tree, spec))

    return of


@pytest.fixture
def problem_of(render: Render) -> Render:
    """`await problem_of(tree, reason, **spec)` -> the message of the Problem that rendering ends with."""

    async def of(tree: Tree, reason: Reason = Reason.RenderFailed, **fields: Any) -> str:
        with pytest.raises(Problem) as raised:
            await render(tree, **fields)
        assert raised.value.reason is reason
        return raised.value.message

    return of


def names(rendered: Rendered) -> list[str]:
    return [each.manifest["metadata"]["name"] for each in rendered.objects]
