"""Generates the reference pages, in Markdown, from the tables that the code itself uses (pure)."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic.alias_generators import to_camel

from setpoint import settings
from setpoint.api import validation
from setpoint.api.reasons import Reason
from setpoint.cli import parser as cli
from setpoint.codegen import chart, chart_settings, crds, rbac
from setpoint.codegen.goal_rows import ROWS

GENERATED = "<!-- Made by `python -m setpoint.codegen.generate`; do not edit. -->\n\n"


def _page(title: str, *parts: str) -> str:
    return GENERATED + f"# {title}\n\n" + "\n\n".join(part.strip() for part in parts) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; bars and line breaks in cells are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").strip()


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def kind(which: crds.Kind) -> str:
    """Return the page of a custom resource: its columns, its spec and its status."""
    schema = crds.schema(which.model)
    columns = [
        (column.name.upper(), column.description, "with `-o wide`" if column.wide else "")
        for column in which.columns
    ]
    return _page(
        which.name,
        f"{schema['description']} `apiVersion: setpoint.dev/v1alpha1`, namespaced; "
        f"`kubectl get {which.plural}`, short `{which.short}`, or `kubectl get gitops` for all kinds.",
        "Every field of the spec may be changed at any time. Fields without a default are optional, "
        "unless they are marked as required.",
        "## Spec",
        table(("field", "type", "default", "meaning"), fields(schema["properties"]["spec"], "spec")),
        "The API server also refuses a spec that breaks one of these rules:\n\n" + _rules(schema),
        "## Status",
        "Written by the operator alone.",
        table(
            ("field", "type", "meaning"),
            [(f[0], f[1], f[3]) for f in fields(schema["properties"]["status"], "status")],
        ),
        "## Columns",
        table(("column", "meaning", ""), columns),
    )


def _rules(schema: dict[str, Any]) -> str:
    """Return the rules of the spec as a whole, as a list."""
    found = schema["properties"]["spec"].get(validation.KEY, [])
    return "\n".join(f"- {rule['message']}" for rule in found)


def fields(schema: dict[str, Any], path: str) -> list[tuple[str, str, str, str]]:
    """Return (path, type, default, meaning) of every field below a schema, in its order."""
    required = schema.get("required", [])
    found = []
    for name, field in schema.get("properties", {}).items():
        where = f"{path}.{name}"
        default = crds.flow(field["default"]) if "default" in field else ""
        checks = "".join(f" Rule: {rule['message']}." for rule in field.get(validation.KEY, []))
        found.append(
            (
                _code(where),
                _type(field),
                "required" if name in required and path.startswith("spec") else _code(default),
                field.get("description", "") + checks,
            )
        )
        found += fields(field.get("items", field), where + ("[]" if "items" in field else ""))
    return found


def _type(field: dict[str, Any]) -> str:
    if "enum" in field:
        return " or ".join(map(str, field["enum"]))
    if field.get(crds.INT_OR_STRING):
        return "integer or string"
    if field.get("type") == "array":
        return f"list of {_type(field['items'])}"
    if isinstance(field.get("additionalProperties"), dict):
        return f"map of {_type(field['additionalProperties'])}"
    return "time" if field.get("format") == "date-time" else str(field.get("type", "any value"))


def settings_page() -> str:
    """Return the page of the operator's settings."""
    source = settings.Settings.model_json_schema()["properties"]
    rows = [
        (
            _code(settings.variable(name)),
            _setting_type(source[name]),
            _code(settings.written(name)),
            f"`settings.{to_camel(name)}`" if name in chart_settings.PASSED_ON else "set by the chart",
            source[name]["description"],
        )
        for name in settings.FIELDS
    ]
    return _page(
        "Settings",
        "The operator reads its settings from the environment. The chart sets some of them from values of their own; "
        "the others are passed on from its value `settings`. An empty variable counts as not set, but for lists, where "
        "it means none; the items of a list stand between commas.",
        table(("variable", "type", "default", "in the chart", "meaning"), rows),
    )


def _setting_type(field: dict[str, Any]) -> str:
    if "pattern" in field:
        return "size" if "Ki" in field["pattern"] or "[KMG]i" in field["pattern"] else "duration"
    if "enum" in field:
        return " or ".join(field["enum"])
    return "list" if field["type"] == "array" else str(field["type"])


