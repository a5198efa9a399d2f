"""Kustomizations for every field that kustomize has, one small one for each meaning; `test_kustomize_fields` builds them.

Each stands in the folder `k`, beside `BASE`. A case is the text of its kustomization.yaml, or files by path. What has no
effect, and what is left out, with the reason, is data too: `docs/compatibility.md` shows it (`kustomize_page`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tests.kit import sopsfiles

_DIGEST: Final = f"sha256:{'24a0c4b4' * 8}"
_COMPONENT: Final = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
_BUILTIN: Final = "apiVersion: builtin\nkind: %s\nmetadata: {name: it}\n"
_BASE: Final = "resources: [../base]\n"

BASE: Final = {
    "base/kustomization.yaml": "resources: [web.yaml, data.yaml, thing.yaml]\n",
    "base/web.yaml": """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop, labels: {tier: front}, annotations: {note: hello-old, split: a.b.c}}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: c, image: "nginx:1", args: ["$(WHO)"], envFrom: [{configMapRef: {name: env}}, {secretRef: {name: pass}}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop, annotations: {port: '80'}}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: back, labels: {tier: back}}
spec: {selector: {app: back}, ports: [{port: 80}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  template: {metadata: {labels: {app: db}}, spec: {containers: [{name: c, image: "postgres:9"}]}}
  volumeClaimTemplates: [{metadata: {name: disk}, spec: {accessModes: [ReadWriteOnce]}}]
---
apiVersion: extensions/v1beta1
kind: Ingress
metadata: {name: web}
spec: {backend: {serviceName: web, servicePort: 80}}
""",
    "base/data.yaml": """
apiVersion: v1
kind: ConfigMap
metadata: {name: env}
data: {A: base, KEEP: base}
---
apiVersion: v1
kind: Secret
metadata: {name: pass}
type: Opaque
data: {A: YmFzZQ==}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: bind}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: r}
subjects: [{kind: ServiceAccount, name: default, namespace: shop}]
""",
    "base/thing.yaml": "apiVersion: example.org/v1\nkind: Thing\nmetadata: {name: one}\n"
    "spec: {uses: {name: env}, text: a, size: 1, image: 'nginx:1', items: [{name: a, value: x}]}\n",
    "more/one.conf": "one\n",
    "more/two.conf": "two\n",
    "more/vars.env": "B=two=2\n# note\n\nC=3\n",
    "more/merge.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\nspec: {replicas: 5}\n",
    "more/json.yaml": "- {op: replace, path: /spec/replicas, value: 7}\n",
    "more/json.json": '[{"op": "add", "path": "/metadata/annotations/j", "value": "1"}]',
    "more/replacement.yaml": "source: {kind: Service, name: back, fieldPath: metadata.name}\n"
    "targets: [{select: {kind: Deployment}, fieldPaths: [metadata.annotations.note]}]\n",
    "more/two.yaml": "apiVersion: v1\nkind: Service\nmetadata: {name: back}\nspec: {type: NodePort}\n---\n"
    "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec: {replicas: 2}\n",
    "more/twins.yaml": "---\n".join(
        f"apiVersion: {version}\nkind: Twin\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{v: {name}}}\n"
        for version, name, namespace in (
            ("example.com/v1", "first", "b"), ("example.com/v1", "first", "c"), ("example.net/v1", "second", "b"), ("example.net/v2", "third", "b"), ("example.net/v1", "fourth", "a"),
        )
    ),
}  # fmt: skip
"""What the cases build on."""

_PATCH_ALL: Final = """patch: '[{"op": "add", "path": "/metadata/finalizers", "value": ["%s/x"]}]'"""
_TARGET_FIELDS: Final = {
    "group": "apps",
    "version": "v1beta1",
    "kind": "Thing",
    "name": "b.*",
    "namespace": "sh.p",
    "labelSelector": "tier in (back)",
    "annotationSelector": "note=hello-old",
}


def _targets(field: str, all_have: str = "kind: .*") -> str:
    """Write one patch for each way to select."""
    rows = (
        f"- {{{_PATCH_ALL % key.lower()}, target: {{{all_have if all_have[:4] != key else ''}, {key}: {value}}}}}\n".replace(
            "{, ", "{"
        )
        for key, value in _TARGET_FIELDS.items()
    )
    return f"{_BASE}{field}:\n{''.join(rows)}"


def _plugin(field: str, kind: str, config: str, base: str = _BASE) -> dict[str, str]:
    return {
        "k/kustomization.yaml": f"{base}{field}: [it.yaml]\n",
        "k/it.yaml": f"{_BUILTIN % kind}{config}\n",
        "k/own.txt": "own\n",
        "k/own.env": "OWN=env\n",
        "k/own-patch.yaml": BASE["more/merge.yaml"],
        "k/own-targets.yaml": "targets: [{selector: {kind: Thing}, fieldPath: spec/text}]\n",
        "k/own-replacement.yaml": BASE["more/replacement.yaml"],
    }


_SPECS: Final = "fieldSpecs: [{path: metadata/%s, create: true}, {kind: Thing, path: spec/%s, create: true}]"
_OPTIONS: Final = "{labels: {l: own}, annotations: {a: own}, disableNameSuffixHash: true, immutable: true}"

CASES: Final[dict[str, str | dict[str, str]]] = {
    # What is built.
    "resources": {
        "k/kustomization.yaml": "resources: [z.yaml, d, a.json]\n",
        "k/z.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: z}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: y}\n",
        "k/a.json": '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}',
        "k/d/kustomization.yml": "resources: [e]\n",
        "k/d/e": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: e}\n",
    },
    "bases": "bases: [../base]\n",
    "components": {
        "k/kustomization.yaml": f"{_BASE}components: [../part, ../other]\nnamePrefix: x-\n",
        "part/kustomization.yaml": f"{_COMPONENT}patches: [{{path: ../more/merge.yaml}}]\nconfigMapGenerator: [{{name: part, literals: [a=b]}}]\n",
        "other/kustomization.yaml": f"{_COMPONENT}replicas: [{{name: db, count: 2}}]\n",
    },
    "crds": {
        "k/kustomization.yaml": f"{_BASE}namePrefix: x-\ncrds: [crd.json]\n",
        "k/crd.json": '{"example.org/v1.Thing": {"Schema": {"x-kubernetes-group-version-kind": [{"group": "example.org", "version": "v1", "kind": "Thing"}],'
        ' "properties": {"apiVersion": {}, "kind": {}, "metadata": {}, "spec": {"$ref": "example.org/v1.ThingSpec"}}}},'
        ' "example.org/v1.ThingSpec": {"Schema": {"properties": {"uses": {"x-kubernetes-object-ref-api-version": "v1",'
        ' "x-kubernetes-object-ref-kind": "ConfigMap", "$ref": "example.org/v1.Ref"}}}},'
        ' "example.org/v1.Ref": {"Schema": {"properties": {"name": {}}}}}',
    },
    # Generators.
    "configMapGenerator": f"""
