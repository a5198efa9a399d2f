"""`python -m setpoint.codegen.generate [--check]`: writes every file that is generated from models and tables.

`--check` writes nothing, lists the stale files, and exits with 1 if there are any.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from setpoint import __version__
from setpoint.codegen import architecture, chart, chart_settings, crds, rbac, reference
from setpoint.runtime import metrics

ROOT = Path(__file__).resolve().parents[3]
CHART = "charts/setpoint"
NOTE = "# Made by `python -m setpoint.codegen.generate`; do not edit.\n"
OPERATIONS, CONCEPTS, ARCHITECTURE = "docs/operations.md", "docs/concepts.md", "docs/architecture.md"


def files(operations: str, concepts: str, packages: str) -> dict[str, str]:
    """Return path (below the repository's root) -> content of every generated file.

    `operations`, `concepts` and `packages` (docs/architecture.md) are the present texts of the pages of which one part
    is generated.
    """
    return {
        **{f"crds/{kind.plural}.yaml": NOTE + crds.dump(crds.crd(kind)) for kind in crds.KINDS},
        **{f"{CHART}/templates/crd-{kind.plural}.yaml": crd_template(kind) for kind in crds.KINDS},
        f"{CHART}/templates/_rules.tpl": rules_template(),
        f"{CHART}/templates/_settings.tpl": settings_template(),
        f"{CHART}/Chart.yaml": chart_yaml(),
        f"{CHART}/values.yaml": NOTE + "\n" + chart.values_yaml(),
        f"{CHART}/values.schema.json": json.dumps(chart.schema(), indent=2) + "\n",
        **{f"docs/reference/{kind.plural}.md": reference.kind(kind) for kind in crds.KINDS},
        "docs/reference/settings.md": reference.settings_page(),
        "docs/reference/reasons.md": reference.reasons_page(),
        "docs/reference/metrics.md": reference.metrics_page(
            (m.name, m.type.__name__.lower(), m.labels, m.help) for m in metrics.METRICS
        ),
        "docs/reference/cli.md": reference.cli_page(),
        "docs/reference/chart.md": reference.chart_page(),
        OPERATIONS: between(operations, reference.reasons_table(), "reasons"),
        CONCEPTS: between(concepts, reference.goals_table(), "goals"),
        ARCHITECTURE: architecture.page(packages),
    }


def crd_template(kind: crds.Kind) -> str:
    """Return the chart's copy of a CRD: a template, since Helm never upgrades what is in crds/, that is kept."""
    document = crds.crd(kind)
    kept = {"annotations": {"helm.sh/resource-policy": "keep"}}
    text = crds.dump({**document, "metadata": {**document["metadata"], **kept}})
    if "{{" in text:
        raise crds.SchemaError(f"{kind.plural}: two opening braces would be read as a template")
    return "{{- if .Values.crds.install }}\n" + NOTE + text + "{{- end }}\n"


def rules_template() -> str:
    """Return the named templates of the operator's rights."""
    note = (
        "{{/* " + NOTE.removeprefix("# ").strip() + " The table is operator/setpoint/codegen/rbac.py. */}}\n"
    )
    return note + "\n".join(rbac.template(role) for role in rbac.ROLES)


def settings_template() -> str:
    """Return the named templates of the settings of each container."""
    note = (
        "{{/* "
        + NOTE.removeprefix("# ").strip()
        + " Which setting is whose says operator/setpoint/settings.py. */}}\n"
    )
    return note + chart_settings.template()


def chart_yaml() -> str:
    """Return Chart.yaml; chart and operator are released together, under one version."""
    return NOTE + crds.dump(
        {
            "apiVersion": "v2",
            "name": "setpoint",
            "description": "A GitOps operator that holds a cluster to a Git commit.",
            "type": "application",
            "version": __version__,
            "appVersion": __version__,
            "keywords": ["gitops", "git", "continuous-delivery"],
        }
    )


def markers(part: str) -> tuple[str, str]:
    """Return the lines between which a generated part of a page stands."""
    return f"<!-- {part}: begin (generated) -->\n", f"<!-- {part}: end -->"


def between(text: str, table: str, part: str) -> str:
    """Return the text with the table between the markers of the part; a text without these gets them at its end."""
    begin, end = markers(part)
    if begin not in text:
        text = (
            f"{text.rstrip()}\n\n{begin}{end}\n"
            if text.strip()
            else f"# {part.capitalize()}\n\n{begin}{end}\n"
        )
    before, rest = text.split(begin, 1)
    return before + begin + table + end + rest.split(end, 1)[1]


def stale(root: Path) -> dict[str, str]:
    """Return path -> content of each file that is not as it should be."""
    found = files(*(_read(root / page) for page in (OPERATIONS, CONCEPTS, ARCHITECTURE)))
    return {path: text for path, text in found.items() if _read(root / path) != text}


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def main(arguments: Sequence[str], root: Path = ROOT) -> int:
    """Write the stale files, or with `--check` only name them."""
    if list(arguments) not in ([], ["--check"]):
        sys.stderr.write("usage: python -m setpoint.codegen.generate [--check]\n")
        return 64
    found = stale(root)
    for path, text in found.items():
        sys.stdout.write(f"{'stale' if arguments else 'wrote'} {path}\n")
        if not arguments:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
    return 1 if found and arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
