"""The measure of rendering: what we make of a kustomization is what kustomize alone makes of the same repository.

`kustomize build --load-restrictor LoadRestrictionsNone` of the folder as it is, against `setpoint render` of it.
"""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.kit.gitfolder import GitFolder
from tests.render.conftest import config

from setpoint.cli import render
from setpoint.objects import documents
from setpoint.render.kustomize.kustomization import NAMES

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared/data"
SYNC = "apiVersion: setpoint.dev/v1alpha1\nkind: Sync\nmetadata: {name: s, namespace: team}\nspec: {source: {name: r}, path: %s}\n"
WEB = """apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {tier: front}, annotations: {note: hello}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: c, image: "nginx:1", args: ["$(WHO)"], envFrom: [{configMapRef: {name: env}}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
"""
BASE: dict[str, str | bytes] = {
    "base/kustomization.yaml": "resources: [web.yaml]\n",
    "base/web.yaml": WEB,
    "shared/one/app.conf": "one\n",
    "shared/two/app.conf": "two\n",
    "shared/vars.env": "A=1\nB=two=2\n# note\n",
    "shared/more.yaml": config("more"),
    "shared/patch.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 5}\n",
    "shared/json.yaml": "- {op: replace, path: /spec/replicas, value: 7}\n",
    "shared/replacement.yaml": "source: {kind: Service, fieldPath: metadata.name}\ntargets: [{select: {kind: Deployment}, fieldPaths: [metadata.annotations.note]}]\n",
    "shared/names.yaml": "namePrefix: [{path: metadata/name, kind: Service}]\n",
    "shared/crd.json": '{"example.org/v1.Thing": {"Schema": {"properties": {"spec": {"x-kubernetes-object-ref-api-version": "v1"}}}}}',
    "shared/schema.json": '{"definitions": {}}',
    "shared/label.yaml": "apiVersion: builtin\nkind: LabelTransformer\nmetadata: {name: l}\nlabels: {from: outside}\nfieldSpecs: [{path: metadata/labels, create: true}]\n",
    "component/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
    "configMapGenerator: [{name: comp, files: [../shared/one/app.conf]}]\npatches: [{path: ../shared/patch.yaml}]\n",
    "labels/kustomization.yaml": "resources: [t.yaml]\n",
    "labels/t.yaml": "apiVersion: builtin\nkind: LabelTransformer\nmetadata: {name: l}\nlabels: {from: folder}\nfieldSpecs: [{path: metadata/labels, create: true}]\n",
}  # fmt: skip