configMapGenerator:
- {{name: create, namespace: team, files: [../more/one.conf, two=../more/two.conf], literals: [k=v, "q='x'"], envs: [../more/vars.env]}}
- {{name: old, env: ../more/vars.env}}
- {{name: own, literals: [a=b], options: {_OPTIONS}}}
""",
    "secretGenerator": f"""
secretGenerator:
- {{name: create, namespace: team, type: example.org/t, files: [../more/one.conf, two=../more/two.conf], literals: [k=v], envs: [../more/vars.env]}}
- {{name: old, env: ../more/vars.env}}
- {{name: own, literals: [a=b], options: {_OPTIONS}}}
""",
    "configMapGenerator: behavior": _BASE + """
configMapGenerator:
- {name: env, behavior: merge, literals: [A=mine, B=more]}
- {name: new, behavior: create, literals: [a=b]}
""",
    "secretGenerator: behavior": f"{_BASE}secretGenerator: [{{name: pass, behavior: replace, literals: [B=mine]}}]\n",
    "configMapGenerator: replace": f"{_BASE}configMapGenerator: [{{name: env, behavior: replace, literals: [B=mine]}}]\n",
    "secretGenerator: merge": f"{_BASE}secretGenerator: [{{name: pass, behavior: merge, literals: [B=mine]}}]\n",
    "generatorOptions": f"configMapGenerator: [{{name: a, literals: [a=b]}}]\nsecretGenerator: [{{name: s, literals: [a=b]}}]\ngeneratorOptions: {_OPTIONS}\n",
    "generators": _plugin("generators", "ConfigMapGenerator", "literals: [a=b]\nfiles: [own.txt]\nenvs: [own.env]"),
    "generators: folder": {
        "k/kustomization.yaml": f"{_BASE}generators: [../gen]\n",
        "gen/kustomization.yaml": "resources: [it.yaml]\n",
        "gen/it.yaml": f"{_BUILTIN % 'SecretGenerator'}literals: [a=b]\n",
    },
    "generators: a list of them, and a note for functions": _plugin(
        "generators",
        "ConfigMapGeneratorList",
        "items:\n- {apiVersion: builtin, kind: ConfigMapGenerator, metadata: {name: a}, literals: [a=b]}\n"
        "- apiVersion: v1\n  kind: List\n  items: [{apiVersion: builtin, kind: ConfigMapGenerator, metadata: {name: b, annotations: {config.kubernetes.io/function: x}}, literals: [a=b]}]",
    ),
    "transformers: an inline list": f"{_BASE}transformers:\n- |-\n  apiVersion: v1\n  kind: List\n  items: [{{apiVersion: builtin, kind: PrefixTransformer, metadata: {{name: p}}, prefix: p-, fieldSpecs: [{{path: metadata/name}}]}}]\n",
    # Names, labels, annotations.
    "namePrefix, nameSuffix": f"{_BASE}namePrefix: a-\nnameSuffix: -z\n",
    "namespace": f"{_BASE}namespace: prod\n",
    "commonLabels": f"{_BASE}commonLabels: {{team: a}}\n",
    "commonAnnotations": f"{_BASE}commonAnnotations: {{team: a, bool: 'true'}}\n",
    "labels": _BASE + """
