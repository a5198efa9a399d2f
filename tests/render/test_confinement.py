"""A repository's kustomizations read nothing but the repository, however a reference to the operator's files is spelled."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from tests.kit.gitfolder import GitFolder
from tests.render.conftest import LONG_S, TOKEN, Render, config, names, refused, shows

from setpoint.api.reasons import Problem, Reason

pytestmark = pytest.mark.asyncio
# What each honest `../` was good for: it took kustomize's own restriction off.
HONEST = "configMapGenerator: [{name: honest, files: [../ok.txt]}]\n"


@pytest.fixture
def hostile(repo: GitFolder) -> GitFolder:
    repo.put({"ok.txt": "K=v", "k/a.yaml": config("a"), "b.yaml": config("b"), "p.yaml": "[]"})
    return repo


ATTACK = "configMapGenerator: [{name: a, Files: [../ok.txt], files: [%s]}]"


@pytest.mark.parametrize(
    "above",
    [
        "resources: [../deep/er]\n",
        "bases: [../deep/er]\n",
        "resources: [a.yaml]\ncomponents: [../deep/er]\n",
        "resources: [../link]\n",
        "generators: [../deep/er]\n",
        "transformers: [../deep/er]\n",
        "resources: [a.yaml]\nvalidators: [../deep/er]\n",
        "resources: [a.yaml, 'x/../../deep/er']\n",
    ],
)
async def test_a_kustomization_at_any_depth_is_read_as_it_was_understood(
    above: str, hostile: GitFolder, render: Render, token: Path
) -> None:
    kind = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n" if "components" in above else ""
    hostile.put(
        {"k/kustomization.yaml": f"{above}{HONEST}", "deep/er/kustomization.yml": f"{kind}{ATTACK % token}"}
    )
    hostile.link("link", "deep/er")
    message = await refused(render, hostile.commit(), path="k")
    assert message.startswith("deep/er/kustomization.yml:")


async def test_a_component_of_the_overlay_is_no_way_out(
    hostile: GitFolder, render: Render, token: Path
) -> None:
    kind = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
    hostile.put(
        {"c/kustomization.yaml": f"{kind}{ATTACK % token}", "k/kustomization.yaml": "resources: [a.yaml]"}
    )
    tree = hostile.commit()
    for path in ("k", "plain"):
        hostile.put({"plain/a.yaml": config("a")})
        tree = hostile.commit()
        message = await refused(render, tree, path=path, kustomize={"components": ["../c"]})
        assert message.startswith("c/kustomization.yaml:")
        assert "'Files' and 'files'" in message


@pytest.mark.parametrize("field", ["generators", "transformers", "validators"])
async def test_a_folder_whose_name_looks_like_an_object_is_not_read_unseen(
    field: str, hostile: GitFolder, render: Render, token: Path
) -> None:
    """What we take for the object itself, and kustomize for a path, or goes up by the text and we by the files."""
    for text in (
        "x\ny",
        "{apiVersion: builtin, kind: A, metadata: {}}",
        "{a: b}#/../../deep",
        "\ta: b\n/../sub",
    ):
        hostile.put({"k/kustomization.yaml": f"resources: [a.yaml]\n{field}: [{json.dumps(text)}]\n{HONEST}"})
        for folder in ("deep", "sub", "k/sub", "k/x\ny", "k/{apiVersion: builtin, kind: A, metadata: {}}"):
            hostile.put({f"{folder}/kustomization.yaml": ATTACK % token})
        await refused(render, hostile.commit(), path="k")


@pytest.mark.parametrize("reach", ["{token}", "../../../../../../../../../../{token}"])
@pytest.mark.parametrize("kind", ["ConfigMapGenerator", "SecretGenerator"])
async def test_a_configuration_of_a_plugin_reads_its_folder_alone(
    hostile: GitFolder, render: Render, token: Path, kind: str, reach: str
) -> None:
    head = f"apiVersion: builtin\nkind: {kind}\nmetadata: {{name: g}}\n"
    path = reach.format(token=token)
    hostile.put({"k/kustomization.yaml": f"generators: [g.yaml]\n{HONEST}"})
    values = {
        "files": f"['t={path}']",
        "Files": f"[{path}]",
        f"file{LONG_S}": f"[{path}]",
        "envs": f"[{path}]",
        "env": path,
    }
    for key, value in values.items():
        hostile.put({"k/g.yaml": f"{head}{key}: {value}\n"})
        try:
            said = shows(await render(hostile.commit(), path="k"))
        except Problem as problem:
            said = f"{problem.reason}: {problem.message}"
        assert TOKEN not in said
        assert base64.b64encode(TOKEN.encode()).decode()[:20] not in said
        if key in ("files", "envs"):
            assert said.startswith(str(Reason.RenderFailed))
            assert "outside of the kustomization's folder" in said


async def test_a_file_under_another_name_is_no_kustomization(
    hostile: GitFolder, render: Render, token: Path
) -> None:
    """What we did not read as a kustomization cannot be read as one: kustomize takes three names, in this order."""
    text = f"configMapGenerator: [{{name: g, files: [t={token}]}}]"
    hostile.put({"k/kustomization.yaml": "generators: [sub]\n", "k/sub/Kustomization": text})
    await refused(render, hostile.commit(), path="k")


async def test_what_was_not_read_as_a_kustomization_is_not_given_to_kustomize_as_one(
    hostile: GitFolder, render: Render, token: Path
) -> None:
    """A folder counts as a whole where plugins are configured; its other kustomizations stay unread."""
    label = "apiVersion: builtin\nkind: LabelTransformer\nmetadata: {name: l}\nlabels: {a: b}\nfieldSpecs: [{path: metadata/labels, create: true}]\n"
    hostile.put(
        {"k/kustomization.yaml": f"resources: [a.yaml]\ntransformers: [t.yaml]\n{HONEST}", "k/t.yaml": label}
    )
    hostile.put({"k/sub/kustomization.yaml": ATTACK % token})
    made = await render(hostile.commit(), path="k")
    assert TOKEN not in shows(made)
    assert len(made.objects) == 2


async def test_a_link_that_leads_nowhere_now_does_not_lead_out_through_our_own_folder(
    hostile: GitFolder, render: Render, token: Path
) -> None:
    up = "/".join([".setpoint", *[".."] * 12]) + str(token)
    hostile.put({"k/kustomization.yaml": f"generators: [g.yaml]\n{HONEST}"}).link("k/way", up)
    hostile.put(
        {"k/g.yaml": "apiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: g}\nfiles: [way]\n"}
    )
    await refused(render, hostile.commit(), path="k")


async def test_copies_of_files_from_elsewhere_keep_name_and_place(
    repo: GitFolder, render: Render, placed: Render
) -> None:
    repo.put(
        {
            "k/kustomization.yaml": "resources: [../x/a.yaml, ../y/a.yaml]\nconfigMapGenerator: [{name: c, files: [../x/f, k=../y/f]}]\n"
        }
    )
    repo.put(
        {"x/a.yaml": config("x"), "y/a.yaml": config("y"), "x/f": "1", "y/f": "2", "k/.setpoint/f": "mine"}
    )
    made = await placed(repo.commit(), path="k")
    found = {name.split("-")[0]: each for each, name in zip(made.objects, names(made), strict=True)}
    assert {name: each.file for name, each in found.items()} == {
        "x": "x/a.yaml",
        "y": "y/a.yaml",
        "c": "k/kustomization.yaml",
    }
    assert found["c"].manifest["data"] == {"f": "1", "k": "2"}


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"k/kustomization.yaml": "resources: [../x/a.yaml]\n", "x/a.yaml": "a: b\n"}, "x/a.yaml: an object has no kind"),
        ({"k/kustomization.yaml": "resources: [../x/a.yaml]\n", "x/a.yaml": "a: b: c\n"}, "x/a.yaml:1: "),
        ({"k/kustomization.yaml": "resources: [../x/a.yaml, ../y/a.yaml]\n", "x/a.yaml": config("a"), "y/a.yaml": config("a")}, "y/a.yaml: ConfigMap/a is defined twice"),
        ({"k/kustomization.yaml": "configMapGenerator: [{name: c, envs: [../x/e]}]\n", "x/e": b"\xff=3\n"}, "k/kustomization.yaml: an env file has a line that is not UTF-8"),
    ],
)  # fmt: skip
async def test_messages_name_the_true_file_of_a_copy(
    files: dict[str, str | bytes], said: str, repo: GitFolder, problem_of: Render
) -> None:
    message = await problem_of(repo.put(files).commit(), path="k")
    assert message.startswith(said)
    assert ".setpoint" not in message


async def test_nothing_of_our_questions_is_in_what_is_built(repo: GitFolder, render: Render) -> None:
    """A note of origin that we ask for could be copied, selected by, or patched."""
    origin = "metadata.annotations.[config.kubernetes.io/origin]"
    repo.put(
        {
            "k/kustomization.yaml": "resources: [a.yaml, b.yaml]\npatches:\n"
            '- {target: {annotationSelector: config.kubernetes.io/origin}, patch: \'[{"op": "add", "path": "/data", "value": {"x": "y"}}]\'}\n',
            "k/a.yaml": config("a"),
            "k/b.yaml": config("b"),
            "r/kustomization.yaml": "resources: [../k/a.yaml, ../k/b.yaml]\nreplacements:\n"
            f"- {{source: {{kind: ConfigMap, name: a, fieldPath: '{origin}'}}, targets: [{{select: {{name: b}}, fieldPaths: [data.x], options: {{create: true}}}}]}}\n",
        }
    )
    tree = repo.commit()
    made = await render(tree, path="k")
    assert [each.manifest for each in made.objects] == [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}} for name in ("a", "b")
    ]
    with pytest.raises(Problem):
        await render(tree, path="r")


@pytest.mark.parametrize("namespace", [None, "prod"])
async def test_notes_that_people_ask_for_name_true_paths_under_an_overlay_too(
    namespace: str | None, repo: GitFolder, render: Render
) -> None:
    repo.put(
        {
            "k/kustomization.yaml": "resources: [a.yaml, ../x/b.yaml, ../base]\nbuildMetadata: [originAnnotations]\n"
        }
    )
    repo.put({"k/a.yaml": config("a"), "x/b.yaml": config("b"), "x/c.yaml": config("c")})
    repo.put({"base/kustomization.yaml": "resources: [../x/c.yaml]\n"})
    made = await render(repo.commit(), path="k", **({"targetNamespace": namespace} if namespace else {}))
    notes = [each.manifest["metadata"]["annotations"]["config.kubernetes.io/origin"] for each in made.objects]
    assert notes == ["path: a.yaml\n", "path: ../x/b.yaml\n", "path: ../x/c.yaml\n"]
