"""No spelling of a kustomization reads a file of this machine: what kustomize would take for a field is known to us, too.

kustomize folds the case of keys, non-ASCII forms included, and takes the last of two that are one field; we must not
read another one than it does.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.kit.gitfolder import GitFolder
from tests.render.conftest import Render, config

from setpoint.api.reasons import Problem, Reason

TOKEN = "the-token-of-the-operator"
LONG_S, KELVIN = "\u017f", "\u212a"
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
}
PLACES = {
    "the folder itself": "k",
    "a base": "base",
    "a component": "component",
    "a symlink": "linked",
}


@pytest.fixture
def token(tmp_path: Path) -> Path:
    """A file of the machine, as a ServiceAccount's token is one of the pod."""
    file = tmp_path / "secrets" / "token"
    file.parent.mkdir()
    file.write_text(TOKEN)
    return file


async def nothing_of_it(repo: GitFolder, render: Render, path: str) -> Problem:
    """Render what must fail; the token must not be in the words either."""
    with pytest.raises(Problem) as raised:
        await render(repo.commit(), path=path)
    assert raised.value.reason is Reason.RenderFailed
    assert TOKEN not in raised.value.message
    return raised.value


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("twin", TWINS)
async def test_a_key_that_is_taken_for_another_reads_nothing(
    repo: GitFolder, render: Render, token: Path, twin: str, place: str
) -> None:
    text, named = TWINS[twin]
    text = text.replace("TOKEN", str(token))
    where, file = PLACES[place], "kustomization.yaml"
    repo.put({"ok.txt": "fine", "p.yaml": PATCH, f"{where}/a.yaml": config("a")})
    if place == "a component":
        text = f"apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n{text}"
        repo.put({"k/kustomization.yaml": "components: [../component]\n"})
    elif place == "a base":
        repo.put({"k/kustomization.yaml": "resources: [../base]\n"})
    elif place == "a symlink":
        repo.put({"k/kustomization.yaml": "resources: [../linked]\n"})
        repo.link("linked/kustomization.yaml", "real.txt")
        file = "real.txt"
    repo.put({f"{where}/{file}": text})
    problem = await nothing_of_it(repo, render, "k")
    assert problem.message.startswith(f"{where}/kustomization.yaml:")
    assert named in problem.message


async def test_a_component_of_the_overlay_reads_nothing(repo: GitFolder, render: Render, token: Path) -> None:
    head = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
    text = f"{head}configMapGenerator: [{{name: g, Files: [../ok.txt], files: [t={token}]}}]"
    repo.put({"ok.txt": "fine", "plain/a.yaml": config("a"), "c/kustomization.yaml": text})
    with pytest.raises(Problem, match=r"'Files' and 'files'|'files' and 'Files'"):
        await render(repo.commit(), path="plain", kustomize={"components": ["../c"]})


@pytest.mark.parametrize("reach", ["{token}", "../../../../../../../../../../{token}"])
@pytest.mark.parametrize("kind", ["ConfigMapGenerator", "SecretGenerator"])
async def test_a_generator_in_a_file_of_its_own_reads_nothing(
    repo: GitFolder, render: Render, token: Path, kind: str, reach: str
) -> None:
    path = reach.format(token=token)
    body = f"apiVersion: builtin\nkind: {kind}\nmetadata: {{name: g}}\nfiles: ['t={path}']\n"
    repo.put({"shared/x.txt": "x", "k/g.yaml": body})
    # The honest way out of the folder used to switch kustomize's own restriction off.
    repo.put(
        {
            "k/kustomization.yaml": "generators: [g.yaml]\nconfigMapGenerator: [{name: o, files: [../shared/x.txt]}]\n"
        }
    )
    await nothing_of_it(repo, render, "k")


async def test_a_file_under_another_name_is_no_kustomization(
    repo: GitFolder, render: Render, token: Path
) -> None:
    """What we did not read as a kustomization cannot be read as one: kustomize takes three names, in this order."""
    hostile = f"configMapGenerator: [{{name: g, files: [t={token}]}}]"
    repo.put({"k/kustomization.yaml": "generators: [sub]\n", "k/sub/Kustomization": hostile})
    await nothing_of_it(repo, render, "k")


async def test_keys_of_free_maps_are_data(repo: GitFolder, render: Render) -> None:
    labels = f"labels: [{{pairs: {{Team: a, team: b, file{LONG_S}: c}}}}]\n".replace(f"file{LONG_S}", "files")
    repo.put({"k/kustomization.yaml": f"resources: [a.yaml]\n{labels}", "k/a.yaml": config("a")})
    made = await render(repo.commit(), path="k")
    assert made.objects[0].manifest["metadata"]["labels"] == {"Team": "a", "team": "b", "files": "c"}


async def test_a_key_in_other_letters_is_its_field(repo: GitFolder, render: Render) -> None:
    repo.put({"k/kustomization.yaml": "Resources: [a.yaml]\nNamePrefix: x-\n", "k/a.yaml": config("a")})
    made = await render(repo.commit(), path="k")
    assert made.objects[0].manifest["metadata"]["name"] == "x-a"


async def test_aliases_that_stand_for_gigabytes_are_refused_before_they_are_written(
    repo: GitFolder, render: Render
) -> None:
    many = ",".join(["*a"] * 5000)
    text = f"commonAnnotations:\n  a: &a {'x' * 100_000}\nconfigMapGenerator:\n- {{name: g, literals: [{many}]}}\n"
    repo.put({"k/kustomization.yaml": text})
    with pytest.raises(Problem, match="larger than 1 MiB once its aliases are resolved"):
        await render(repo.commit(), path="k")


@pytest.mark.parametrize("value", ["5", "[1, {a: b}]", "{a: b}", "originAnnotations"])
async def test_build_metadata_of_another_type_is_refused_by_kustomize(
    repo: GitFolder, render: Render, value: str
) -> None:
    repo.put(
        {"k/kustomization.yaml": f"buildMetadata: {value}\nresources: [a.yaml]\n", "k/a.yaml": config("a")}
    )
    await nothing_of_it(repo, render, "k")