labels:
- {pairs: {plain: a}}
- {pairs: {sel: a}, includeSelectors: true}
- {pairs: {tmpl: a}, includeTemplates: true}
- {pairs: {claim: a}, includeVolumeClaimTemplates: true}
- pairs: {own: a}
  fields:
  - {path: spec/one, group: example.org, create: true}
  - {path: spec/two, version: v1beta1, create: true}
  - {path: spec/three, kind: Thing, create: true}
""",
    # Changes.
    "images": _BASE + f"""
images:
- {{name: nginx, newName: example.org/n, newTag: '2'}}
- {{name: postgres, digest: '{_DIGEST}'}}
""",
    "images: tagSuffix": f"{_BASE}images: [{{name: nginx, tagSuffix: -slim}}]\n",
    "imageTags": f"{_BASE}imageTags: [{{name: nginx, newName: nx, newTag: '3'}}, {{name: postgres, digest: '{_DIGEST}'}}]\n",
    "imageTags: tagSuffix": f"{_BASE}imageTags: [{{name: nginx, tagSuffix: -slim}}]\n",
    "replicas": f"{_BASE}replicas: [{{name: web, count: 4}}, {{name: db, count: 0}}]\n",
    "patches": _BASE + """
patches:
- path: ../more/merge.yaml
- {path: ../more/json.json, target: {kind: Deployment}}
- patch: |-
    apiVersion: v1
    kind: Service
    metadata: {name: web, namespace: shop}
    spec: {ports: [{port: 80, $patch: delete}, {port: 81}], type: NodePort}
- patch: |-
    apiVersion: v1
    kind: Service
    metadata: {name: back}
    $patch: delete
- patch: '{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: db, labels: null}, spec: {serviceName: null}}'
""",
    "patches: target": _targets("patches"),
    "patches: options": _BASE + """
patches:
- patch: '{apiVersion: v1, kind: Service, metadata: {name: other}}'
  target: {kind: Service, name: back}
  options: {allowNameChange: true}
- patch: '{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: db}}'
  target: {kind: StatefulSet, name: db}
  options: {allowKindChange: true}
""",
    "patches: several documents in one": f"{_BASE}patches: [{{path: ../more/two.yaml}}]\n",
    "patchesStrategicMerge": f"{_BASE}patchesStrategicMerge:\n- ../more/merge.yaml\n- |-\n  apiVersion: v1\n  kind: Service\n  metadata: {{name: back}}\n  spec: {{type: NodePort}}\n",
    "patchesJson6902": _BASE + """
patchesJson6902:
- {path: ../more/json.yaml, target: {group: apps, version: v1, kind: Deployment, name: web, namespace: shop}}
- {patch: '[{"op": "remove", "path": "/spec/selector"}]', target: {version: v1, kind: Service, name: back}}
""",
    "patchesJson6902: target": _targets("patchesJson6902", "name: .*"),
    "patchesJson6902: options": f"{_BASE}patchesJson6902: [{{path: ../more/json.json, target: {{kind: Deployment, name: web}}, options: {{allowNameChange: true, allowKindChange: true}}}}]\n",
    "replacements": _BASE + """
