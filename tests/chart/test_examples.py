"""Every example is taken by the models and by the API server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.kit.cluster.base import Cluster

from setpoint.api import resources as api

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.yaml"))
MODELS = {"Source": api.Source, "Sync": api.Sync}


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def test_there_are_examples() -> None:
    assert {"quickstart.yaml", "kustomize-overlay.yaml", "private-repository.yaml"} <= {
        p.name for p in EXAMPLES
    }


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_models_take_it(path: Path) -> None:
    found = [MODELS[d["kind"]].model_validate(d) for d in documents(path) if d["kind"] in MODELS]
    assert found


@pytest.mark.cluster
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_server_takes_it(with_crds: Cluster, path: Path) -> None:
    namespaces = [d["metadata"]["name"] for d in documents(path) if d["kind"] == "Namespace"]
    for name in namespaces:
        with_crds.kubectl("create", "namespace", name)
    try:
        shown = with_crds.kubectl(
            "apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", str(path), "-o", "name"
        )
        assert len(shown.split()) == len(documents(path))
    finally:
        with_crds.kubectl("delete", "namespace", *namespaces, "--wait=false")
