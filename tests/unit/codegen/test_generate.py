"""Generated files are as the models say, and the same each time."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml
from pydantic.alias_generators import to_camel

from setpoint import settings
from setpoint.api import names
from setpoint.api.reasons import Reason
from setpoint.cli import parser as cli
from setpoint.codegen import chart, chart_settings, crds, generate, rbac, reference

ROOT = Path(__file__).resolve().parents[3]
PACKAGE = ROOT / "operator" / "setpoint"


def test_nothing_is_stale() -> None:
    assert sorted(generate.stale(ROOT)) == []


def test_check_lists_what_is_stale_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate.main(["--check"], tmp_path) == 1
    assert "stale crds/syncs.yaml" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_a_second_run_has_nothing_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main([], tmp_path) == 0
    assert "wrote charts/setpoint/values.schema.json" in capsys.readouterr().out
    assert generate.main(["--check"], tmp_path) == 0
    (tmp_path / "crds" / "syncs.yaml").write_text("edited by hand")
    capsys.readouterr()
    assert generate.main(["--check"], tmp_path) == 1
    assert capsys.readouterr().out == "stale crds/syncs.yaml\n"


def test_a_wrong_argument_is_a_usage_error(tmp_path: Path) -> None:
    assert generate.main(["--chek"], tmp_path) == 64
    assert list(tmp_path.iterdir()) == []


def test_the_table_of_reasons_replaces_only_what_is_between_its_markers() -> None:
    begin, end = generate.markers("reasons")
    text = f"# A\n\nBefore.\n\n{begin}old\n{end}\n\nAfter.\n"
    new = generate.between(text, "new\n", "reasons")
    assert new == f"# A\n\nBefore.\n\n{begin}new\n{end}\n\nAfter.\n"
    assert generate.between(new, "new\n", "reasons") == new


def test_every_reason_has_its_row() -> None:
    rows = reference.reasons_table().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == [reason.value for reason in Reason]
    assert all(
        reason.meaning in row and reason.action in row for reason, row in zip(Reason, rows, strict=True)
    )


def test_tables_survive_bars_and_line_breaks() -> None:
    assert reference.table(("a",), [("x|y\nz",)]) == "| a |\n| --- |\n| x\\|y z |\n"


# --- the chart


def test_values_have_the_defaults_of_the_model_and_fit_the_schema() -> None:
    values = yaml.safe_load(chart.values_yaml())
    assert values == {**chart.Root().model_dump(by_alias=True), "settings": {}}
    jsonschema.validate(values, chart.schema())


@pytest.mark.parametrize(
    "values",
    [
        {"replicas": 2},
        {"image": {"repo": "x"}},
        {"settings": {"worker": 2}},
        {"settings": {"workers": 0}},
        {"settings": {"renderTimeout": "soon"}},
        {"rbac": {"watch": [{"kinds": ["Deployment"]}]}},
        {"rbac": {"impersonate": "all"}},
        {"logLevel": "loud"},
        {"cache": {"size": "lots"}},
    ],
)
def test_a_wrong_value_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, chart.schema())


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"global": {"anything": 1}},
        {
            "settings": {
                "workers": 2,
                "renderTimeout": "1m30s",
                "renderMemory": "1Gi",
                "peopleManagers": ["x"],
            }
        },
        {"rbac": {"watch": [{"apiGroups": ["apps"], "resources": ["deployments"]}]}},
    ],
)
def test_a_good_value_is_taken(values: dict[str, object]) -> None:
    jsonschema.validate(values, chart.schema())


def test_every_value_is_described() -> None:
    assert [name for name, _, text in chart.rows() if not text] == []
    assert [name for name, field in settings.Settings.model_fields.items() if not field.description] == []


def test_every_value_is_used_by_a_template() -> None:
    templates = "".join(path.read_text() for path in (ROOT / "charts/setpoint/templates").iterdir())
    unused = [name for name, _, _ in chart.rows() if f".Values.{name}" not in templates]
    # Reached through `range` and `with`, or as a whole object.
    assert unused == []


def test_every_setting_is_passed_on_or_set_by_the_chart() -> None:
    templates = ("deployment.yaml", "_helpers.tpl")
    deployment = "".join((ROOT / "charts/setpoint/templates" / each).read_text() for each in templates)
    for name in settings.FIELDS:
        owned = settings.variable(name) in deployment or (
            name == "namespace" and "POD_NAMESPACE" in deployment
        )
        assert owned is (name not in chart_settings.PASSED_ON), name


def test_the_chart_has_the_same_crds_but_for_the_policy_to_keep_them() -> None:
    for kind in crds.KINDS:
        lines = (ROOT / f"charts/setpoint/templates/crd-{kind.plural}.yaml").read_text().splitlines()
        document = yaml.safe_load("\n".join(lines[1:-1]))
        assert document["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
        assert document == crds.crd(kind)


def test_snake_case_of_a_setting_is_its_variable() -> None:
    """The template makes the variable's name from the value's name with the function `snakecase`."""
    for name in chart_settings.PASSED_ON:
        snake = re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", to_camel(name)).lower()
        assert snake == name


# --- rights


def test_no_right_to_write_what_is_managed() -> None:
    for role in rbac.ROLES:
        for rule in role.rules:
            if set(rule.verbs) & {
                "create",
                "update",
                "patch",
                "delete",
                "deletecollection",
                "*",
                "escalate",
                "bind",
            }:
                assert rule.resources in (
                    ("sources", "syncs"),
                    ("sources/status", "syncs/status"),
                    ("events",),
                    ("leases",),
                ), rule
            if "*" in rule.resources:
                assert set(rule.verbs) == {"list", "watch"}


def test_every_right_has_its_reason_in_table_and_template() -> None:
    page, template = reference.chart_page(), generate.rules_template()
    for role in rbac.ROLES:
        for rule in role.rules:
            assert rule.why in page
            assert f"# {rule.why}\n" in template


def test_rules_template_is_yaml_with_the_rules() -> None:
    text = rbac.template(rbac.OWN)
    body = "\n".join(text.splitlines()[1:-1])
    rules = yaml.safe_load(body)
    assert rules == [
        {"apiGroups": list(r.groups), "resources": list(r.resources), "verbs": list(r.verbs)}
        for r in rbac.OWN.rules
    ]
    assert {group for rule in rules for group in rule["apiGroups"]} == {names.GROUP, ""}


# --- the command line


def test_the_page_of_the_command_line_has_every_command_argument_and_exit_code() -> None:
    page = reference.cli_page()
    for command, codes in cli.EXIT_CODES.items():
        assert f"## {command}\n" in page
        for code, meaning in codes.items():
            assert f"| {code} | {meaning} |" in page
    for argument in ("`--kubeconfig PATH`", "`DIR`", "`--sync FILE`", "-o, --output yaml"):
        assert argument in page


def test_no_page_names_a_path_of_this_machine() -> None:
    for path, text in generate.files("", "", "").items():
        assert str(ROOT) not in text, path
        assert "/root/" not in text, path


def test_the_schema_of_values_is_sorted_as_the_model() -> None:
    text = (ROOT / "charts/setpoint/values.schema.json").read_text()
    assert list(json.loads(text)["properties"])[:2] == ["replicaCount", "image"]
