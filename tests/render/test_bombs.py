"""Commits of which little becomes much: what a build prints, and what plain manifests become."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from tests.kit.gitfolder import GitFolder
from tests.kit.memorytree import MemoryTree
from tests.render.conftest import config, sync_spec

from setpoint.api.budgets import Budgets
from setpoint.api.reasons import Problem, Reason
from setpoint.render.inputs import gather
from setpoint.render.program import LIMITS, Program
from setpoint.render.renderer import Renderer

pytestmark = pytest.mark.asyncio
FEW = Budgets(max_objects=5, max_render_size=1_000, max_input_size=5_000, max_yaml_values=60)


@pytest_asyncio.fixture
async def few(kustomize: Path, tmp_path: Path) -> AsyncIterator[Renderer]:
    made = Renderer(
        Program(kustomize, replace(LIMITS, output=FEW.max_render_size)), tmp_path / "work", budgets=FEW
    )
    yield made
    made.close()


async def refusal(renderer: Renderer, repo: GitFolder, path: str) -> str:
    tree, spec = repo.commit(), sync_spec(path=path)
    with pytest.raises(Problem) as raised:
        await renderer.render(tree, spec, gather(tree, spec))
    assert raised.value.reason is Reason.TooLarge
    assert not raised.value.transient
    return raised.value.message


async def test_a_kustomization_of_a_few_lines_that_makes_megabytes(
    kustomize: Path, tmp_path: Path, repo: GitFolder
) -> None:
    """One file in many objects, each no larger than it may be. kustomize takes seconds for 64 MiB, so here are 3 of 1 allowed."""
    generators = "".join(f"- {{name: a{n}, files: [big]}}\n" for n in range(10))
    repo.put(
        {"k/kustomization.yaml": f"configMapGenerator:\n{generators}", "k/big": ("x" * 99 + "\n") * 3_000}
    )
    program = Program(kustomize, replace(LIMITS, output=2**20))
    renderer = Renderer(program, tmp_path / "work", budgets=Budgets(max_render_size=2**20))
    tracemalloc.start()
    try:
        message = await refusal(renderer, repo, "k")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        renderer.close()
    assert message == (
        "k, as built by kustomize: at least 1,048,576 bytes of manifests, more than the 1,048,576 of "
        "settings.maxRenderSize; make several Syncs of it, or raise the setting"
    )
    assert peak < 10 * 2**20


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({f"{n}.yaml": config(f"a{n}") for n in range(6)}, "5.yaml: at least 6 objects, more than the 5 of settings.maxObjects; "),
        ({"a.yaml": "---\n".join(config(f"a{n}") for n in range(6))}, "a.yaml: at least 6 objects, more than the 5 of settings.maxObjects; "),
        ({f"{n}.yaml": f"{config(f'a{n}')}data: {{k: '{'x' * 300}'}}\n" for n in range(4)}, "p: 1,"),
        ({f"{n}.yaml": "#" * 2_000 for n in range(3)}, "2.yaml: at least 6,000 bytes of files, more than the 5,000 of settings.maxInputSize; "),
        ({f"{n}.yaml": "a: [" + "{}, " * 25 + "]" for n in range(3)}, "values in YAML or JSON, aliases resolved, more than the 60 of settings.maxYamlValues; "),
        ({f"{n}.yaml": "a: {b: c}\n---\n" * 6 for n in range(3)}, "values in YAML or JSON, aliases resolved, more than the 60 of settings.maxYamlValues; "),
    ],
    ids=["files", "documents", "bytes", "read", "values", "skipped"],
)  # fmt: skip
async def test_plain_manifests_count_together(
    few: Renderer, repo: GitFolder, files: dict[str, str], words: str
) -> None:
    message = await refusal(few, repo.put({f"p/{name}": text for name, text in files.items()}), "p")
    assert words in message


async def test_a_file_that_many_links_lead_to_is_read_so_often_and_no_more(
    few: Renderer, repo: GitFolder
) -> None:
    repo.put({"big": "#" * 2_000})
    for n in range(100):
        repo.link(f"p/{n:03}.yaml", "../big")
    assert "002.yaml: at least 6,000 bytes of files" in await refusal(few, repo, "p")


async def test_what_a_build_reads_and_makes_counts_too(few: Renderer, repo: GitFolder) -> None:
    repo.put({"k/kustomization.yaml": "resources: [a.yaml]", "k/a.yaml": "#" * 6_000})
    assert "k/a.yaml: at least 6,0" in await refusal(few, repo, "k")
    repo.put({"k/a.yaml": "---\n".join(config(f"a{n}") for n in range(6))})
    assert (
        "k (as built by kustomize): at least 6 objects, more than the 5 of settings.maxObjects; "
        in await refusal(few, repo, "k")
    )
    repo.put({"k/a.yaml": config("a")})
    tree, spec = repo.commit(), sync_spec(path="k")
    assert len((await few.render(tree, spec, gather(tree, spec))).objects) == 1


async def test_a_file_counts_as_often_as_a_build_copies_it(few: Renderer, repo: GitFolder) -> None:
    """The export lies in memory by default, and kustomize gets a copy for each folder that names it."""
    names = [f"sub{n}" for n in range(20)]
    repo.put({"big": "#" * 2_000, "k/kustomization.yaml": f"resources: [{', '.join(names)}]"})
    repo.put({f"k/{n}/kustomization.yaml": "configMapGenerator: [{files: [../../big]}]" for n in names})
    assert "bytes of files, more than the 5,000 of settings.maxInputSize" in await refusal(few, repo, "k")


async def test_what_nested_kustomizations_share_counts_for_each(
    kustomize: Path, tmp_path: Path, repo: GitFolder
) -> None:
    generator = "configMapGenerator: [{name: a, files: [big]}]"
    repo.put({"base/kustomization.yaml": generator, "base/big": "#" * 2_000})
    repo.put({f"p/{n}/kustomization.yaml": "resources: [../../base]" for n in range(3)})
    renderer = Renderer(Program(kustomize), tmp_path / "work", budgets=Budgets(max_input_size=5_000))
    words = await refusal(renderer, repo, "p")
    renderer.close()
    assert "bytes of files, more than the 5,000 of settings.maxInputSize" in words


async def test_what_nested_kustomizations_refer_to_is_added_up_before_anything_is_built() -> None:
    files = {f"p/{n}/kustomization.yaml": "resources: [../../base]" for n in range(20)}
    files |= {f"base/{n}.yaml": config(f"a{n}") for n in range(10)}
    files["base/kustomization.yaml"] = f"resources: [{', '.join(f'{n}.yaml' for n in range(10))}]"
    spec, most = sync_spec(path="p"), Budgets(max_files=100)
    with pytest.raises(
        Problem, match=r"base/kustomization\.yaml: at least 1[01]\d files, more than the 100"
    ) as raised:
        gather(MemoryTree(files), spec, most)
    assert raised.value.reason is Reason.TooLarge
    assert gather(MemoryTree(files), spec, Budgets(max_files=300)).builds
