"""The types of a kustomization as data: the fields of each struct of kustomize's api/types (v5.8), by JSON name.

A key of a struct is a field or an error. A key of a free map (`Leaf.MAP`: labels, annotations, values) is data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, TypeAlias


class Leaf(Enum):
    """A value that holds no struct; its keys, if it has any, are data."""

    TEXT = auto()
    NUMBER = auto()
    FLAG = auto()
    TEXTS = auto()
    MAP = auto()
    """A free map: names that people choose."""


@dataclass(frozen=True, slots=True)
class Struct:
    """A mapping with known fields."""

    fields: Mapping[str, Shape]


@dataclass(frozen=True, slots=True)
class Many:
    """A list of structs."""

    of: Struct


Shape: TypeAlias = Leaf | Struct | Many

_TEXT, _NUMBER, _FLAG, _TEXTS, _MAP = Leaf.TEXT, Leaf.NUMBER, Leaf.FLAG, Leaf.TEXTS, Leaf.MAP
_GVK: Final[dict[str, Shape]] = {"group": _TEXT, "version": _TEXT, "kind": _TEXT}
_RES_ID: Final[dict[str, Shape]] = {**_GVK, "name": _TEXT, "namespace": _TEXT}
_SELECTOR: Final = Struct({**_RES_ID, "annotationSelector": _TEXT, "labelSelector": _TEXT})
_OBJECT_META: Final = Struct({"name": _TEXT, "namespace": _TEXT, "labels": _MAP, "annotations": _MAP})
_FIELD_SPEC: Final = Struct({**_GVK, "path": _TEXT, "create": _FLAG})
_LABEL: Final = Struct(
    {
        "pairs": _MAP,
        "includeSelectors": _FLAG,
        "includeTemplates": _FLAG,
        "includeVolumeClaimTemplates": _FLAG,
        "fields": Many(_FIELD_SPEC),
    }
)
_PATCH: Final = Struct(
    {
        "path": _TEXT,
        "patch": _TEXT,
        "target": _SELECTOR,
        "options": Struct({"allowNameChange": _FLAG, "allowKindChange": _FLAG}),
    }
)
_IMAGE: Final = Struct(
    {"name": _TEXT, "newName": _TEXT, "tagSuffix": _TEXT, "newTag": _TEXT, "digest": _TEXT}
)
_FIELD_OPTIONS: Final = Struct({"delimiter": _TEXT, "index": _NUMBER, "encoding": _TEXT, "create": _FLAG})
_REPLACEMENT: Final = Struct(
    {
        "path": _TEXT,
        "source": Struct({**_RES_ID, "fieldPath": _TEXT, "options": _FIELD_OPTIONS}),
        "targets": Many(
            Struct(
                {
                    "select": _SELECTOR,
                    "reject": Many(_SELECTOR),
                    "fieldPaths": _TEXTS,
                    "options": _FIELD_OPTIONS,
                }
            )
        ),
        "sourceValue": _TEXT,
    }
)
_VAR: Final = Struct(
    {
        "name": _TEXT,
        "objref": Struct({**_RES_ID, "apiVersion": _TEXT}),
        "fieldref": Struct({"fieldPath": _TEXT}),
    }
)
_GENERATOR_OPTIONS: Final = Struct(
    {"labels": _MAP, "annotations": _MAP, "disableNameSuffixHash": _FLAG, "immutable": _FLAG}
)
_GENERATOR: Final[dict[str, Shape]] = {
    "namespace": _TEXT,
    "name": _TEXT,
    "behavior": _TEXT,
    "literals": _TEXTS,
    "files": _TEXTS,
    "envs": _TEXTS,
    "env": _TEXT,
    "options": _GENERATOR_OPTIONS,
}
_HELM_CHART: Final = Struct(
    {
        **dict.fromkeys(("name", "version", "repo", "releaseName", "namespace", "valuesFile"), _TEXT),
        **dict.fromkeys(("valuesMerge", "kubeVersion", "nameTemplate"), _TEXT),
        **dict.fromkeys(("additionalValuesFiles", "apiVersions"), _TEXTS),
        **dict.fromkeys(("includeCRDs", "skipHooks", "skipTests", "debug", "devel"), _FLAG),
        "valuesInline": _MAP,
    }
)
_HELM_CHART_ARGS: Final = Struct(
    {
        **dict.fromkeys(("chartName", "chartVersion", "chartRepoUrl", "chartHome", "chartRepoName"), _TEXT),
        **dict.fromkeys(("helmBin", "helmHome", "values", "valuesMerge"), _TEXT),
        **dict.fromkeys(("releaseName", "releaseNamespace"), _TEXT),
        "valuesLocal": _MAP,
        "extraArgs": _TEXTS,
    }
)

KUSTOMIZATION: Final = Struct(
    {
        **dict.fromkeys(("apiVersion", "kind", "namePrefix", "nameSuffix", "namespace"), _TEXT),
        **dict.fromkeys(("commonLabels", "commonAnnotations", "openapi"), _MAP),
        **dict.fromkeys(("resources", "bases", "components", "crds", "configurations"), _TEXTS),
        **dict.fromkeys(("patchesStrategicMerge", "generators", "transformers", "validators"), _TEXTS),
        "buildMetadata": _TEXTS,
        "metadata": _OBJECT_META,
        "labels": Many(_LABEL),
        "patches": Many(_PATCH),
        "patchesJson6902": Many(_PATCH),
        "images": Many(_IMAGE),
        "imageTags": Many(_IMAGE),
        "replacements": Many(_REPLACEMENT),
        "replicas": Many(Struct({"name": _TEXT, "count": _NUMBER})),
        "vars": Many(_VAR),
        "sortOptions": Struct(
            {"order": _TEXT, "legacySortOptions": Struct({"orderFirst": _TEXTS, "orderLast": _TEXTS})}
        ),
        "configMapGenerator": Many(Struct(_GENERATOR)),
        "secretGenerator": Many(Struct({**_GENERATOR, "type": _TEXT})),
        "generatorOptions": _GENERATOR_OPTIONS,
        "helmGlobals": Struct({"chartHome": _TEXT, "configHome": _TEXT}),
        "helmCharts": Many(_HELM_CHART),
        "helmChartInflationGenerator": Many(_HELM_CHART_ARGS),
    }
)
