"""The chart and the worker do the same sum of the worker's memory, to the byte, and say it in the same words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from tests.chart.conftest import CHART, Helm
from tests.chart.test_templates import containers, environment, only

from setpoint import settings
from setpoint.api.budgets import MIB
from setpoint.worker import shares

pytestmark = pytest.mark.cluster  # Helm is built like the cluster's binaries

VALUES: tuple[Mapping[str, Any], ...] = (
    {},
    {"settings": {"readers": 1, "renderConcurrency": 1}},
    {"settings": {"readers": 7, "readerMemory": "600M", "renderMemory": "1000001k", "gitMemory": "200000001"}},
    {"settings": {"readerMemory": "1Gi", "renderMemory": "300000Ki", "gitMemory": "2G"}, "cache": {"size": "3Gi"}},
    {"settings": {"renderMemory": "256Mi"}, "cache": {"medium": "", "size": "40Gi"}},
)  # fmt: skip


def run(helm: Helm, values: Mapping[str, Any], memory: Any) -> str | None:
    """Return what Helm says against a limit, or None."""
    file = helm.folder / "values.json"
    limited = {**values, "worker": {"resources": {"limits": {"memory": memory}}}}
    file.write_text(json.dumps(limited))
    result = helm.run("template", "x", str(CHART), "--kube-version=1.36.0", f"--values={file}")
    return result.err if result.code else None


def worker_settings(helm: Helm, values: Mapping[str, Any]) -> settings.Settings:
    """Return the settings of a worker that gets these values; its limit is not known without a kubelet."""
    file = helm.folder / "plain.json"
    file.write_text(json.dumps({**values, "worker": {"resources": None}}))
    return settings.from_environ(environment(helm.template(f"--values={file}"), "worker"))


@pytest.mark.parametrize("values", VALUES)
def test_the_same_limits_are_refused_in_the_same_words(helm: Helm, values: Mapping[str, Any]) -> None:
    found = worker_settings(helm, values)
    assert found.worker_memory == 0
    needed = shares.needed(found)
    assert run(helm, values, needed) is None
    assert shares.problem(needed, found) is None
    said, words = run(helm, values, needed - 1), shares.problem(needed - 1, found)
    assert said is not None
    assert words is not None
    assert words in said


@pytest.mark.parametrize(
    ("fits", "too_little"),
    [
        ("4576Mi", "4575Mi"),
        ("5Gi", "4Gi"),
        ("4.47Gi", "4.46Gi"),
        ("4685824Ki", "4685823Ki"),
        ("4798283776", "4798283775"),
        ("4798283775500m", "4798283774500m"),
        ("4798284k", "4798283k"),
        ("4799M", "4798M"),
        ("4.8G", "4.7G"),
        ("1T", "0.004T"),
        ("48e8", "4e9"),
        (4_800_000_000.0, 4_700_000_000.0),
    ],
)
def test_a_limit_may_be_written_in_any_way(helm: Helm, fits: Any, too_little: Any) -> None:
    assert run(helm, {}, fits) is None
    said = run(helm, {}, too_little)
    assert said is not None
    assert "less than the 4576 MiB" in said


def test_the_defaults_have_room_and_little_more(helm: Helm) -> None:
    worker = containers(helm.template())["worker"]
    needed = shares.needed(worker_settings(helm, {}))
    assert worker["resources"]["limits"] == {"memory": f"{-(-needed // 2**30)}Gi"}
    assert worker["resources"]["requests"]["memory"] == "256Mi"


def test_the_worker_learns_its_limit_of_the_kubelet_if_it_has_one(helm: Helm) -> None:
    def told(*values: str) -> list[Any]:
        worker = containers(helm.template(*values))["worker"]
        return [e["valueFrom"] for e in worker["env"] if e["name"] == "SETPOINT_WORKER_MEMORY"]

    assert told() == [{"resourceFieldRef": {"resource": "limits.memory"}}]
    assert told("--set=worker.resources.limits=null") == told("--set=worker.resources=null") == []


def test_the_volumes_are_as_large_as_the_sum_says(helm: Helm) -> None:
    pod = only(helm.template(), "Deployment")["spec"]["template"]["spec"]
    sizes = {each["name"]: each["emptyDir"]["sizeLimit"] for each in pod["volumes"] if "emptyDir" in each}
    assert sizes["tmp"] == f"{shares.tmp(worker_settings(helm, {})) // MIB}Mi"
    for medium in ("Memory", ""):
        worker = environment(helm.template(f"--set=cache.medium={medium}"), "worker")
        found = settings.from_environ(worker)
        assert shares.cache(found) == (found.cache_size if medium else 0)
        assert worker["SETPOINT_CACHE_SIZE"] == sizes["cache"]