replacements:
- path: ../more/replacement.yaml
- source: {group: apps, version: v1, kind: Deployment, name: web, namespace: shop, fieldPath: metadata.annotations.split, options: {delimiter: ., index: 1}}
  targets:
  - select: {kind: Thing}
    fieldPaths: [spec.text, 'spec.items.[name=a].value']
  - select: {kind: Deployment}
    fieldPaths: [metadata.annotations.note]
    options: {delimiter: '-', index: 1, create: true, encoding: base64}
  - select: {kind: Service}
    fieldPaths: [metadata.annotations.made]
    options: {create: true}
- sourceValue: fixed
  targets:
  - select: {kind: Service, labelSelector: tier=back}
    fieldPaths: [spec.type]
    options: {create: true}
""",
    "replacements: select": _BASE + "replacements:\n- sourceValue: fixed\n  targets:\n" + "".join(
        f"  - {{select: {{{key}: {value}}}, fieldPaths: [metadata.annotations.by-{key.lower()}], options: {{create: true}}}}\n"
        for key, value in _TARGET_FIELDS.items()
    ),
    "replacements: reject": _BASE + "replacements:\n- sourceValue: fixed\n  targets:\n" + "".join(
        f"  - {{select: {{kind: .*}}, reject: [{{{key}: {value}}}], fieldPaths: [metadata.annotations.by-{key.lower()}], options: {{create: true}}}}\n"
        for key, value in _TARGET_FIELDS.items()
    ),
    "replacements: source": {
        "k/kustomization.yaml": "resources: [../base, ../more/twins.yaml]\nreplacements:\n" + "".join(
            f"- {{source: {source}, targets: [{{select: {{kind: Thing, name: one}}, fieldPaths: [spec.by-{number}], options: {{create: true}}}}]}}\n"
            for number, source in enumerate((
                "{group: example.com, kind: Twin, namespace: b, fieldPath: spec.v}",
                "{kind: Deployment, name: web, namespace: shop}",
                "{group: example.net, version: v2, kind: Twin, fieldPath: spec.v}",
                "{kind: Twin, namespace: a, fieldPath: spec.v, options: {create: true, encoding: base64}}",
                "{kind: Twin, name: third}",
            ))
        ),
    },
    "vars": _BASE + """