CASES: dict[str, str] = {
    "metadata": "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nmetadata: {name: x, namespace: z, labels: {Files: a, files: b}, annotations: {\u017f: b}}\nresources: [../base]\n",
    "name-prefix-suffix-namespace": "namePrefix: a-\nnameSuffix: -z\nnamespace: prod\nresources: [../base]\n",
    "common-labels": "commonLabels: {Team: a, team: b}\nresources: [../base]\n",
    "labels": "labels: [{pairs: {team: a, Team: b, file\u017f: c}, includeSelectors: true}, {pairs: {x: 'y'}, includeTemplates: true, fields: [{group: apps, version: v1, kind: Deployment, path: spec/x, create: true}]}]\nresources: [../base]\n".replace("file\u017f", "files"),
    "common-annotations": "commonAnnotations: {\u017f: 'yes', S: '1'}\nresources: [../base]\n",
    "patches-strategic-merge": "resources: [../base]\npatchesStrategicMerge:\n- ../shared/patch.yaml\n- |-\n  apiVersion: v1\n  kind: Service\n  metadata: {name: web}\n  spec: {type: NodePort}\n- '{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, labels: {a: b}}}'\n",
    "patches-json": "resources: [../base]\npatchesJson6902: [{path: ../shared/json.yaml, target: {group: apps, version: v1, kind: Deployment, name: web}}]\n",
    "patches": "resources: [../base]\npatches:\n- {path: ../shared/patch.yaml, options: {allowNameChange: true, allowKindChange: false}}\n- {path: ../shared/json.yaml, target: {kind: Deployment, labelSelector: tier=front, annotationSelector: note=hello}}\n- patch: |-\n    - {op: add, path: /metadata/annotations/Files, value: yes}\n  target: {kind: Deployment}\n- patch: 'apiVersion: v1\n\n    kind: Service\n\n    metadata: {name: web, annotations: {\u017f: x, s: \"y\"}}'\n",
    "images": "resources: [../base]\nimages: [{name: nginx, newName: example.org/n, newTag: '2'}]\n",
    "image-digest": "resources: [../base]\nimages: [{name: nginx, digest: 'sha256:24a0c4b4a4c0eb97a1aabb8e29f18e917d05abfe1b7a7c07857230879ce7d3d3'}]\n",
    "image-tags": "resources: [../base]\nimageTags: [{name: nginx, newTag: '3', tagSuffix: ''}]\n",
    "replacements": "resources: [../base]\nreplacements:\n- path: ../shared/replacement.yaml\n- source: {group: '', version: v1, kind: Service, name: web, fieldPath: 'spec.ports.0.port', options: {delimiter: x, index: 0}}\n  targets: [{select: {kind: Deployment}, reject: [{name: none}], fieldPaths: [metadata.annotations.port], options: {create: true}}]\n- sourceValue: fixed\n  targets: [{select: {kind: Service}, fieldPaths: [metadata.annotations.fixed], options: {create: true, encoding: ''}}]\n",
    "replicas": "resources: [../base]\nreplicas: [{name: web, count: 4}]\n",
    "vars": "resources: [../base]\nvars: [{name: WHO, objref: {apiVersion: v1, kind: Service, name: web}, fieldref: {fieldpath: metadata.name}}]\n",
    "sort-options": "resources: [../base, ../shared/more.yaml]\nsortOptions: {order: legacy, legacySortOptions: {orderFirst: [Deployment], orderLast: [Service]}}\n",
    "sort-fifo": "resources: [../base, ../shared/more.yaml]\nsortOptions: {order: fifo}\n",
    "components": "resources: [../base]\ncomponents: [../component]\n",
    "crds": "resources: [../base]\ncrds: [../shared/crd.json]\n",
    "bases": "bases: [../base]\n",
    "bases-with-a-file": "bases: [../base, ../shared/more.yaml]\n",
    "generators-by-field": "configMapGenerator:\n- {name: a, namespace: team, behavior: create, files: [../shared/one/app.conf], literals: [k=v, l='q'], envs: [../shared/vars.env]}\n- {name: b, files: [one=../shared/one/app.conf, two=../shared/two/app.conf, own.txt], options: {labels: {Files: x, files: w}, annotations: {a: b}, disableNameSuffixHash: true, immutable: true}}\n- {name: c, env: ../shared/vars.env}\nsecretGenerator: [{name: s, type: example.org/t, files: [../shared/two/app.conf], literals: [a=b]}]\ngeneratorOptions: {disableNameSuffixHash: true, labels: {g: o}, annotations: {ann: x}, immutable: false}\n",
    "same-base-names": "configMapGenerator: [{name: a, files: [../shared/one/app.conf]}, {name: b, files: [../shared/two/app.conf]}]\n",
    "kustomizations-as-data": "configMapGenerator: [{name: a, files: [../base/kustomization.yaml, mine=kustomization.yaml, sub/Kustomization]}]\nresources: [../base]\n",
    "helm-globals": "resources: [../base]\nhelmGlobals: {chartHome: charts, configHome: x}\n",
    "configurations": "resources: [../base]\nnamePrefix: x-\nconfigurations: [../shared/names.yaml]\n",
    "openapi": "resources: [../base]\nopenapi: {path: ../shared/schema.json}\n",
    "openapi-version": "resources: [../base]\nopenapi: {version: v1.21.2, Path: ignored}\n".replace(", Path: ignored", ""),
    "generators": "generators: [gen.yaml]\n",
    "generators-inline": "generators:\n- |-\n  apiVersion: builtin\n  kind: ConfigMapGenerator\n  metadata: {name: i}\n  files: [own.txt]\n",
    "transformers-file": "resources: [../base]\ntransformers: [../shared/label.yaml]\n",
    "transformers-folder": "resources: [../base]\ntransformers: [../labels]\n",
    "validators": "resources: [../base]\nvalidators: [same.yaml]\n",
    "build-metadata": "resources: [../base, ../shared/more.yaml]\ncomponents: [../component]\nconfigMapGenerator: [{name: g, files: [../shared/one/app.conf]}]\ntransformers: [../shared/label.yaml]\nnamePrefix: x-\nbuildMetadata: [managedByLabel, originAnnotations, transformerAnnotations]\n",
    "origin-of-a-link": "resources: [linked.yaml, linkdir]\nbuildMetadata: [originAnnotations]\n",
    "links": "resources: [linked.yaml]\nconfigMapGenerator: [{name: a, files: [linked.conf, inner.txt]}]\n",
    "other-case": "Resources: [../base]\nNAMEPREFIX: x-\nConfigMapGenerator: [{Name: a, Files: [../shared/one/app.conf], LITERALS: [a=b], Options: {Labels: {A: b, a: c}}}]\nPatches: [{Path: ../shared/patch.yaml}]\n",
    "merge-keys": "resources: [../base]\nconfigMapGenerator:\n- &a {name: a, files: [../shared/one/app.conf]}\n- {<<: *a, name: b}\n- {<<: *a, name: c, files: [../shared/two/app.conf]}\n",
    "odd-texts": 'configMapGenerator: [{name: a, literals: ["k=\\u2028 \\u00e9 \\U0001F600 tab\\t end", "q=a\\"b\\\\c"]}]\ncommonAnnotations: {"yes": "no"}\nresources: [../base]\n',
    "last-line-without-an-end": "configMapGenerator:\n- name: g\n  literals:\n  - |\n    a=b",
    "two-documents": "resources: [../base]\n---\nresources: [nothing]\n",
    "dotted-paths": "resources: [./../base/../base/, gone/../../shared/more.yaml]\n",
}  # fmt: skip


