"""What a Sync's path depends on: exactly that is in the digest, and everything else is not."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kit.gitfolder import GitFolder
from tests.render.conftest import config, sync_spec

from setpoint.api.reasons import Problem, Reason
from setpoint.render.inputs import Flavour, gather
from setpoint.tree.local import LocalTree
from setpoint.tree.protocol import Tree

REPOSITORY: dict[str, str | bytes] = {
    "README.md": "read me",
    "apps/web/kustomization.yaml": """
resources: [../../base, deployment.yaml]
components: [../../components/tls]
configMapGenerator: [{name: c, files: [app.conf, key=other.conf], envs: [vars.env]}]
secretGenerator: [{name: s, env: secret.env}]
patches: [{path: patch.yaml}, {patch: "[]", target: {kind: Secret}}]
patchesStrategicMerge: [merge.yaml, "apiVersion: v1\\nkind: ConfigMap\\nmetadata: {name: base}\\n"]
replacements: [{path: replacement.yaml}]
configurations: [names.yaml]
crds: [crd.json]
openapi: {path: schema.json}
""",
    "apps/web/README.md": "not read by kustomize",
    **{
        f"apps/web/{name}": name
        for name in ("app.conf", "other.conf", "vars.env", "secret.env", "patch.yaml")
    },
    **{
        f"apps/web/{name}": name
        for name in ("merge.yaml", "replacement.yaml", "names.yaml", "crd.json", "schema.json")
    },
    "apps/web/deployment.yaml": config("web"),
    "apps/api/one.yaml": config("one"),
    "apps/api/sub/two.json": "{}",
    "apps/api/notes.txt": "notes",
    "apps/api/.hidden/three.yaml": "x: y",
    "apps/api/nested/kustomization.yml": "resources: [../../../base]\n",
    "base/kustomization.yaml": "resources: [config.yaml]\n",
    "base/config.yaml": config("base"),
    "base/unused.yaml": config("unused"),
    "components/tls/kustomization.yaml": "kind: Component\napiVersion: kustomize.config.k8s.io/v1alpha1\npatches: [{path: tls.yaml}]\n",
    "components/tls/tls.yaml": "{}",
    "open/kustomization.yaml": "newField: [anything]\nresources: [a.yaml]\n",
    "open/a.yaml": config("a"),
    "plugin/kustomization.yaml": "transformers: [label.yaml]\nresources: [a.yaml]\n",
    "plugin/a.yaml": config("a"),
    "plugin/label.yaml": "apiVersion: builtin\nkind: LabelTransformer\nmetadata: {name: l}\nlabels: {a: b}\n",
    "plugin/deep/file.txt": "maybe read",
}

WEB = sorted(
    [path for path in REPOSITORY if path.startswith("apps/web/") and not path.endswith(".md")]
    + ["base/config.yaml", "base/kustomization.yaml"]
    + ["components/tls/kustomization.yaml", "components/tls/tls.yaml"]
)  # fmt: skip
API = [
    "apps/api/nested/kustomization.yml",
    "apps/api/one.yaml",
    "apps/api/sub/two.json",
    "base/config.yaml",
    "base/kustomization.yaml",
]


@pytest.mark.parametrize(
    ("path", "flavour", "paths"),
    [
        ("./apps/web/", Flavour.KUSTOMIZE, WEB),
        ("apps/api", Flavour.PLAIN, API),
        ("apps/../base", Flavour.KUSTOMIZE, ["base/config.yaml", "base/kustomization.yaml"]),
    ],
)
def test_the_inputs_are_every_file_that_is_read(
    repo: GitFolder, path: str, flavour: Flavour, paths: list[str]
) -> None:
    found = gather(repo.put(REPOSITORY).commit(), sync_spec(path=path))
    assert found.flavour is flavour
    assert list(found.paths) == paths


def test_a_kustomization_with_an_unknown_field_is_refused(repo: GitFolder) -> None:
    tree = repo.put(REPOSITORY).commit()
    text = message(tree, Reason.RenderFailed, path="open")
    assert text == "open/kustomization.yaml:1: there is no field 'newField' in a kustomization"


def test_generators_and_transformers_count_their_whole_folder(repo: GitFolder) -> None:
    before = gather(repo.put(REPOSITORY).commit(), sync_spec(path="plugin"))
    elsewhere = gather(repo.put({"README.md": "changed"}).commit(), sync_spec(path="plugin"))
    inside = gather(repo.put({"plugin/deep/file.txt": "changed"}).commit(), sync_spec(path="plugin"))
    assert before.digest == elsewhere.digest != inside.digest


SPECS: list[dict[str, Any]] = [
    {"path": "apps/web"},
    {"path": "apps/api"},
    {"path": "apps/api", "exclude": ["sub"]},
    {"path": "apps/api", "kustomize": {"components": ["../../components/tls"]}},
    {"path": "base", "targetNamespace": "x"},
    {"path": "plugin"},
]


@settings(max_examples=15)
@given(st.data())
def test_a_commit_changes_the_digests_of_those_syncs_alone_that_read_a_changed_file(
    data: st.DataObject,
) -> None:
    changed = data.draw(st.lists(st.sampled_from(sorted(REPOSITORY)), unique=True, max_size=3))
    content = {path: text for path, text in REPOSITORY.items() if isinstance(text, str)}
    with TemporaryDirectory() as folder:
        repo = GitFolder(Path(folder))
        old = repo.put(REPOSITORY).commit()
        new = repo.put({path: content[path] + "\n" for path in changed}).put({"new/file.yaml": "x"}).commit()
        for fields in SPECS:
            before, after = (gather(tree, sync_spec(**fields)) for tree in (old, new))
            touched = {
                path
                for path in changed
                for each in before.paths
                if path == each or path.startswith(f"{each}/")
            }
            assert (before.digest != after.digest) == bool(touched), fields


def test_the_digest_depends_on_the_parts_of_the_spec_that_rendering_uses(repo: GitFolder) -> None:
    tree = repo.put(REPOSITORY).commit()
    base = {"path": "base"}
    variants: list[dict[str, Any]] = [
        base,
        {**base, "targetNamespace": "x"},
        {**base, "kustomize": {"namePrefix": "a-"}},
        {**base, "kustomize": {"namePrefix": "b-"}},
        {"path": "apps/api"},
        {"path": "apps/api", "exclude": ["sub/"]},
    ]
    digests = [gather(tree, sync_spec(**fields)).digest for fields in variants]
    assert len(set(digests)) == len(variants)
    same = gather(tree, sync_spec(**base, suspend=True, interval="5m", prune=False)).digest
    assert same == digests[0]


def test_unchanged_folders_are_not_listed_again(repo: GitFolder) -> None:
    files = {f"many/{n}/{m}.yaml": config(f"c{n}-{m}") for n in range(20) for m in range(5)}
    gather(repo.put({**files}).commit(), sync_spec(path="many"))
    again = repo.put({"elsewhere.txt": "x"}).commit()
    gather(again, sync_spec(path="many"))
    assert again.looked_up < 12
    one_changed = repo.put({"many/3/0.yaml": config("other")}).commit()
    assert len(gather(one_changed, sync_spec(path="many")).manifests) == 100
    assert one_changed.looked_up < 110


def message(tree: Tree, reason: Reason, **fields: Any) -> str:
    with pytest.raises(Problem) as raised:
        gather(tree, sync_spec(**fields))
    assert raised.value.reason is reason
    return raised.value.message


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("gone", "spec.path 'gone' does not exist in the commit"),
        ("apps/web/patch.yaml", "spec.path 'apps/web/patch.yaml' is a file; name its folder"),
        ("../..", "spec.path: '../..' leaves the repository"),
        ("apps/../../x", "spec.path: 'apps/../../x' leaves the repository"),
        ("up", "spec.path: up is a symlink that leaves the repository"),
        ("up/etc", "spec.path: up is a symlink that leaves the repository"),
        ("root/etc", "spec.path: root is a symlink to '/', which leaves the repository"),
        ("loop/x", "spec.path: loop is a symlink that leads back to itself"),
    ],
)
def test_a_path_that_is_no_folder_of_the_repository_is_named(repo: GitFolder, path: str, text: str) -> None:
    repo.put(REPOSITORY).link("up", "../..").link("root", "/").link("loop", "loop")
    assert message(repo.commit(), Reason.PathNotFound, path=path) == text


def test_an_absolute_path_is_refused_even_where_the_api_did_not(repo: GitFolder) -> None:
    spec = sync_spec().model_copy(update={"path": "/etc"})
    with pytest.raises(Problem, match=r"spec\.path: '/etc' is absolute") as raised:
        gather(repo.commit(), spec)
    assert raised.value.reason is Reason.PathNotFound


def test_a_symlink_that_stays_inside_is_followed(repo: GitFolder) -> None:
    repo.put(REPOSITORY).link("current", "apps/web").link(
        "apps/api/shared.yaml", "../../base/config.yaml"
    ).link("apps/api/more", "../../open2")
    tree = repo.put({"open2/b.yaml": config("b")}).commit()
    assert gather(tree, sync_spec(path="current")).folder == "apps/web"
    found = gather(tree, sync_spec(path="apps/api"))
    assert [(m.shown, m.entry.path) for m in found.manifests] == [
        ("apps/api/more/b.yaml", "open2/b.yaml"),
        ("apps/api/one.yaml", "apps/api/one.yaml"),
        ("apps/api/shared.yaml", "base/config.yaml"),
        ("apps/api/sub/two.json", "apps/api/sub/two.json"),
    ]
    changed = repo.put({"open2/b.yaml": config("c")}).commit()
    assert gather(changed, sync_spec(path="apps/api")).digest != found.digest


@pytest.mark.parametrize(
    ("link", "target", "text"),
    [
        ("p/a.yaml", "/etc/passwd", "p/a.yaml is a symlink to '/etc/passwd', which leaves the repository"),
        ("p/a", "../../x", "p/a is a symlink that leaves the repository"),
        ("p/sub/self", "..", "p/sub/self is a symlink that leads back to a folder above it"),
        ("p/a.yaml", "gone.yaml", "p/a.yaml is a symlink that leads nowhere"),
    ],
)
def test_a_symlink_in_the_folder_that_leads_nowhere_good_is_named(
    repo: GitFolder, link: str, target: str, text: str
) -> None:
    tree = repo.put({"p/x.yaml": config("x")}).link(link, target).commit()
    assert message(tree, Reason.RenderFailed, path="p").startswith(text)
    assert gather(tree, sync_spec(path="p", exclude=[link.removeprefix("p/")])).paths == ("p/x.yaml",)


def test_an_unknown_field_is_named_and_an_unrelated_symlink_is_not(repo: GitFolder) -> None:
    repo.put({"p/kustomization.yaml": "resorces: [a.yaml]\n", "p/a.yaml": config("a")})
    tree = repo.link("elsewhere/x", "/etc/passwd").commit()
    text = message(tree, Reason.RenderFailed, path="p")
    assert text == "p/kustomization.yaml:1: there is no field 'resorces' in a kustomization"


def test_symlinks_that_multiply_end(repo: GitFolder) -> None:
    for level in range(20):
        repo.put({f"l{level}/x.yaml": config("x")})
        for n in range(2):
            repo.link(f"l{level}/{n}", f"../l{level + 1}")
    text = message(repo.put({"l20/x.yaml": config("x")}).commit(), Reason.TooLarge, path="l0")
    assert "at least 1,001 symlinks to folders, more than the 1,000 of settings.maxLinks; " in text


KUSTOMIZATIONS = [
    ("resources: [https://user:secret@example.org/x.yaml?ref=1]", "names 'https://example.org/x.yaml', which is remote"),
    ("resources: [git::https://example.org/a/b]", "names 'git::https://example.org/a/b', which is remote"),
    ("bases: [github.com/a/b//c]", "names 'github.com/a/b//c', which is remote"),
    ("components: ['git@example.org:a/b.git']", "which is remote"),
    ("patches: [{path: https://example.org/p.yaml}]", "patches.path names 'https://example.org/p.yaml', which is remote"),
    ("resources: [gone.yaml]", "resources names 'gone.yaml', which does not exist in the repository"),
    ("resources: [/etc/passwd]", "resources: '/etc/passwd' is absolute"),
    ("configMapGenerator: [{name: a, files: [k=../../../x]}]", "configMapGenerator.files: '../../../x' leaves the repository"),
    ("resources: [folder]", "resources names 'folder', which is a folder without a kustomization.yaml"),
    ("components: [a.yaml]", "components names 'a.yaml', which is a file, not a folder"),
    ("patches: [{path: folder}]", "patches.path names 'folder', which is a folder, not a file"),
    ("helmCharts: [{name: x}]", "helmCharts inflates Helm charts, which is not supported"),
    ("helmChartInflationGenerator: [{chartName: x}]", "helmChartInflationGenerator inflates Helm charts"),
    ("generators: [exec.yaml]", "k/exec.yaml: Secrets is a kustomize plugin; only those built into kustomize"),
    ("transformers: ['{apiVersion: a/v1, kind: B, metadata: {name: x}}']", "B is a kustomize plugin"),
    ("generators: ['{apiVersion: builtin, kind: HelmChartInflationGenerator, metadata: {name: x}}']", "inflating Helm charts is not"),
    ("resources: [a.yaml]\nresources: [a.yaml]", "k/kustomization.yaml:2: duplicate key 'resources'"),
    ("- a", "the kustomization is empty or not a mapping"),
    ("", "the kustomization is empty or not a mapping"),
    ("Resources: [https://example.org/x]", "which is remote"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), KUSTOMIZATIONS)
def test_what_a_kustomization_may_not_have_is_refused_before_it_is_built(
    repo: GitFolder, text: str, said: str
) -> None:
    exec_plugin = "apiVersion: my/v1\nkind: Secrets\nmetadata:\n  name: x\n  annotations: {config.kubernetes.io/function: 'exec: {path: ./run}'}\n"
    repo.put(
        {
            "k/kustomization.yaml": text,
            "k/a.yaml": config("a"),
            "k/folder/x.yaml": config("x"),
            "k/exec.yaml": exec_plugin,
        }
    )
    found = message(repo.commit(), Reason.RenderFailed, path="k")
    assert found.startswith("k/")
    assert said in found
    assert "secret" not in found


def test_two_kustomization_files_in_a_folder_are_named(repo: GitFolder) -> None:
    tree = repo.put({"k/kustomization.yaml": "{}", "k/Kustomization": "{}"}).commit()
    assert "k/kustomization.yaml and k/Kustomization" in message(tree, Reason.RenderFailed, path="k")


def test_charts_are_not_there_yet_unless_they_are_excluded(repo: GitFolder) -> None:
    repo.put(
        {
            "chart/Chart.yaml": "name: x",
            "mix/c/Chart.yaml": "x",
            "mix/c/templates/a.yaml": "{{",
            "mix/a.yaml": config("a"),
        }
    )
    tree = repo.commit()
    assert "chart/Chart.yaml: Helm charts are not supported yet" in message(
        tree, Reason.HelmUnsupported, path="chart"
    )
    assert "list 'c/' in spec.exclude" in message(tree, Reason.HelmUnsupported, path="mix")
    assert gather(tree, sync_spec(path="mix", exclude=["c/"])).paths == ("mix/a.yaml",)


def test_exclude_takes_gitignore_patterns(repo: GitFolder) -> None:
    files = ("a.yaml", "test/b.yaml", "x/test/c.yaml", "x/d.yaml", "k/kustomization.yaml")
    tree = repo.put({f"p/{name}": "x: y" for name in files}).commit()
    assert gather(tree, sync_spec(path="p", exclude=["**/test/**", "/k/"])).paths == (
        "p/a.yaml",
        "p/x/d.yaml",
    )
    assert gather(tree, sync_spec(path="p", exclude=["*.yaml", "!/a.yaml"])).paths == ("p/a.yaml",)
    assert message(tree, Reason.InvalidSpec, path="p", exclude=["!"]).startswith("spec.exclude: ")


def test_a_component_below_a_plain_folder_is_nothing_by_itself(repo: GitFolder) -> None:
    tree = repo.put(
        {"p/a.yaml": config("a"), "p/c/kustomization.yaml": "kind: Component\nresources: [b.yaml]\n"}
    ).commit()
    assert gather(tree, sync_spec(path="p")).paths == ("p/a.yaml",)


def test_a_local_folder_gives_the_same_inputs_as_its_commit(repo: GitFolder) -> None:
    tree = repo.put(REPOSITORY).commit()
    local = LocalTree(repo.root)
    for path in ("apps/web", "apps/api", "base"):
        assert gather(local, sync_spec(path=path)) == gather(tree, sync_spec(path=path))
