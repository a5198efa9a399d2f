"""A repository, a spec and a renderer for each test."""

from __future__ import annotations

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
from setpoint.render.renderer import Rendered, Renderer
from setpoint.tree.protocol import Tree

CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\n"


def sync_spec(**fields: Any) -> SyncSpec:
    return SyncSpec.model_validate({"source": {"name": "s"}, **fields})


def config(name: str) -> str:
    """A ConfigMap as text."""
    return CONFIG % name


@pytest.fixture(scope="session")
def kustomize() -> Path:
    return binaries.ensure("kustomize")["kustomize"]


@pytest.fixture
def repo(tmp_path: Path) -> GitFolder:
    return GitFolder(tmp_path / "repo")


@pytest_asyncio.fixture
async def renderer(kustomize: Path, tmp_path: Path) -> AsyncIterator[Renderer]:
    made = Renderer(kustomize, tmp_path / "work")
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