def reasons_table() -> str:
    """Return the table of all reasons."""
    rows = [
        (_code(reason), reason.meaning, reason.action, "yes" if reason.transient else "") for reason in Reason
    ]
    return table(("reason", "what it means", "what to do", "tried again"), rows)


def goals_table() -> str:
    """Return the table of what a run goes for."""
    return table(("situation", "what Setpoint does"), [(row.words, row.does) for row in ROWS])


def reasons_page() -> str:
    """Return the page of reasons."""
    return _page(
        "Reasons",
        "Conditions, Events and metrics use the same words. `Tried again`: the operator tries again by itself, from one "
        "second up to every five minutes; the others wait for a new commit, a new spec, or a change of what they name.",
        reasons_table(),
    )


def metrics_page(metrics: Iterable[tuple[str, str, Sequence[str], str]]) -> str:
    """Return the page of metrics, of which each is (name, type, labels, help)."""
    rows = [(_code(name), kind, ", ".join(map(_code, labels)), text) for name, kind, labels, text in metrics]
    return _page(
        "Metrics",
        "Served at `/metrics` on port 8080, in the Prometheus text format, with `process_*` of the Prometheus client besides.",
        table(("metric", "type", "labels", "meaning"), rows),
    )


def chart_page() -> str:
    """Return the page of the chart: its values, and the rights that it grants."""
    passed = [
        (_code(f"settings.{to_camel(name)}"), _code(settings.written(name)), field["description"])
        for name, field in zip(
            chart_settings.PASSED_ON, chart_settings.schema()["properties"].values(), strict=True
        )
    ]
    rights = [
        (
            ", ".join(_code(_resource(g, r)) for g in rule.groups for r in rule.resources),
            ", ".join(rule.verbs),
            role.where + (", by name" if rule.only else ""),
            rule.why,
        )
        for role in rbac.ROLES
        for rule in role.rules
    ]
    return _page(
        "Chart",
        "`helm install setpoint charts/setpoint --namespace setpoint-system --create-namespace`. A value that is not "
        "listed here is refused.",
        "## Values",
        table(
            ("value", "default", "meaning"),
            [*((_code(n), _code(d), text) for n, d, text in chart.rows()), *passed],
        ),
        "## Rights of the operator's own account",
        (rbac.__doc__ or "").partition("\n\n")[2].strip().replace("\n", " "),
        table(("resources", "verbs", "where", "why"), rights),
        "## What stays",
        "`helm uninstall` leaves the two CRDs, and with them every Source, Sync and managed object. To install again, use "
        "the same release name and namespace, or `--take-ownership`. To remove everything, delete the Syncs first, while "
        "the operator runs, then uninstall, then `kubectl delete crd sources.setpoint.dev syncs.setpoint.dev`.",
    )


def _resource(group: str, resource: str) -> str:
    """Return `syncs.setpoint.dev/status` for `syncs/status`, as kubectl writes it."""
    name, slash, sub = resource.partition("/")
    return f"{name}.{group}{slash}{sub}" if group else resource


def cli_page() -> str:
    """Return the page of the command line."""
    root = cli.parser()
    commands = next(a for a in root._actions if isinstance(a, argparse._SubParsersAction))  # noqa: SLF001 - argparse shows its actions in no other way
    return _page(
        "Command line",
        f"{root.description} `python -m setpoint`, or `setpoint` where the package is installed.",
        *(_command(name, command) for name, command in commands.choices.items()),
    )


def _command(name: str, command: argparse.ArgumentParser) -> str:
    actions = [a for a in command._actions if not isinstance(a, argparse._HelpAction)]  # noqa: SLF001
    usage = " ".join(["python -m setpoint", name, *map(_usage, actions)])
    arguments = [(_code(_name(action)), action.help or "") for action in actions]
    codes = [(str(code), meaning) for code, meaning in cli.EXIT_CODES[name].items()]
    parts = [f"## {name}", command.description or "", f"    {usage}"]
    parts += [table(("argument", "meaning"), arguments)] if arguments else []
    return "\n\n".join(part.rstrip() for part in [*parts, table(("exit code", "meaning"), codes)])


def _name(action: argparse.Action) -> str:
    names = ", ".join(action.option_strings) or str(action.metavar)
    value = "|".join(action.choices) if action.choices else action.metavar
    return f"{names} {value}" if action.option_strings and action.nargs != 0 and value else names


def _usage(action: argparse.Action) -> str:
    return f"[{_name(action).split(', ')[-1]}]" if action.option_strings else _name(action)
