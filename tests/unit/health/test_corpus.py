"""Agreement with the public judges, kstatus and the contributors of Argo CD, where their cases are at hand."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from setpoint.health import evaluate as health
from setpoint.health.verdict import Health

CORPUS = Path(__file__).resolve().parents[4] / "shared" / "data" / "health"
KSTATUS = {"Current": Health.Healthy, "InProgress": Health.Progressing, "Failed": Health.Degraded}


def load(name: str) -> list[dict[str, Any]]:
    path = CORPUS / name
    if not path.exists():
        pytest.skip(
            f"the health cases are not at {path.parent.parent.name}/{path.parent.name} beside the checkout"
        )
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_case_of_kstatus() -> None:
    cases = load("kstatus.jsonl")
    wrong = [c["name"] for c in cases if health.evaluate(c["object"]).health is not KSTATUS[c["expect"]]]
    assert len(cases) == 25
    assert wrong == []


def test_nine_of_ten_opinions_of_argo_cd() -> None:
    cases = load("argocd.jsonl")
    agreed = [c for c in cases if health.evaluate(c["object"]).health.value == c["expect"]]
    assert len(cases) == 533
    assert len(agreed) / len(cases) >= 0.90


def test_a_failure_is_hardly_ever_taken_for_health() -> None:
    """The costly mistake: a Sync that is Ready although an object of it failed."""
    cases = [c for c in load("argocd.jsonl") if c["expect"] == "Degraded"]
    missed: dict[str, int] = defaultdict(int)
    for case in cases:
        missed[case["kind"]] += health.evaluate(case["object"]).health is Health.Healthy
    assert sum(missed.values()) / len(cases) <= 0.10, {kind: n for kind, n in missed.items() if n}


def test_health_is_hardly_ever_taken_for_a_failure() -> None:
    """The other costly mistake: a Sync that never becomes Ready although all is well."""
    cases = [c for c in load("argocd.jsonl") if c["expect"] == "Healthy"]
    wrong = [
        c["kind"]
        for c in cases
        if health.evaluate(c["object"]).health not in (Health.Healthy, Health.Suspended)
    ]
    assert wrong == []