vars:
- {name: WHO, objref: {apiVersion: v1, kind: Service, name: web, namespace: shop}, fieldref: {fieldPath: metadata.annotations.port}}
""",
    "vars: namespace": "resources: [../base, ../more/twins.yaml]\n"
    "vars: [{name: WHO, objref: {apiVersion: example.com/v1, kind: Twin, name: first, namespace: c}}]\n",
    "vars: group and version": f"{_BASE}vars: [{{name: WHO, objref: {{group: apps, version: v1, kind: StatefulSet, name: db}}}}]\n",
    "configurations": {
        "k/kustomization.yaml": f"{_BASE}namePrefix: x-\nimages: [{{name: nginx, newTag: '9'}}]\nconfigurations: [names.yaml, images.yaml]\n",
        "k/names.yaml": "nameReference: [{kind: ConfigMap, fieldSpecs: [{kind: Thing, path: spec/uses/name}]}]\n",
        "k/images.yaml": "images: [{kind: Thing, path: spec/image}]\n",
    },
    "openapi: path": {
        "k/kustomization.yaml": f"{_BASE}openapi: {{path: schema.json}}\npatches: [{{patch: '{{apiVersion: example.org/v1, kind: Thing, metadata: {{name: one}}, spec: {{items: [{{name: b, value: y}}]}}}}'}}]\n",
        "k/schema.json": '{"definitions": {"org.example.v1.Thing": {"properties": {"spec": {"properties": {"items": {"type": "array",'
        ' "items": {"type": "object"}, "x-kubernetes-patch-merge-key": "name", "x-kubernetes-patch-strategy": "merge"}}}},'
        ' "x-kubernetes-group-version-kind": [{"group": "example.org", "kind": "Thing", "version": "v1"}]}}}',
    },
    "openapi: version": f"{_BASE}openapi: {{version: v1.21.2}}\n",
    "transformers": _plugin("transformers", "LabelTransformer", f"labels: {{a: b}}\n{_SPECS % ('labels', 'labels')}"),
    "transformers: inline": f"{_BASE}transformers:\n- |-\n  apiVersion: builtin\n  kind: PrefixTransformer\n  metadata: {{name: p}}\n  prefix: p-\n  fieldSpecs: [{{path: metadata/name}}]\n",
    "validators": _plugin("validators", "ReplicaCountTransformer", "replica: {name: db, count: 3}\nfieldSpecs: [{path: spec/none}]", _BASE),
    # The result.
    "sortOptions: legacy": f"{_BASE}sortOptions: {{order: legacy, legacySortOptions: {{orderFirst: [Service], orderLast: [Namespace]}}}}\n",
    "sortOptions: legacy as it is": f"{_BASE}sortOptions: {{order: legacy}}\n",
    "sortOptions: fifo": f"{_BASE}sortOptions: {{order: fifo}}\n",
    "buildMetadata": f"{_BASE}namePrefix: x-\nconfigMapGenerator: [{{name: g, literals: [a=b]}}]\nbuildMetadata: [managedByLabel, originAnnotations, transformerAnnotations]\n",
    "apiVersion, kind, metadata": "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nmetadata: {name: nn, namespace: s, labels: {a: b}, annotations: {c: d}}\n" + _BASE,
    "helmGlobals": f"{_BASE}helmGlobals: {{chartHome: charts, configHome: home}}\n",
    # What is built into kustomize and configured by files of its own.
    "AnnotationsTransformer": _plugin("transformers", "AnnotationsTransformer", f"annotations: {{a: b}}\n{_SPECS % ('annotations', 'notes')}"),
    "HashTransformer": _plugin("transformers", "HashTransformer", "", f"{_BASE}configMapGenerator: [{{name: g, literals: [a=b]}}]\n"),
    "ImageTagTransformer": _plugin("transformers", "ImageTagTransformer", "imageTag: {name: nginx, newTag: '5'}\nfieldSpecs: [{kind: Thing, path: spec/image}]"),
    "NamespaceTransformer": {
        "k/kustomization.yaml": f"{_BASE}transformers: [it.yaml]\n",
        "k/it.yaml": "apiVersion: builtin\nkind: NamespaceTransformer\nmetadata: {name: it, namespace: new}\nunsetOnly: true\nsetRoleBindingSubjects: allServiceAccounts\n"
        "fieldSpecs: [{path: metadata/namespace, create: true}]\n",
    },
    "PatchJson6902Transformer": _plugin("transformers", "PatchJson6902Transformer", "target: {group: apps, version: v1, kind: Deployment, name: web, namespace: shop}\njsonOp: '[{\"op\": \"remove\", \"path\": \"/spec/replicas\"}]'"),
    "PatchStrategicMergeTransformer": _plugin("transformers", "PatchStrategicMergeTransformer", "paths: [own-patch.yaml]\npatches: '{apiVersion: v1, kind: Service, metadata: {name: back}, spec: {type: NodePort}}'"),
    "PatchTransformer": _plugin("transformers", "PatchTransformer", "path: own-patch.yaml\ntarget: {kind: Deployment}\noptions: {allowNameChange: true}"),
    "PrefixTransformer": _plugin("transformers", "PrefixTransformer", "prefix: x-\nfieldSpecs: [{path: metadata/name, kind: Service}]"),
    "SuffixTransformer": _plugin("transformers", "SuffixTransformer", "suffix: -x\nfieldSpecs: [{path: metadata/name, kind: Service}]"),
    "PrefixSuffixTransformer": _plugin("transformers", "PrefixSuffixTransformer", "prefix: x-\nsuffix: -x\nfieldSpecs: [{path: metadata/name, kind: Service}]"),
    "ReplacementTransformer": _plugin("transformers", "ReplacementTransformer", "replacements: [{path: own-replacement.yaml}]"),
    "ReplicaCountTransformer": _plugin("transformers", "ReplicaCountTransformer", "replica: {name: web, count: 6}\nfieldSpecs: [{path: spec/replicas, create: true}]"),
    "ValueAddTransformer": _plugin("transformers", "ValueAddTransformer", "value: added\ntargetFilePath: own-targets.yaml\ntargets: [{selector: {kind: Service}, fieldPath: metadata/annotations/from}]"),
    "IAMPolicyGenerator": _plugin("generators", "IAMPolicyGenerator", "cloud: gke\nkubernetesService: {name: a, namespace: b}\nserviceAccount: {name: c, projectId: d}"),
    "SecretGenerator": _plugin("generators", "SecretGenerator", "files: [own.txt]\nenvs: [own.env]\nliterals: [a=b]\ntype: Opaque\nbehavior: create\noptions: {disableNameSuffixHash: true}"),
    # How a kustomization is written.
    "kustomization.yml": {"k/kustomization.yml": f"{_BASE}namePrefix: x-\n"},
    "Kustomization": {"k/Kustomization": f"{_BASE}namePrefix: x-\n"},
    "JSON": '{"resources": ["../base"],\n\t"namePrefix": "x-"}\n',
    "several documents, of which the first counts": f"{_BASE}---\nnamePrefix: x-\n",
    "anchors, merge keys, CRLF and a byte order mark": "\ufeffresources: [../base]\r\nconfigMapGenerator:\r\n- &a {name: a, literals: [a=b]}\r\n- {<<: *a, name: b}\r\ncommonAnnotations: {text: \"a\\r\\nb \\u2028 \\U0001F600 yes\"}\r\n",
}  # fmt: skip

WITHOUT_EFFECT: Final[Mapping[str, str]] = {
    "apiVersion": "kustomize checks it, and builds the same without it",
    "metadata": "kustomize reads it, and uses it for nothing",
    "helmGlobals": "kustomize uses it for charts alone",
    "validators": "a validator changes nothing: the build succeeds, or fails",
    "patchesJson6902.options": "kustomize looks at the options of `patches` alone",
    "replacements.source.options.create": "kustomize looks at it in a target alone",
    "replacements.source.options.encoding": "kustomize does not implement it",
    "replacements.targets.options.encoding": "kustomize does not implement it",
}
"""Fields, with all below them, that are taken and change nothing in what kustomize itself makes."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What is refused although kustomize may build it: what it is, the words for it, and why.

    `fields`: of a kustomization, with all below them, where the whole field is left out. `builds`: whether kustomize
    alone, without flags and network, makes something of the case.
    """

    what: str
    case: str | Mapping[str, str]
    words: str
    reason: str
    fields: tuple[str, ...] = ()
    builds: bool = False


def _with_plugin(config: str, **more: str) -> dict[str, str]:
    return {"k/kustomization.yaml": "generators: [it.yaml]\n", "k/it.yaml": config, **more}


_REMOTE: Final = "which is remote; remote references are refused, so copy it into the repository"
_CHARTS: Final = "Setpoint renders no charts yet"
_ALONE: Final = "a commit alone decides what is applied, and a build has no network"
_ONE: Final = "two readers of one text must not differ: nobody has to know which of the two counts"
_K: Final = "k/kustomization.yaml"

LEFT_OUT: Final = (
    LeftOut("`helmCharts`", "helmCharts: [{name: c, releaseName: r}]\n",
            f"{_K}: helmCharts inflates Helm charts, which is not supported; put the rendered manifests there instead", _CHARTS, ("helmCharts",)),
    LeftOut("`helmChartInflationGenerator`", "helmChartInflationGenerator: [{chartName: c}]\n",
            f"{_K}: helmChartInflationGenerator inflates Helm charts, which is not supported; put the rendered manifests there instead", _CHARTS,
            ("helmChartInflationGenerator",)),
    LeftOut("the built-in `HelmChartInflationGenerator`", _with_plugin(f"{_BUILTIN % 'HelmChartInflationGenerator'}name: c\n"),
            "k/it.yaml: inflating Helm charts is not supported", _CHARTS),
    LeftOut("a file from the web", "resources: ['https://example.org/a.yaml']\n",
            f"{_K}: resources names 'https://example.org/a.yaml', {_REMOTE}", _ALONE),
    LeftOut("a remote base", "resources: ['github.com/example/app//deploy?ref=v1']\n",
            f"{_K}: resources names 'github.com/example/app//deploy', {_REMOTE}", _ALONE),
    LeftOut("a remote base over SSH", "bases: ['git@example.org:team/app.git']\n",
            f"{_K}: bases names 'git@example.org:team/app.git', {_REMOTE}", _ALONE),
    LeftOut("a remote component", "components: ['https://example.org/app.git']\n",
            f"{_K}: components names 'https://example.org/app.git', {_REMOTE}", _ALONE),
    LeftOut("a patch, schema or CRD from the web", f"{_BASE}patches: [{{path: 'https://example.org/p.yaml'}}]\n",
            f"{_K}: patches.path names 'https://example.org/p.yaml', {_REMOTE}", _ALONE),
    LeftOut("an absolute path", "resources: [/etc/app]\n",
            f"{_K}: resources: '/etc/app' is absolute; paths are relative, inside the repository", "kustomize takes none without a flag either"),
    LeftOut("a path out of the repository", "resources: [../../app]\n", f"{_K}: resources: '../../app' leaves the repository", _ALONE),
    LeftOut("a plugin, function or program", _with_plugin("apiVersion: example.org/v1\nkind: Gen\nmetadata: {name: g}\n"),
            "k/it.yaml: Gen is a kustomize plugin; only those built into kustomize (apiVersion: builtin) are run",
            "it is a program of the repository; kustomize runs none without a flag either"),
    LeftOut("a file outside of the kustomization's folder, named in the configuration of a built-in plugin",
            _with_plugin(f"{_BUILTIN % 'ConfigMapGenerator'}files: [../more/one.conf]\n"),
            f"{_K}: more/one.conf is not among the files that a plugin can name: those of its kustomization's folder, but for kustomizations",
            "a plugin's own words are not rewritten, and kustomize's restriction to its folder stays on", builds=True),
    LeftOut("an entry of `generators`, `transformers` or `validators` that is an object and also the path of a file",
            {"k/kustomization.yaml": _BASE + "transformers: ['{apiVersion: builtin, kind: HashTransformer, metadata: {name: a}}']\n",
             "k/{apiVersion: builtin, kind: HashTransformer, metadata: {name: a}}": _BUILTIN % "HashTransformer"},
            f"{_K}: an entry of transformers is both an object and the path of a file; rename the file", _ONE, builds=True),
    LeftOut("a key twice in a kustomization", f"{_BASE}namePrefix: x-\nnamePrefix: y-\n", f"{_K}:3: duplicate key 'namePrefix'",
            f"kustomize takes the last one; {_ONE}", builds=True),
    LeftOut("two keys that are one field, as kustomize folds case", f"{_BASE}namePrefix: x-\nNamePrefix: y-\n",
            f"{_K}:3: 'NamePrefix' and 'namePrefix' in a kustomization are one field to kustomize; keep one, as 'namePrefix'", _ONE, builds=True),
    LeftOut("a letter beyond ASCII in a key, which kustomize takes for one of it", "re\u017fources: [../base]\n",
            f"{_K}:1: 're\\u017fources' in a kustomization is not 'resources', for which kustomize takes it; write that", _ONE, builds=True),
    LeftOut("one object in two versions of its API",
            {"k/kustomization.yaml": "resources: [a.yaml, b.yaml]\n", "k/a.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n",
             "k/b.yaml": "apiVersion: apps/v1beta1\nkind: Deployment\nmetadata: {name: d}\n"},
            "k/b.yaml: Deployment/d is already defined at k/a.yaml; remove one of them", "it is one object to the API server", builds=True),
    LeftOut("a name, a label or an annotation that is a number",
            {"k/kustomization.yaml": "resources: [a.yaml]\n", "k/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {l: 1}}\n"},
            "k (as built by kustomize):1: metadata.labels of ConfigMap/a: l is a number; put it in quotes", "kubectl and the API server take none", builds=True),
    LeftOut("a Git LFS pointer", {"k/kustomization.yaml": "configMapGenerator: [{name: a, files: [big.bin]}]\n",
            "k/big.bin": f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4d7a2146' * 8}\nsize 12345\n"},
            "k/big.bin is a Git LFS pointer, and Setpoint does not fetch LFS content; commit the file itself, or leave it out",
            "the object would hold the pointer in place of the content", builds=True),
    LeftOut("a file that is encrypted by SOPS, and lands in an object",
            {"k/kustomization.yaml": "secretGenerator: [{name: a, envs: [s.env], options: {disableNameSuffixHash: true}}]\n", "k/s.env": sopsfiles.DOTENV},
            "k/s.env is encrypted by SOPS, which Setpoint does not decrypt yet, so Secret/a would hold ciphertext; take it out, or annotate the object "
            "setpoint.dev/encrypted: keep if that is meant", "the object would hold ciphertext", builds=True),
)  # fmt: skip
"""All that differs from what kustomize makes of the same files; each is an error in these words, never another object."""