@pytest.fixture
def repository(repo: GitFolder) -> GitFolder:
    repo.put(BASE).put({"k/own.txt": "own", "k/sub/Kustomization": "resources: [x.yaml]\n"})
    repo.put(
        {
            "k/gen.yaml": "apiVersion: builtin\nkind: ConfigMapGenerator\nmetadata: {name: g}\nfiles: [own.txt]\nliterals: [a=b]\n"
        }
    )
    repo.put(
        {
            "k/same.yaml": "apiVersion: builtin\nkind: ImageTagTransformer\nmetadata: {name: v}\nimageTag: {name: none, newTag: '1'}\n"
        }
    )
    repo.link("k/linked.yaml", "../shared/more.yaml").link("k/linked.conf", "../shared/two/app.conf")
    return repo.link("k/inner.txt", "own.txt").link("k/linkdir", "../base")


def alone(kustomize: Path, folder: Path) -> tuple[int, Any]:
    """What the program makes of a folder: exit code, and the objects or its words."""
    command = [str(kustomize), "build", str(folder), "--load-restrictor", "LoadRestrictionsNone"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        return done.returncode, done.stderr.decode()
    return 0, [each.manifest for each in documents.load(done.stdout, "alone")]


def ours(kustomize: Path, root: Path, path: str, sync: Path) -> tuple[int, Any]:
    """What `setpoint render` makes of a folder of a repository."""
    sync.write_text(SYNC % json.dumps(path or "."))
    out, err = io.StringIO(), io.StringIO()
    code = render.run(str(root), str(sync), "json", out, err, str(kustomize))
    return code, json.loads(out.getvalue())["items"] if code == 0 else err.getvalue()


def check(kustomize: Path, root: Path, path: str, sync: Path) -> None:
    theirs = alone(kustomize, root / path)
    assert theirs[0] == 0, theirs[1]
    assert ours(kustomize, root, path, sync) == theirs


@pytest.mark.parametrize("name", CASES)
def test_each_field_means_what_it_means_to_kustomize(
    name: str, repository: GitFolder, kustomize: Path, tmp_path: Path
) -> None:
    repository.put({"k/kustomization.yaml": CASES[name]})
    check(kustomize, repository.root, "k", tmp_path / "sync")


@pytest.mark.parametrize("name", CASES)
def test_each_field_means_the_same_one_level_down(
    name: str, repository: GitFolder, kustomize: Path, tmp_path: Path
) -> None:
    repository.put(
        {"k/kustomization.yaml": CASES[name], "up/over/kustomization.yaml": "resources: [../../k]\n"}
    )
    check(kustomize, repository.root, "up/over", tmp_path / "sync")


def test_a_kustomization_that_is_a_symlink_means_its_target(
    repository: GitFolder, kustomize: Path, tmp_path: Path
) -> None:
    repository.put({"k/real": CASES["generators-by-field"]}).link("k/kustomization.yml", "real")
    check(kustomize, repository.root, "k", tmp_path / "sync")
    repository.put({"files/shared.yaml": "resources: [web.yaml]\nnamePrefix: l-\n", "m/web.yaml": WEB})
    repository.link("m/kustomization.yaml", "../files/shared.yaml")
    check(kustomize, repository.root, "m", tmp_path / "sync")


def test_a_folder_named_like_a_kustomization_is_a_folder(
    repository: GitFolder, kustomize: Path, tmp_path: Path
) -> None:
    """`kustomize.toolkit.fluxcd.io/Kustomization/` of Argo CD's health checks."""
    repository.put({"k/kustomization.yaml": CASES["bases"], "k/Kustomization/web.yaml": WEB})
    check(kustomize, repository.root, "k", tmp_path / "sync")
    repository.put({"plain/Kustomization/web.yaml": WEB, "plain/kustomization.yml/more.yaml": config("more")})
    code, found = ours(kustomize, repository.root, "plain", tmp_path / "sync")
    assert code == 0, found
    assert len(found) == 3  # a Deployment, a Service and a ConfigMap


def _at_hand() -> dict[str, tuple[Path, str]]:
    """Every kustomization below the checkout and the shared data: for people, and as root and folder."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    own = [ROOT / path for path in listed.split("\0") if path.rpartition("/")[2] in NAMES]
    shared = [file for name in NAMES for file in SHARED.rglob(name)]
    folders = sorted({(ROOT, file.parent) for file in own} | {(SHARED, file.parent) for file in shared})
    return {str(each.relative_to(ROOT.parent)): (root, str(each.relative_to(root))) for root, each in folders}


AT_HAND = _at_hand()
REFUSED = {"lfs-pointers": "is a Git LFS pointer, and Setpoint does not fetch LFS content"}
"""Kustomizations at hand that are refused, by a part of their path, with the words."""


@pytest.mark.parametrize("name", AT_HAND)
def test_every_kustomization_at_hand_is_built_as_kustomize_builds_it(
    name: str, kustomize: Path, tmp_path: Path
) -> None:
    root, folder = AT_HAND[name]
    words = next((words for part, words in REFUSED.items() if part in name), None)
    if words is None:
        check(kustomize, root, folder, tmp_path / "sync")
    else:
        code, said = ours(kustomize, root, folder, tmp_path / "sync")
        assert code == 1
        assert words in said


def test_the_examples_are_among_the_kustomizations_at_hand() -> None:
    assert {f"{ROOT.name}/examples/shop/{each}" for each in ("base", "overlays/production")} <= set(AT_HAND)


def test_the_shared_data_are_beside_the_checkout() -> None:
    if not SHARED.exists():
        pytest.skip("the shared data are not beside the checkout; their kustomizations were not compared")
