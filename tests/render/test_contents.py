"""Files that SOPS encrypted, and pointers of Git LFS, through real kustomize: nothing that holds them comes out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.kit import sopsfiles
from tests.kit.gitfolder import GitFolder
from tests.kit.sopsfiles import LFS, PLAIN, enc, manifest
from tests.render.conftest import Render, config, names

from setpoint.api.reasons import Reason

pytestmark = pytest.mark.asyncio
TROUBLES = Path(__file__).resolve().parents[3] / "shared/data/troubles/11-lfs-pointers"
KEEP = "{annotations: {setpoint.dev/encrypted: keep}}"
SECRET_LIST = f"""apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Secret
  metadata: {{name: s}}
  data:
    password: {enc("bGlzdA")}
{sopsfiles.BLOCK}"""
PATCH = (
    f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: a}}\ndata:\n  k: {enc('cGF0Y2g')}\n{sopsfiles.BLOCK}"
)


def generator(kind: str, entry: str, options: str = "{}") -> str:
    return f"{kind}Generator: [{{name: g, {entry}, options: {options}}}]\n"


BUILDS = {
    "secret file in YAML": ("secret.yaml", sopsfiles.YAML, generator("secret", "files: [secret.yaml]")),
    "secret file in JSON": ("x.json", sopsfiles.JSON, generator("secret", "files: [key=x.json]")),
    "binary": ("x.bin", sopsfiles.BINARY, generator("configMap", "files: [x.bin]")),
    "ini": ("x.ini", sopsfiles.INI, generator("configMap", "files: [x.ini]")),
    "envs": ("x.env", sopsfiles.DOTENV, generator("secret", "envs: [x.env]")),
    "env of a ConfigMap": ("x.env", sopsfiles.DOTENV, generator("configMap", "env: x.env")),
    "manifest": ("s.yaml", manifest(), "resources: [s.yaml]\n"),
    "a List": ("s.yaml", SECRET_LIST, "resources: [s.yaml]\n"),
    "patch": ("x.yaml", PATCH, "resources: [a.yaml]\npatches: [{path: x.yaml}]\n"),
    "old patch": ("x.yaml", PATCH, "resources: [a.yaml]\npatchesStrategicMerge: [x.yaml]\n"),
    "generator's file": (
        "x.yaml",
        sopsfiles.YAML,
        "generators: [gen.yaml]\n",
    ),
    "in a component": ("c/x.env", sopsfiles.DOTENV, "resources: [a.yaml]\ncomponents: [c]\n"),
    "in a base": ("base/x.env", sopsfiles.DOTENV, "resources: [base]\n"),
}
COMMON = {
    "k/a.yaml": config("a"),
    "k/gen.yaml": "apiVersion: builtin\nkind: SecretGenerator\nmetadata: {name: g}\nfiles: [x.yaml]\n",
    "k/c/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
    + generator("secret", "envs: [x.env]"),
    "k/base/kustomization.yaml": generator("configMap", "envs: [x.env]"),
}


def hides_values(message: str) -> bool:
    return not any(word in message for word in (PLAIN, "ENC[", "AGE ENCRYPTED", sopsfiles.RECIPIENT))


@pytest.mark.parametrize("name", BUILDS)
async def test_an_encrypted_file_makes_no_object(name: str, repo: GitFolder, problem_of: Render) -> None:
    file, text, kustomization = BUILDS[name]
    repo.put({**COMMON, f"k/{file}": text, "k/kustomization.yaml": kustomization})
    message = await problem_of(repo.commit(), Reason.Encrypted, path="k")
    assert f"k/{file} is encrypted by SOPS" in message
    assert hides_values(message)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (manifest(), "Secret/s"),
        (manifest("ConfigMap"), "ConfigMap/s"),
        (manifest("Deployment", "apps/v1"), "Deployment/s"),
        (manifest("Sync", "setpoint.dev/v1alpha1"), "Sync/s"),
        (SECRET_LIST, "Secret/s"),
        (
            json.dumps(
                {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "sops": sopsfiles.METADATA}
            ),
            "s",
        ),
    ],
)
async def test_an_encrypted_plain_manifest_is_refused(
    text: str, what: str, repo: GitFolder, problem_of: Render
) -> None:
    tree = repo.put({"p/a.yaml": config("a"), "p/x.yaml": text}).commit()
    message = await problem_of(tree, Reason.Encrypted, path="p")
    assert "p/x.yaml is encrypted by SOPS" in message
    assert what in message
    assert hides_values(message)


async def test_an_encrypted_patch_of_a_component_over_plain_manifests_is_refused(
    repo: GitFolder, problem_of: Render
) -> None:
    component = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatches: [{path: x.yaml}]\n"
    repo.put({"p/a.yaml": config("a"), "c/kustomization.yaml": component, "c/x.yaml": PATCH})
    message = await problem_of(repo.commit(), Reason.Encrypted, path="p", kustomize={"components": ["../c"]})
    assert "c/x.yaml is encrypted by SOPS" in message


@pytest.mark.parametrize("text", [sopsfiles.BINARY, sopsfiles.DOTENV, sopsfiles.YAML])
async def test_a_patch_that_kustomize_cannot_read_is_not_quoted(
    text: str, repo: GitFolder, problem_of: Render
) -> None:
    kustomization = "resources: [a.yaml]\npatches: [{path: x.yaml, target: {kind: ConfigMap}}]\n"
    repo.put({**COMMON, "k/x.yaml": text, "k/kustomization.yaml": kustomization})
    message = await problem_of(repo.commit(), path="k")
    assert "k/x.yaml is encrypted by SOPS" in message
    assert hides_values(message)


async def test_a_component_that_kustomize_cannot_read_is_not_quoted(
    repo: GitFolder, problem_of: Render
) -> None:
    component = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\npatches: [{path: x.yaml, target: {kind: ConfigMap}}]\n"
    repo.put({"p/a.yaml": config("a"), "c/kustomization.yaml": component, "c/x.yaml": sopsfiles.YAML})
    message = await problem_of(repo.commit(), path="p", kustomize={"components": ["../c"]})
    assert "c/x.yaml is encrypted by SOPS" in message
    assert hides_values(message)


async def test_an_encrypted_kustomization_is_named(repo: GitFolder, problem_of: Render) -> None:
    kustomization = f"resources: [a.yaml]\nnamePrefix: {enc('eA')}\n{sopsfiles.BLOCK}"
    repo.put({**COMMON, "k/kustomization.yaml": kustomization})
    message = await problem_of(repo.commit(), Reason.Encrypted, path="k")
    assert "k/kustomization.yaml is encrypted by SOPS" in message


@pytest.mark.parametrize(
    "kustomization",
    [
        generator("secret", "files: [x.yaml]", KEEP),
        f"generatorOptions: {KEEP}\nconfigMapGenerator: [{{name: g, files: [x.yaml]}}]\n",
        "commonAnnotations: {setpoint.dev/encrypted: keep}\nsecretGenerator: [{name: g, files: [x.yaml]}]\n",
    ],
)
async def test_what_is_annotated_keeps_its_ciphertext(
    kustomization: str, repo: GitFolder, render: Render
) -> None:
    repo.put({"k/x.yaml": sopsfiles.YAML, "k/kustomization.yaml": kustomization})
    made = await render(repo.commit(), path="k")
    assert len(made.objects) == 1
    assert made.objects[0].manifest["metadata"]["annotations"]["setpoint.dev/encrypted"] == "keep"


async def test_custom_resources_and_lookalikes_pass(repo: GitFolder, render: Render) -> None:
    repo.put(
        {
            "p/a.yaml": manifest("SopsSecret", "isindir.github.com/v1alpha3", "a"),
            "p/b.yaml": manifest("ConfigMap", name="b", annotations="{setpoint.dev/encrypted: keep}"),
            "p/c.yaml": config("c") + "data: {sops: 'mac, version', x: 'ENC[AES256_GCM,data:x]'}\n",
            "p/.sops.yaml": "creation_rules: [{age: x}]\n",
            "p/k/kustomization.yaml": "resources: [d.yaml]\nconfigMapGenerator: [{name: e, files: [page.md]}]\n",
            "p/k/d.yaml": manifest("SopsSecret", "isindir.github.com/v1alpha3", "d"),
            "p/k/page.md": f"See:\n\n```yaml\nx: {enc('b3RoZXI')}\nsops: {{mac: y, version: z}}\n```\n",
            "p/k/unused.yaml": manifest(),
        }
    )
    made = await render(repo.commit(), path="p")
    assert sorted(name.partition("-")[0] for name in names(made)) == ["a", "b", "c", "d", "e"]
    carriers = [each.manifest["metadata"]["name"] for each in made.objects if "sops" in each.manifest]
    assert carriers == ["a", "b", "d"]


LFS_BUILDS = {
    "file of a generator": generator("configMap", "files: [x]"),
    "env file": generator("secret", "envs: [x]"),
    "resource": "resources: [x]\n",
    "patch": "resources: [a.yaml]\npatches: [{path: x}]\n",
    "replacement": "resources: [a.yaml]\nreplacements: [{path: x}]\n",
    "component": "components: [../c]\n",
    "plugin's file": "generators: [lfs.yaml]\n",
}


@pytest.mark.parametrize("name", LFS_BUILDS)
async def test_a_git_lfs_pointer_is_refused_wherever_it_is_read(
    name: str, repo: GitFolder, problem_of: Render
) -> None:
    gen = "apiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: g}\nfiles: [x]\n"
    repo.put({**COMMON, "k/x": LFS, "c/kustomization.yaml": LFS, "k/lfs.yaml": gen})
    tree = repo.put({"k/kustomization.yaml": LFS_BUILDS[name]}).commit()
    message = await problem_of(tree, path="k")
    where = "c/kustomization.yaml" if name == "component" else "k/x"
    assert f"{where} is a Git LFS pointer, and Setpoint does not fetch LFS content" in message


async def test_a_kustomization_that_is_a_pointer_is_refused(repo: GitFolder, problem_of: Render) -> None:
    tree = repo.put({"k/kustomization.yaml": LFS}).commit()
    assert "k/kustomization.yaml is a Git LFS pointer" in await problem_of(tree, path="k")


async def test_a_pointer_that_nothing_reads_passes(repo: GitFolder, render: Render) -> None:
    repo.put({"k/kustomization.yaml": "generators: [gen.yaml]\n", "k/logo.png": LFS, "k/x.txt": f"\n{LFS}"})
    gen = "apiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: g}\nfiles: [x.txt]\n"
    made = await render(repo.put({"k/gen.yaml": gen}).commit(), path="k")
    assert made.objects[0].manifest["data"] == {"x.txt": f"\n{LFS}"}


@pytest.mark.parametrize(("case", "file"), [("a-manifest", "big.yaml"), ("b-generated", "rules.bin")])
async def test_the_pointers_of_the_troubles(
    case: str, file: str, repo: GitFolder, problem_of: Render
) -> None:
    folder = TROUBLES / case / "commit-1"
    if not folder.is_dir():
        pytest.skip("the troubles are not beside this checkout")
    repo.put({f"p/{each.name}": each.read_bytes() for each in folder.iterdir()})
    message = await problem_of(repo.commit(), path="p")
    assert f"p/{file} is a Git LFS pointer, and Setpoint does not fetch LFS content" in message
