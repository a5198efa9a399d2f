"""What a folder becomes: plain files, kustomizations by the real program, overlays; and what people read when it fails."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest
from tests.kit.gitfolder import GitFolder
from tests.render.conftest import Render, config, names, sync_spec

from setpoint.api.reasons import Problem, Reason
from setpoint.render.inputs import Flavour, Inputs, gather
from setpoint.render.kustomize import build as closure
from setpoint.render.program import Program
from setpoint.render.renderer import Renderer
from setpoint.tree.local import LocalTree

pytestmark = pytest.mark.asyncio
PODINFO = Path(__file__).resolve().parents[3] / "shared/data/repos/podinfo"
SECRET = "aHVudGVyMmh1bnRlcjIh"


async def test_plain_files_keep_their_order_place_and_types(repo: GitFolder, render: Render) -> None:
    repo.put(
        {
            "p/b.yml": f"# c\n---\n{config('b1')}---\n{config('b2')}data: {{x: yes, mode: 0644}}\n",
            "p/a/x.json": '{"apiVersion":"v1","kind":"A","metadata":{"name":"x"}}',
        }
    )
    tree = repo.put(
        {"p/package.json": '{"name": "app"}', "p/.git-stuff/x.yaml": "{", "p/notes.txt": "\t"}
    ).commit()
    made = await render(tree, path="p")
    assert [(d.file, d.index, d.line, d.manifest["metadata"]["name"]) for d in made.objects] == [
        ("p/a/x.json", 1, 1, "x"),
        ("p/b.yml", 1, 3, "b1"),
        ("p/b.yml", 2, 7, "b2"),
    ]
    assert made.objects[2].manifest["data"] == {"x": True, "mode": 0o644}
    assert made.skipped == 1


async def test_target_namespace_is_left_to_the_planner_for_plain_files(
    repo: GitFolder, render: Render
) -> None:
    made = await render(repo.put({"p/a.yaml": config("a")}).commit(), path="p", targetNamespace="prod")
    assert made.objects[0].manifest["metadata"] == {"name": "a"}


async def test_nested_kustomizations_are_built_in_their_place(repo: GitFolder, placed: Render) -> None:
    repo.put(
        {
            "p/a.yaml": config("a"),
            "p/k/kustomization.yaml": "namePrefix: k-\nresources: [b.yaml]\n",
            "p/k/b.yaml": config("b"),
        }
    )
    made = await placed(repo.commit(), path="p", targetNamespace="prod")
    assert [(d.file, d.manifest["metadata"]) for d in made.objects] == [
        ("p/a.yaml", {"name": "a"}),
        ("p/k/b.yaml", {"name": "k-b", "namespace": "prod"}),
    ]


async def test_a_kustomization_reads_across_folders_of_the_repository(
    repo: GitFolder, placed: Render
) -> None:
    repo.put(
        {
            "apps/web/kustomization.yaml": "resources: [../../base, ../shared.yaml]\nconfigMapGenerator: [{name: g, files: [../shared.conf]}]\n"
        }
    )
    repo.put(
        {
            "apps/shared.yaml": config("shared"),
            "apps/shared.conf": "k=v",
            "base/Kustomization": "resources: [b.yaml]\n",
            "base/b.yaml": config("b"),
        }
    )
    made = await placed(repo.link("now", "apps/web").commit(), path="now")
    found = [(d.file, d.manifest["metadata"]["name"].split("-")[0]) for d in made.objects]
    assert sorted(found) == [
        ("apps/shared.yaml", "shared"),
        ("apps/web/kustomization.yaml", "g"),
        ("base/b.yaml", "b"),
    ]
    assert all("annotations" not in d.manifest["metadata"] for d in made.objects)


async def test_symlinks_inside_the_repository_are_read_by_kustomize(repo: GitFolder, render: Render) -> None:
    repo.put(
        {
            "k/kustomization.yaml": "resources: [linked.yaml, ../b]\n",
            "files/x.yaml": config("x"),
            "base/kustomization.yaml": "resources: [y.yaml]\n",
            "base/y.yaml": config("y"),
        }
    )
    made = await render(repo.link("k/linked.yaml", "../files/x.yaml").link("b", "base").commit(), path="k")
    assert names(made) == ["x", "y"]


OVERLAY = {
    "namePrefix": "pre-",
    "nameSuffix": "-suf",
    "images": [{"name": "nginx", "newName": "example.org/nginx", "newTag": "1.2"}],
    "commonLabels": {"team": "a"},
    "commonAnnotations": {"note": "n"},
    "patches": [
        {
            "patch": "[{op: replace, path: /spec/replicas, value: 3}]".replace("op:", "'op':"),
            "target": {"kind": "Deployment"},
        }
    ],
    "components": ["../component"],
}
DEPLOYMENT = """apiVersion: apps/v1
kind: Deployment
metadata: {name: web, annotations: {mine: "yes"}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: nginx}]}}
"""
COMPONENT = {
    "component/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [extra.yaml]\n",
    "component/extra.yaml": config("extra"),
}


@pytest.mark.parametrize(
    "files",
    [{"p/d.yaml": DEPLOYMENT}, {"p/d.yaml": DEPLOYMENT, "p/kustomization.yaml": "resources: [d.yaml]\n"}],
    ids=["plain", "kustomization"],
)
async def test_the_overlay_is_laid_over_plain_files_and_kustomizations_alike(
    repo: GitFolder, placed: Render, files: dict[str, str | bytes]
) -> None:
    patches = [
        {
            "patch": '[{"op": "replace", "path": "/spec/replicas", "value": 3}]',
            "target": {"kind": "Deployment"},
        }
    ]
    made = await placed(
        repo.put({**files, **COMPONENT}).commit(), path="p", kustomize={**OVERLAY, "patches": patches}
    )
    by_kind = {each.manifest["kind"]: each for each in made.objects}
    deployment = by_kind["Deployment"].manifest
    assert deployment["metadata"]["name"] == "pre-web-suf"
    assert deployment["metadata"]["labels"] == {"team": "a"}
    assert deployment["metadata"]["annotations"] == {"mine": "yes", "note": "n"}
    assert deployment["spec"]["replicas"] == 3
    assert deployment["spec"]["selector"] == {"matchLabels": {"app": "web"}}
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == "example.org/nginx:1.2"
    assert by_kind["Deployment"].file == "p/d.yaml"
    assert (by_kind["ConfigMap"].file, by_kind["ConfigMap"].manifest["metadata"]["name"]) == (
        "component/extra.yaml",
        "pre-extra-suf",
    )


async def test_the_overlay_keeps_lines_of_plain_files_and_covers_nested_kustomizations(
    repo: GitFolder, placed: Render
) -> None:
    repo.put(
        {
            "p/a.yaml": f"{config('a')}---\n{config('b')}",
            "p/k/kustomization.yaml": "resources: [c.yaml]\n",
            "p/k/c.yaml": config("c"),
        }
    )
    made = await placed(repo.commit(), path="p", kustomize={"namePrefix": "x-"}, targetNamespace="prod")
    assert sorted((d.where, d.manifest["metadata"]["name"]) for d in made.objects) == [
        ("p/a.yaml:1", "x-a"),
        ("p/a.yaml:5", "x-b"),
        ("p/k/c.yaml", "x-c"),
    ]


async def test_target_namespace_is_the_namespace_of_a_kustomization(repo: GitFolder, render: Render) -> None:
    files: dict[str, str | bytes] = {
        "k/kustomization.yaml": "resources: [a.yaml]\nbuildMetadata: [managedByLabel]\n",
        "k/a.yaml": config("a"),
    }
    meta = (
        (await render(repo.put(files).commit(), path="k", targetNamespace="prod"))
        .objects[0]
        .manifest["metadata"]
    )
    assert meta["namespace"] == "prod"
    assert meta["labels"]["app.kubernetes.io/managed-by"].startswith("kustomize")


async def test_notes_of_origin_stay_where_they_were_asked_for(repo: GitFolder, render: Render) -> None:
    repo.put(
        {
            "k/kustomization.yaml": "resources: [a.yaml]\nbuildMetadata: [originAnnotations]\n",
            "k/a.yaml": config("a"),
        }
    )
    made = await render(repo.commit(), path="k")
    assert "config.kubernetes.io/origin" in made.objects[0].manifest["metadata"]["annotations"]
    assert made.objects[0].file == "k/a.yaml"


async def test_a_builtin_transformer_reads_its_folder(repo: GitFolder, render: Render) -> None:
    repo.put(
        {"k/kustomization.yaml": "resources: [a.yaml]\ntransformers: [t.yaml]\n", "k/a.yaml": config("a")}
    )
    repo.put(
        {
            "k/t.yaml": "apiVersion: builtin\nkind: PatchTransformer\nmetadata: {name: p}\npath: deep/p.yaml\ntarget: {kind: ConfigMap}\n"
        }
    )
    repo.put({"k/deep/p.yaml": '[{"op": "add", "path": "/data", "value": {"a": "b"}}]'})
    assert (await render(repo.commit(), path="k")).objects[0].manifest["data"] == {"a": "b"}


@pytest.mark.parametrize("config_text", ["path: /etc/hostname", "path: ../../../../../../../../etc/hostname"])
async def test_a_builtin_transformer_cannot_read_this_machine(
    repo: GitFolder, problem_of: Render, config_text: str
) -> None:
    repo.put(
        {"k/kustomization.yaml": "resources: [../a.yaml]\ntransformers: [t.yaml]\n", "a.yaml": config("a")}
    )
    repo.put(
        {
            "k/t.yaml": f"apiVersion: builtin\nkind: PatchTransformer\nmetadata: {{name: p}}\n{config_text}\ntarget: {{kind: ConfigMap}}\n"
        }
    )
    message = await problem_of(repo.commit(), path="k")
    assert message.startswith("k/kustomization.yaml: ")
    # How far up it leads depends on where the build is made.
    outside = (
        "names a file outside of the kustomization's folder",
        "does not exist",
        "not among the files that",
    )
    assert any(words in message for words in outside)


async def test_podinfo_is_built(placed: Render) -> None:
    if not PODINFO.exists():
        pytest.skip("the shared data are not beside the checkout")
    made = await placed(LocalTree(PODINFO), path="kustomize")
    assert [(d.file, d.manifest["kind"]) for d in made.objects] == [
        ("kustomize/service.yaml", "Service"),
        ("kustomize/deployment.yaml", "Deployment"),
        ("kustomize/hpa.yaml", "HorizontalPodAutoscaler"),
    ]


FAILURES = [
    ("resources: [x.yaml]", "a: b\n\tc: d\n", "k/x.yaml:2: found a tab character that violates indentation"),
    ("resources: [x.yaml]", f"{config('a')}data: {{a: [b}}\n", "k/x.yaml:4: did not find expected ',' or ']'"),
    ("resources: [x.yaml]", "a: b\n", "k/x.yaml: an object has no kind or no metadata.name"),
    ("resources: [x.yaml, y.yaml]", config("a"), "k/y.yaml: ConfigMap/a is defined twice"),
    ("resourcs: [x.yaml]", "", "k/kustomization.yaml:1: there is no field 'resourcs' in a kustomization"),
    ("namePrefix: 3\nresources: [x.yaml]", config("a"), "k/kustomization.yaml: namePrefix is of type number, where string is wanted"),
    ("resources: [y.yaml]\npatches: [{path: x.yaml}]", config("zz"), "k/kustomization.yaml: no resource matches the patch for ConfigMap/zz"),
    ("resources: [y.yaml]\npatches: [{patch: 'x', target: {kind: A}}]", "", "k/kustomization.yaml: a patch is neither a strategic merge patch nor a JSON patch"),
    ("kind: Foo\nresources: [y.yaml]", "", "k/kustomization.yaml: the kind should be Kustomization or Component"),
    ("resources: [../l]", "", "l/kustomization.yaml: the kustomizations refer to each other in a circle"),
    ("resources: [../n]", "", "n/kustomization.yaml:1: there is no field 'oops' in a kustomization"),
    ("secretGenerator: [{name: a, literals: [hunter2]}]", "", "k/kustomization.yaml: a literal of a generator is not written key=value"),
    ("resources: x.yaml", "", "k/kustomization.yaml: resources is of type string, where a list is wanted"),
    ("configMapGenerator: [{name: a, literals: [1]}]", "", "k/kustomization.yaml: configMapGenerator.literals is of type number, where string is wanted"),
    ("replicas: [{name: a, count: '1'}]", "", "k/kustomization.yaml: replicas.count is of type string, where number is wanted"),
    ("labels: [{pairs: [a]}]", "", "k/kustomization.yaml: labels.pairs is of type array, where a mapping is wanted"),
    ("apiVersion: v1\nkind: Kustomization\nresources: [y.yaml]", "", "k/kustomization.yaml: the apiVersion for Kustomization should be kustomize.config.k8s.io/v1beta1"),
    ("resources: [y.yaml, '']", "", "k/kustomization.yaml: an entry of resources, bases or components is empty"),
    ("resources: [x.yaml]", f"{config('a')}data: {{a: b}}\ndata: {{c: d}}\n", "k/x.yaml:5: duplicate key 'data'"),
    ("resources: [x.yaml]", f"{config('a')}data: {{a: .nan}}\n", "k/x.yaml:4: infinity and NaN have no JSON form; put the value in quotes"),
    ("resources: [x.yaml]", "apiVersion: v1\nkind: ConfigMapList\nitems: [{metadata: {name: a}}]\n", "k/x.yaml: an object has no kind or no metadata.name"),
    ("resources: [github.com/a/b]", "", "k/kustomization.yaml: kustomize takes a reference for a remote one, which is refused; give the folder a path that looks like no URL"),
    ("generators: [x.yaml]", "apiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: g}\nfiles: [gone/f.txt]\n",
     "k/kustomization.yaml: k/gone/f.txt is not among the files that a plugin can name: those of its kustomization's folder, but for kustomizations"),
    ("images: [{nam: a}]\nresources: [y.yaml]", "", "k/kustomization.yaml:1: there is no field 'nam' in 'images[0]' of a kustomization"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "content", "said"), FAILURES)
async def test_a_failed_build_says_the_first_cause_and_the_file(
    repo: GitFolder, problem_of: Render, text: str, content: str, said: str
) -> None:
    repo.put({"k/kustomization.yaml": text, "k/x.yaml": content, "k/y.yaml": config("a")})
    repo.put({"l/kustomization.yaml": "resources: [../k]", "n/kustomization.yaml": "oops: 1"})
    repo.put({"k/github.com/a/b/kustomization.yaml": "namePrefix: x-"})
    assert await problem_of(repo.commit(), path="k") == said


@pytest.mark.parametrize("name", ["kustomization.yml", "Kustomization"])
async def test_a_failed_build_names_the_kustomization_that_is_there(
    repo: GitFolder, problem_of: Render, name: str
) -> None:
    repo.put({f"k/{name}": "resources: [../l]\n", f"l/{name}": "namePrefix: 3\nresources: [a.yaml]\n"})
    said = await problem_of(repo.put({"l/a.yaml": config("a")}).commit(), path="k")
    assert said == f"l/{name}: namePrefix is of type number, where string is wanted"


async def test_a_bad_overlay_is_named_as_such(repo: GitFolder, problem_of: Render) -> None:
    patches = [{"patch": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: none}\n"}]
    tree = repo.put({"p/a.yaml": config("a")}).commit()
    assert (
        await problem_of(tree, path="p", kustomize={"patches": patches})
        == "spec.kustomize: no resource matches the patch for ConfigMap/none"
    )
    assert await problem_of(tree, path="p", kustomize={"components": ["../gone"]}) == (
        "spec.kustomize: components names '../gone', which does not exist in the repository"
    )


@pytest.mark.parametrize(
    "kustomization",
    [
        f"secretGenerator: [{{name: a, literals: ['{SECRET}']}}]",
        f"secretGenerator: [{{name: a, literals: ['k={SECRET}', 'k={SECRET}']}}]",
        f"resources: [s.yaml]\npatches: [{{patch: '{SECRET}: {{', target: {{kind: Secret}}}}]",
        f'resources: [s.yaml]\npatches: [{{patch: \'[{{"op": "test", "path": "/data/k", "value": "{SECRET}x"}}]\', target: {{kind: Secret}}}}]',
        "resources: [s.yaml]\nreplacements: [{source: {kind: Secret, fieldPath: data.k.z}, targets: [{select: {kind: Secret}, fieldPaths: [data.x]}]}]",
        f"generators: ['{{apiVersion: builtin, kind: SecretGenerator, metadata: {{name: x}}, literals: [{SECRET}]}}']",
        f"secretGenerator: [{{name: a, envs: [bad.env], literals: ['{SECRET}=']}}]",
    ],
)
async def test_a_failed_build_never_quotes_a_secret(
    repo: GitFolder, problem_of: Render, kustomization: str
) -> None:
    repo.put(
        {
            "k/kustomization.yaml": kustomization,
            "k/bad.env": f"{SECRET}=\nnot valid {SECRET}\n".encode() + b"\xff" + SECRET.encode(),
        }
    )
    repo.put({"k/s.yaml": f"apiVersion: v1\nkind: Secret\nmetadata: {{name: s}}\ndata: {{k: {SECRET}}}\n"})
    tree = repo.commit()
    message = await problem_of(tree, path="k")
    assert message.startswith("k/")
    assert SECRET not in message


async def test_two_objects_with_one_identity_are_named_with_file_and_document(
    repo: GitFolder, problem_of: Render
) -> None:
    repo.put({"p/a.yaml": config("a"), "p/b.yaml": f"{config('b')}---\n{config('a')}data: {{k: v}}\n"})
    assert await problem_of(repo.commit(), path="p") == (
        "p/b.yaml:5 (document 2): ConfigMap/a is already defined at p/a.yaml:1 (document 1); remove one of them"
    )


async def test_a_build_and_a_plain_file_with_one_identity_are_named_too(
    repo: GitFolder, problem_of: Render
) -> None:
    repo.put(
        {
            "p/a.yaml": config("a"),
            "p/k/kustomization.yaml": "resources: [b.yaml]\n",
            "p/k/b.yaml": config("a") + "data: {k: v}\n",
        }
    )
    assert "p/k/b.yaml: ConfigMap/a is already defined at p/a.yaml:1" in await problem_of(
        repo.commit(), path="p"
    )


@pytest.mark.parametrize(
    ("files", "over", "places"),
    [
        ({"p/b.yaml": f"{config('b')}---\n{config('a')}"}, None, ["p/b.yaml:5 (document 2)"]),
        ({"p/b.yaml": config("a"), "p/c.yaml": config("a")}, None, ["p/b.yaml:1", "p/c.yaml:1"]),
        ({"p/k/kustomization.yaml": "resources: [b.yaml]\n", "p/k/b.yaml": config("a")}, None, ["p/k"]),
        ({"p/b.yaml": config("a")}, {"namePrefix": "x-"}, ["p/b.yaml:1"]),
    ],
)
async def test_equal_documents_are_one_and_are_told(
    repo: GitFolder,
    render: Render,
    files: dict[str, str],
    over: dict[str, str] | None,
    places: list[str],
) -> None:
    repo.put({"p/a.yaml": config("a"), **files})
    made = await render(repo.commit(), path="p", **({"kustomize": over} if over else {}))
    assert [name.removeprefix("x-") for name in names(made)].count("a") == 1
    assert len(made.twice) == len(places)
    for text, place in zip(made.twice, places, strict=True):
        assert text.startswith(place)
        assert "ConfigMap/a is said at p/a.yaml:1" in text


async def test_a_boolean_does_not_equal_a_number(repo: GitFolder, problem_of: Render) -> None:
    widget = "apiVersion: example.org/v1\nkind: Widget\nmetadata: {name: a}\nspec: {big: %s}\n"
    repo.put({"p/a.yaml": widget % "true", "p/b.yaml": widget % "1"})
    assert "already defined" in await problem_of(repo.commit(), path="p")


async def test_a_built_object_that_the_api_server_would_refuse_is_named(
    repo: GitFolder, problem_of: Render
) -> None:
    big = "x" * 1_600_000
    repo.put(
        {"k/kustomization.yaml": "configMapGenerator: [{name: big, files: [big.txt]}]", "k/big.txt": big}
    )
    message = await problem_of(repo.commit(), Reason.TooLarge, path="k")
    assert message.startswith("k (as built by kustomize):")
    assert "more than the 1,572,864 that the API server takes" in message


async def test_a_folder_without_manifests_renders_to_nothing(repo: GitFolder, render: Render) -> None:
    tree = repo.put({"p/readme.txt": "x"}).commit()
    assert (await render(tree, path="p")).objects == ()
    assert (await render(tree, path="p", kustomize={"namePrefix": "a-"})).objects == ()


async def test_a_result_is_remembered_by_the_digest_of_its_inputs(repo: GitFolder, tmp_path: Path) -> None:
    spec = sync_spec(path="p")
    tree = repo.put({"p/a.yaml": config("a")}).commit()
    renderer = Renderer(Program(tmp_path / "none"), tmp_path / "w")
    first = await renderer.render(tree, spec, gather(tree, spec))
    other = repo.put({"elsewhere": "x"}).commit()
    assert await renderer.render(other, spec, gather(other, spec)) is first
    changed = repo.put({"p/a.yaml": config("b")}).commit()
    assert names(await renderer.render(changed, spec, gather(changed, spec))) == ["b"]
    renderer.close()


async def test_the_cache_is_bounded_in_bytes(repo: GitFolder, tmp_path: Path) -> None:
    renderer = Renderer(Program(tmp_path / "none"), tmp_path / "w", cache_bytes=400)
    tree = repo.put({f"p{n}/a.yaml": f"{config('a')}data: {{k: {'x' * 100}}}\n" for n in range(10)}).commit()
    for n in range(10):
        spec = sync_spec(path=f"p{n}")
        await renderer.render(tree, spec, gather(tree, spec))
    assert 0 < len(renderer._cache) <= 3
    renderer.close()


async def test_plain_folders_need_no_kustomize_and_kustomizations_say_so(
    repo: GitFolder, tmp_path: Path
) -> None:
    renderer = Renderer(Program(Path("no-such-kustomize")), tmp_path / "w")
    tree = repo.put({"p/a.yaml": config("a"), "k/kustomization.yaml": "resources: [../p/a.yaml]"}).commit()
    assert names(await renderer.render(tree, sync_spec(path="p"), gather(tree, sync_spec(path="p")))) == ["a"]
    with pytest.raises(
        Problem, match="the program no-such-kustomize was not found; install it, or set SETPOINT_KUSTOMIZE"
    ):
        await renderer.render(tree, sync_spec(path="k"), gather(tree, sync_spec(path="k")))
    renderer.close()


async def test_many_builds_at_once_are_all_right(repo: GitFolder, render: Render) -> None:
    for n in range(12):
        repo.put({f"k{n}/kustomization.yaml": f"namePrefix: n{n}-\nresources: [../base]\n"})
    tree = repo.put({"base/kustomization.yaml": "resources: [a.yaml]\n", "base/a.yaml": config("a")}).commit()
    made = await asyncio.gather(*(render(tree, path=f"k{n}") for n in range(12)))
    assert [names(each) for each in made] == [[f"n{n}-a"] for n in range(12)]


async def test_a_remote_base_that_the_walk_overlooked_finds_no_network(
    repo: GitFolder, renderer: Renderer
) -> None:
    """The second line of defence: kustomize is given a remote resource, and a server that counts who connects."""
    connected = 0

    def count(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connected
        connected += 1
        writer.close()

    server = await asyncio.start_server(count, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        for url in (f"http://127.0.0.1:{port}/x.yaml", f"git::http://127.0.0.1:{port}/x/y"):
            tree = repo.put({"k/kustomization.yaml": f"resources: ['{url}']"}).commit()
            text = orjson.dumps({"resources": [url]})
            build = closure.Build("k", (), kustomizations=(closure.Written("k/kustomization.yaml", text),))
            inputs = Inputs(url, (), Flavour.KUSTOMIZE, "k", builds=(build,))
            with pytest.raises(Problem) as raised:
                await renderer.render(tree, sync_spec(path="k"), inputs)
            assert raised.value.reason is Reason.RenderFailed
    assert connected == 0
