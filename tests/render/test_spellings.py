"""No spelling of a kustomization reads a file of this machine: what kustomize would take for a field is known to us, too.

kustomize folds the case of keys, non-ASCII forms included, and takes the last of two that are one field; we must not
read another one than it does.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.kit.gitfolder import GitFolder
from tests.render.conftest import KELVIN, LONG_S, Render, config, refused

from setpoint.api.reasons import Problem

PATCH = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {patched: 'yes'}\n"

TWINS: dict[str, tuple[str, str]] = {
    "files": ("configMapGenerator: [{name: g, Files: [../ok.txt], files: [t=TOKEN]}]", "'Files'"),
    "files, the other way round": (
        "configMapGenerator: [{name: g, files: [t=TOKEN], Files: [../ok.txt]}]",
        "'files'",
    ),
    "files with a long s": (f"configMapGenerator: [{{name: g, file{LONG_S}: [t=TOKEN]}}]", r"'file\u017f'"),
    "files beside a long s": (
        f"configMapGenerator: [{{name: g, files: [../ok.txt], file{LONG_S}: [t=TOKEN]}}]",
        r"'file\u017f'",
    ),
    "envs": ("secretGenerator: [{name: g, envs: [../ok.txt], ENVS: [TOKEN]}]", "'ENVS'"),
    "env": ("secretGenerator: [{name: g, env: ../ok.txt, Env: TOKEN}]", "'Env'"),
    "generators": (
        "configMapGenerator: [{name: g, files: [../ok.txt]}]\nConfigMapGenerator: [{name: g, files: [t=TOKEN]}]",
        "'ConfigMapGenerator'",
    ),
    "a generator with a long s": (
        f"{LONG_S}ecretGenerator: [{{name: g, files: [t=TOKEN]}}]",
        r"'\u017fecret",
    ),
    "resources": ("resources: [a.yaml]\nResources: [TOKEN]", "'Resources'"),
    "resources with a long s": (f"re{LONG_S}ources: [TOKEN]", r"'re\u017fources'"),
    "patches": ("resources: [a.yaml]\npatches: [{path: ../p.yaml, Path: TOKEN}]", "'Path'"),
    "patches of a kind with a Kelvin sign": (
        f"resources: [a.yaml]\npatches: [{{path: ../p.yaml, target: {{{KELVIN}ind: ConfigMap}}}}]",
        r"'\u212aind'",
    ),
    "old patches": (
        "resources: [a.yaml]\npatchesStrategicMerge: [../p.yaml]\npatchesstrategicmerge: [TOKEN]",
        "'patchesstrategicmerge'",
    ),
    "replacements": (
        "resources: [a.yaml]\nreplacements: [{path: ../ok.txt, PATH: TOKEN}]",
        "'PATH'",
    ),
    "charts": ("resources: [a.yaml]\nhelmGlobals: {chartHome: ok, CHARTHOME: TOKEN}", "'CHARTHOME'"),
    "three of one": (
        "configMapGenerator: [{name: g, FILES: [../ok.txt], Files: [../ok.txt], files: [t=TOKEN]}]",
        "'FILES'",
    ),
    "files, the token in the other": (
        "configMapGenerator: [{name: g, files: [../ok.txt], Files: [t=TOKEN]}]",
        "'Files'",
    ),
    "files, neither is the field": (
        "configMapGenerator: [{name: g, FILES: [../ok.txt], Files: [t=TOKEN]}]",
        "'FILES'",
    ),
    "files of a merged map": (
        "configMapGenerator: [{<<: {Files: [../ok.txt]}, name: g, files: [t=TOKEN]}]",
        "'Files'",
    ),
    "files beside options with a long s": (
        f"configMapGenerator: [{{name: g, files: [../ok.txt], option{LONG_S}: {{labels: {{a: b}}}}, Files: [t=TOKEN]}}]",
        r"'option\u017f'",
    ),
    "a long s beside an honest patch": (
        f"configMapGenerator: [{{name: g, file{LONG_S}: [t=TOKEN]}}]\npatches: [{{path: ../p.yaml}}]",
        r"'file\u017f'",
    ),
    "envs, the token in the field": (
        "configMapGenerator: [{name: g, Envs: [../ok.txt], envs: [TOKEN]}]",
        "'Envs'",
    ),
    "env beside envs": (
        "configMapGenerator: [{name: g, envs: [../ok.txt], ENV: TOKEN, env: ../ok.txt}]",
        "'ENV'",
    ),
    "a generator beside one with a long s": (
        f"secretGenerator: [{{name: g, files: [../ok.txt]}}]\n{LONG_S}ecretGenerator: [{{name: g, files: [t=TOKEN]}}]",
        r"'\u017fecret",
    ),
    "resources beside a long s": (
        f"resources: [a.yaml, ../b.yaml]\nRE{LONG_S}OURCES: [TOKEN]",
        r"'RE\u017fOURCES'",
    ),
    "patches, the token in the field": (
        "resources: [a.yaml, ../b.yaml]\npatches: [{Path: ../p.yaml, path: TOKEN, target: {kind: ConfigMap}}]",
        "'Path'",
    ),
    "replacements, the token in the field": (
        "resources: [a.yaml, ../b.yaml]\nreplacements: [{PATH: ../p.yaml, path: TOKEN}]",
        "'PATH'",
    ),
    "crds with a long s": (f"resources: [a.yaml, ../b.yaml]\ncrd{LONG_S}: [TOKEN]", r"'crd\u017f'"),
    "openapi": ("resources: [a.yaml, ../b.yaml]\nopenapi: {Path: ../p.yaml, path: TOKEN}", "openapi.path"),
    "no field with a Kelvin sign": (
        f"resources: [a.yaml, ../b.yaml]\nva{KELVIN}rs: [TOKEN]\n",
        r"'va\u212ars'",
    ),
}
PLACES = {
    "the folder itself": "k",
    "a base": "base",
    "a component": "component",
    "a symlink": "linked",
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("twin", TWINS)
async def test_a_key_that_is_taken_for_another_reads_nothing(
    repo: GitFolder, render: Render, token: Path, twin: str, place: str
) -> None:
    text, named = TWINS[twin]
    text = text.replace("TOKEN", str(token))
    where = PLACES[place]
    repo.put({"ok.txt": "K=v", "p.yaml": PATCH, "b.yaml": config("b"), f"{where}/a.yaml": config("a")})
    if place == "a component":
        text = f"apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n{text}"
        repo.put({"k/kustomization.yaml": "components: [../component]\n"})
    elif place == "a base":
        repo.put({"k/kustomization.yaml": "resources: [../base]\n"})
    elif place == "a symlink":
        repo.put({"k/kustomization.yaml": "resources: [../linked]\n"})
        repo.link("linked/kustomization.yaml", "../files/k.txt")
    repo.put({"files/k.txt" if place == "a symlink" else f"{where}/kustomization.yaml": text})
    message = await refused(render, repo.commit(), path="k")
    assert message.startswith(f"{where}/kustomization.yaml:")
    assert named in message


WORDS = [
    ("configMapGenerator:\n- name: a\n  Files: [x]\n  files: [y]\n",
     "k/kustomization.yaml:3: 'Files' and 'files' in 'configMapGenerator[0]' of a kustomization are one field to kustomize; keep one, as 'files'"),
    (f"resources: [a.yaml]\nconfigMapGenerator:\n- name: a\n  file{LONG_S}: [x]\n",
     "k/kustomization.yaml:4: 'file\\u017f' in 'configMapGenerator[0]' of a kustomization is not 'files', for which kustomize takes it; write that"),
    (f"x: &a {{{KELVIN}ind: b}}\n", "k/kustomization.yaml:1: there is no field 'x' in a kustomization"),
    (f"{KELVIN}ind: Component\n", "k/kustomization.yaml:1: '\\u212aind' in a kustomization is not 'kind', for which kustomize takes it; write that"),
    ("kind: Component\n---\nx: y\nKind: z\n", None),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), WORDS)
async def test_a_key_that_is_refused_is_named_with_its_line_and_its_twin(
    text: str, said: str | None, repo: GitFolder, render: Render
) -> None:
    repo.put({"ok.txt": "K=v", "k/a.yaml": config("a"), "k/kustomization.yaml": text})
    message = await refused(render, repo.commit(), path="k")
    assert message == said or said is None


async def test_keys_of_free_maps_are_data(repo: GitFolder, render: Render) -> None:
    labels = f"labels: [{{pairs: {{Team: a, team: b, file{LONG_S}: c}}}}]\n".replace(f"file{LONG_S}", "files")
    repo.put({"k/kustomization.yaml": f"resources: [a.yaml]\n{labels}", "k/a.yaml": config("a")})
    made = await render(repo.commit(), path="k")
    assert made.objects[0].manifest["metadata"]["labels"] == {"Team": "a", "team": "b", "files": "c"}


async def test_a_key_in_other_letters_is_its_field(repo: GitFolder, render: Render) -> None:
    repo.put({"k/kustomization.yaml": "Resources: [a.yaml]\nNamePrefix: x-\n", "k/a.yaml": config("a")})
    made = await render(repo.commit(), path="k")
    assert made.objects[0].manifest["metadata"]["name"] == "x-a"


@pytest.mark.parametrize(
    ("times", "words"),
    [(50, "larger than 1 MiB once its aliases are resolved"), (5000, r"settings\.maxYamlValues")],
)
async def test_aliases_that_stand_for_gigabytes_are_refused_before_they_are_written(
    times: int, words: str, repo: GitFolder, render: Render
) -> None:
    many = ",".join(["*a"] * times)
    text = f"commonAnnotations:\n  a: &a {'x' * 100_000}\nconfigMapGenerator:\n- {{name: g, literals: [{many}]}}\n"
    repo.put({"k/kustomization.yaml": text})
    with pytest.raises(Problem, match=words):
        await render(repo.commit(), path="k")


@pytest.mark.parametrize("value", ["5", "[1, {a: b}]", "{a: b}", "originAnnotations"])
async def test_build_metadata_of_another_type_is_refused_by_kustomize(
    repo: GitFolder, render: Render, value: str
) -> None:
    repo.put(
        {"k/kustomization.yaml": f"buildMetadata: {value}\nresources: [a.yaml]\n", "k/a.yaml": config("a")}
    )
    await refused(render, repo.commit(), path="k")
